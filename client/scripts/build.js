// Builds dist/ from src/: `node scripts/build.js`. With `--check`, fails if dist/ is not current.
// The build is reproducible: the output contains no date, absolute path or random name.

import { readFile, mkdir, writeFile } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

const shared = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  mangleProps: /^_[a-z]/, // names with a leading underscore are private
  sourcemap: "linked",
  sourcesContent: true,
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none",
  write: false,
  logLevel: "warning",
};

const bundles = [
  { entryPoints: ["src/script.js"], outfile: "dist/nodevent.js", format: "iife" },
  { entryPoints: ["src/index.js"], outfile: "dist/nodevent.mjs", format: "esm" },
  { entryPoints: ["src/index.js"], outfile: "dist/nodevent.cjs", format: "cjs", platform: "node" },
  { entryPoints: ["src/queue.js"], outfile: "dist/queue.js", format: "iife", sourcemap: false },
  { entryPoints: ["src/page/nodevent-room.js"], outfile: "dist/nodevent-room.js", format: "iife" },
  { entryPoints: ["src/page/nodevent-stream-source.js"], outfile: "dist/nodevent-stream-source.js", format: "iife" },
  { entryPoints: ["src/page/nodevent_controller.js"], outfile: "dist/nodevent_controller.js", format: "esm", external: ["@hotwired/stimulus"] },
  { entryPoints: ["src/socket-io.js"], outfile: "dist/socket.io.js", format: "iife" },
];

/** The console page: the server embeds it; the package does not contain it. */
const consolePage = [
  { entryPoints: ["console/main.js"], outfile: "dist/console.js", format: "esm", sourcemap: false },
  { entryPoints: ["console/console.css"], outfile: "dist/console.css", sourcemap: false },
];

/** Copies of the hand-written types, for `import` and `require`. */
const types = {
  "nodevent.d.ts": "nodevent.d.ts",
  "nodevent.d.cts": "nodevent.d.ts",
  ...Object.fromEntries(["script", "queue", "room-element", "stream-source", "stimulus"].map((name) => [`${name}.d.ts`, `${name}.d.ts`])),
};

/** Copies for the asset pipelines of Rails, which publish whole folders. They have no map. */
const assets = ["nodevent-room.js", "nodevent-stream-source.js", "nodevent_controller.js"];

/** @returns {Promise<Map<string, Buffer>>} by path relative to client/ */
export async function outputs() {
  const files = new Map();
  for (const bundle of [...bundles, ...consolePage]) {
    const { outputFiles } = await build({ ...shared, ...bundle });
    for (const { path, contents } of outputFiles) files.set(relative(root, path).split(sep).join("/"), Buffer.from(contents));
  }
  for (const [name, source] of Object.entries(types)) files.set(`dist/${name}`, await readFile(join(root, "types", source)));
  for (const name of assets) files.set(`dist/assets/${name}`, Buffer.from(files.get(`dist/${name}`).toString().replace(/\/\/# sourceMappingURL=.*\n$/, "")));
  files.set("dist/console.html", await readFile(join(root, "console/index.html")));
  return files;
}

async function main() {
  const files = await outputs();
  if (process.argv.includes("--check")) {
    const stale = [];
    for (const [path, contents] of files) {
      const current = await readFile(join(root, path)).catch(() => Buffer.alloc(0));
      if (!current.equals(contents)) stale.push(path);
    }
    if (!stale.length) return;
    console.error(`client/dist is not current: ${stale.join(", ")}. Run \`npm run build\` in client/ and commit.`);
    process.exit(1);
  }
  await mkdir(join(root, "dist/assets"), { recursive: true });
  for (const [path, contents] of files) await writeFile(join(root, path), contents);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
