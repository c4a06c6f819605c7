// Builds dist/ from src/: `node scripts/build.js`, or `--check` to say whether dist/ is current.
// The same sources give the same bytes: no date, no path, no random name goes in.

import { readFile, mkdir, writeFile } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

const shared = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  mangleProps: /^_[a-z]/, // what begins with an underscore is nobody's but ours
  sourcemap: "external",
  sourcesContent: true,
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none",
  write: false,
  logLevel: "warning",
};

/**
 * Where each bundle says its map is. The script is served as `/api/<namespace>`, its map beside
 * socket.io.js; the others have theirs next to them.
 */
const bundles = [
  { entry: "src/script.js", name: "nodevent.js", map: "../socket.io/nodevent.js.map", format: "iife" },
  { entry: "src/index.js", name: "nodevent.mjs", map: "nodevent.mjs.map", format: "esm" },
  { entry: "src/index.js", name: "nodevent.cjs", map: "nodevent.cjs.map", format: "cjs", platform: "node" },
  { entry: "src/socket-io.js", name: "socket.io.js", map: "socket.io.js.map", format: "iife" },
];

/** The hand-written types, where `import` and `require` look for them. */
const types = { "nodevent.d.ts": "nodevent.d.ts", "nodevent.d.cts": "nodevent.d.ts", "script.d.ts": "script.d.ts" };

/** @returns {Promise<Map<string, Buffer>>} by path relative to client/ */
export async function outputs() {
  const files = new Map();
  for (const { entry, name, map, ...options } of bundles) {
    const { outputFiles } = await build({
      ...shared,
      ...options,
      entryPoints: [entry],
      outfile: `dist/${name}`,
      footer: { js: `//# sourceMappingURL=${map}` },
    });
    for (const { path, contents } of outputFiles)
      files.set(relative(root, path).split(sep).join("/"), Buffer.from(contents));
  }
  for (const [name, source] of Object.entries(types)) files.set(`dist/${name}`, await readFile(join(root, "types", source)));
  return files;
}

async function main() {
  const files = await outputs();
  if (process.argv.includes("--check")) {
    const stale = [];
    for (const [path, contents] of files) {
      const kept = await readFile(join(root, path)).catch(() => Buffer.alloc(0));
      if (!kept.equals(contents)) stale.push(path);
    }
    if (!stale.length) return;
    console.error(`client/dist is not what client/src gives: ${stale.join(", ")}. Run \`npm run build\` in client/ and commit.`);
    process.exit(1);
  }
  await mkdir(join(root, "dist"), { recursive: true });
  for (const [path, contents] of files) await writeFile(join(root, path), contents);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
