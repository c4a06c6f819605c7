#!/usr/bin/env node
// The command `nodevent` of the npm package: runs the server of the package for this platform, with the same arguments,
// environment and standard streams, and exits as it does.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import process from "node:process";

const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP"];
// sysexits.h: a required program is not available.
const UNAVAILABLE = 69;

const platform = `${process.platform}-${process.arch}`;

function binary() {
  try {
    return createRequire(import.meta.url).resolve(`@nodevent/${platform}/nodevent`);
  } catch {
    console.error(
      `nodevent: the package @nodevent/${platform} is not installed. Install again without --omit=optional. ` +
        "If there is no such package, install the gem nodevent or build the server with Rust.",
    );
    process.exit(UNAVAILABLE);
  }
}

const [command, ...rest] = process.argv.slice(2);
// The server stops if this process is killed, which could not pass that on.
const parent = command === "serve" && !rest.includes("--parent-pid") ? ["--parent-pid", String(process.pid)] : [];
const server = spawn(binary(), [command, ...parent, ...rest].filter((argument) => argument !== undefined), {
  stdio: "inherit",
});

for (const signal of FORWARDED) process.on(signal, () => server.kill(signal));

server.on("error", (error) => {
  console.error(`nodevent: cannot start ${server.spawnfile}: ${error.message}`);
  process.exit(UNAVAILABLE);
});

server.on("exit", (code, signal) => {
  if (!signal) process.exit(code);
  // Ends by the same signal, so that a shell or a supervisor sees it.
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
