// The npm package as it would be published: its contents, and that it works when installed.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
let folder;
let files;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "nodevent-pack-"));
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: root });
  const packed = JSON.parse(stdout);
  const [{ filename, files: list }] = Array.isArray(packed) ? packed : Object.values(packed);
  files = list.map(({ path }) => path).toSorted();
  writeFileSync(join(folder, "package.json"), "{}");
  await run("npm", ["install", "--offline", "--no-save", join(folder, filename)], { cwd: folder });
});

after(() => rmSync(folder, { recursive: true, force: true }));

test("it works in a TypeScript project with strict, and names what does not exist", async () => {
  const project = join(folder, "project");
  mkdirSync(join(project, "node_modules"), { recursive: true });
  symlinkSync(join(folder, "node_modules/nodevent"), join(project, "node_modules/nodevent"));
  // Stimulus is the application's own.
  mkdirSync(join(folder, "node_modules/@hotwired"), { recursive: true });
  symlinkSync(join(root, "node_modules/@hotwired/stimulus"), join(folder, "node_modules/@hotwired/stimulus"));
  const lines = [
    'import { connect, type Room } from "nodevent";',
    'import "nodevent/queue";',
    'import "nodevent/room-element";',
    'import "nodevent/stream-source";',
    'import NodeventController from "nodevent/stimulus";',
    "interface Events { update: { title: string } }",
    'const room: Room<Events> = connect({ url: "http://localhost:8080" }).room<Events>("Discussion_12").join();',
    'room.on("update", ({ title }) => title.toUpperCase());',
    'document.querySelector("nodevent-stream-source")?.addEventListener("nodevent-refused", ({ detail }) => detail.length);',
    "class Own extends NodeventController { connect() { console.log(this.roomValue.length); } }",
    "NoDevent.leaveAll();",
    "console.log(Own.values.room);",
  ];
  writeFileSync(join(project, "main.ts"), lines.join("\n"));
  const compilerOptions = { strict: true, noEmit: true, target: "es2022", lib: ["es2022", "dom"], module: "esnext", moduleResolution: "bundler", types: [], noUncheckedSideEffectImports: true };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["main.ts"] }));
  const compile = () => run(join(root, "node_modules/.bin/tsc"), ["--noEmit", "-p", project], { cwd: project });
  await compile().catch((error) => assert.fail(error.stdout));
  writeFileSync(join(project, "main.ts"), [...lines, "NoDevent.leaveEverything();"].join("\n"));
  await assert.rejects(compile(), ({ stdout }) => /leaveEverything/.test(stdout) && stdout.trim().split("\n").filter((line) => /error TS/.test(line)).length === 1);
});

const node = async (...args) => (await run(process.execPath, args, { cwd: folder })).stdout.trim();

test("the package contains the bundles, their maps, the types, the sources, and no tests or tools", () => {
  const wanted = ["nodevent.js", "nodevent.mjs", "nodevent.cjs", "socket.io.js", "nodevent-room.js", "nodevent-stream-source.js", "nodevent_controller.js"].flatMap((name) => [name, `${name}.map`]);
  for (const name of [...wanted, "nodevent.d.ts", "nodevent.d.cts", "script.d.ts", "room-element.d.ts", "stream-source.d.ts", "stimulus.d.ts", "queue.js", "queue.d.ts"]) assert.ok(files.includes(`dist/${name}`), name);
  for (const name of ["package.json", "README.md", "LICENSE", "src/index.js"]) assert.ok(files.includes(name), name);
  const others = files.filter((path) => !/^(dist|src)\//.test(path));
  assert.deepEqual(others, ["LICENSE", "README.md", "package.json"]);
  assert.deepEqual(files.filter((path) => /console|test/.test(path)), []);
});

test("it can be imported", async () => {
  const script = 'import d, { connect, io, NoDevent } from "nodevent"; console.log(typeof connect, typeof io, d === NoDevent)';
  assert.equal(await node("--input-type=module", "-e", script), "function function true");
});

test("it can be required", async () => {
  const script = 'const { NoDeventController, Client } = require("nodevent"); console.log(new Client() instanceof NoDeventController)';
  assert.equal(await node("-e", script), "true");
});

test("its scripts can be found by name", async () => {
  const script = 'console.log(require.resolve("nodevent/script"), require.resolve("nodevent/socket.io"), require.resolve("nodevent/queue"), require.resolve("nodevent/room-element"), require.resolve("nodevent/stream-source"), require.resolve("nodevent/stimulus"))';
  assert.match(await node("-e", script), /dist\/nodevent\.js .*dist\/socket\.io\.js .*dist\/queue\.js .*dist\/nodevent-room\.js .*dist\/nodevent-stream-source\.js .*dist\/nodevent_controller\.js$/);
});
