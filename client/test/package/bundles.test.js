// The bundles: small, current, reproducible, and usable under a strict policy.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { outputs } from "../../scripts/build.js";

const LIMIT = 11.5 * 1024; // bytes, minified and gzipped

const BUNDLES = ["nodevent.js", "nodevent.mjs", "nodevent.cjs", "socket.io.js", "nodevent-room.js", "nodevent-stream-source.js", "nodevent_controller.js"];

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url));

test("nodevent.js is at most 11.5 KB, minified and gzipped", () => {
  const size = gzipSync(read("dist/nodevent.js"), { level: 9 }).length;
  assert.ok(size <= LIMIT, `${size} bytes, ${size - LIMIT} too many`);
});

test("an element is at most 3 KB, minified and gzipped, and one that renders streams 3.5 KB", () => {
  const limits = { "nodevent-room.js": 3, "nodevent_controller.js": 3, "nodevent-stream-source.js": 3.5 };
  for (const [name, limit] of Object.entries(limits)) {
    const size = gzipSync(read(`dist/${name}`), { level: 9 }).length;
    assert.ok(size <= limit * 1024, `${name}: ${size} bytes`);
  }
});

test("the copies for asset pipelines have no map", () => {
  for (const name of readdirSync(new URL("../../dist/assets", import.meta.url))) {
    const text = read(`dist/assets/${name}`).toString();
    assert.doesNotMatch(text, /sourceMappingURL/);
    assert.ok(read(`dist/${name}`).toString().startsWith(text), name);
  }
});

test("dist/ is current, and the build is reproducible", async () => {
  const [first, second] = [await outputs(), await outputs()];
  for (const [path, contents] of first) {
    assert.ok(second.get(path).equals(contents), `${path} differs from build to build`);
    assert.ok(read(path).equals(contents), `${path} is not current: npm run build`);
  }
});

test("every map belongs to its bundle, and contains its sources under relative paths", () => {
  for (const name of BUNDLES) {
    const [, map] = /\/\/# sourceMappingURL=(\S+)\n$/.exec(read(`dist/${name}`).toString());
    assert.equal(map.split("/").at(-1), `${name}.map`);
    const { sources, sourcesContent } = JSON.parse(read(`dist/${name}.map`));
    for (const [n, source] of sources.entries()) {
      assert.match(source, /^\.\.\/src\//);
      assert.equal(sourcesContent[n], readFileSync(new URL(source, new URL("../../dist/", import.meta.url)), "utf8"));
    }
  }
});

test("no bundle needs unsafe-eval", () => {
  for (const name of BUNDLES)
    assert.doesNotMatch(read(`dist/${name}`).toString(), /\beval\(|new Function|Function\(["'`]/);
});

test("importing the module has no side effects: no request, timer, listener or global", async (t) => {
  const called = [];
  for (const name of ["setTimeout", "setInterval", "fetch", "queueMicrotask"])
    t.mock.method(globalThis, name, () => called.push(name));
  globalThis.addEventListener = () => called.push("addEventListener");
  const before = Object.keys(globalThis);
  await import("../../dist/nodevent.mjs");
  assert.deepEqual(called, []);
  assert.deepEqual(Object.keys(globalThis), before);
  delete globalThis.addEventListener;
});
