// Starts a Redis on a free port, in memory only: NODEVENT_TEST_REDIS, or the redis-server on the PATH.

import { spawn } from "node:child_process";
import net from "node:net";
import { until } from "./until.js";

async function freePort() {
  const probe = net.createServer();
  await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

export async function startRedis() {
  const port = await freePort();
  const program = process.env.NODEVENT_TEST_REDIS ?? "redis-server";
  const child = spawn(program, ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"], { stdio: ["ignore", "pipe", "inherit"] });
  let log = "";
  let failed;
  child.stdout.on("data", (piece) => (log += piece));
  child.on("error", (error) => (failed = error));
  await until(() => {
    if (failed) throw new Error(`${program} cannot be started (${failed.message}): install the package redis-server`);
    return log.includes("Ready to accept connections");
  }, "redis-server to be ready");
  return {
    port,
    async stop() {
      const gone = new Promise((resolve) => child.on("exit", resolve));
      child.kill();
      await gone;
    },
  };
}
