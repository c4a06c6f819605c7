// Starts the real server with the test's configuration and a real Redis, and connects the stock Socket.IO client.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { io } from "socket.io-client";

const root = fileURLToPath(new URL("../../", import.meta.url));
const binary = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug", "nodevent");
const TIMEOUT = 20_000;

/** A port that was free a moment ago. */
async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

/** Rejects with `what` if `promise` takes too long. */
export async function within(what, promise, limit = TIMEOUT) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${limit} ms`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Starts a program; resolves with the first match of `pattern` in what it prints. */
async function start(command, args, pattern) {
  const program = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  const lines = [];
  const matched = new Promise((resolve, reject) => {
    for (const stream of [program.stdout, program.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        lines.push(line);
        const match = pattern.exec(line);
        if (match) resolve(match);
      });
    }
    program.once("error", reject);
    program.once("exit", (code) => reject(new Error(`${command} ended with ${code}\n${lines.join("\n")}`)));
  });
  const stop = async () => {
    if (program.exitCode !== null || program.signalCode !== null) return;
    const gone = once(program, "exit");
    program.kill("SIGTERM");
    await within(`${command} ends`, gone).catch(() => program.kill("SIGKILL"));
  };
  try {
    return { match: await within(`${command} prints ${pattern}`, matched), lines, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Starts a Redis: `NODEVENT_TEST_REDIS` or `redis-server`. `cli` runs redis-cli and resolves with its output. */
export async function startRedis() {
  const port = await freePort();
  const args = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(String);
  const { stop } = await start(process.env.NODEVENT_TEST_REDIS ?? "redis-server", args, /Ready to accept connections/);
  const run = promisify(execFile);
  const cli = async (...command) => (await run(process.env.NODEVENT_TEST_REDIS_CLI ?? "redis-cli", ["-p", String(port), ...command])).stdout.trim();
  return { url: `redis://127.0.0.1:${port}/0`, cli, stop };
}

/** Resolves as within as `url` returns 200. */
async function returnsOk(url) {
  while ((await fetch(url).catch(() => null))?.status !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Starts the server with `namespaces` on a free port. */
export async function startServer(namespaces) {
  const folder = await mkdtemp(join(tmpdir(), "nodevent-e2e-"));
  const file = join(folder, "nodevent.json");
  await writeFile(file, JSON.stringify({ port: 0, publish: "local", drain_timeout: "0s", ...namespaces }));
  const { match, lines, stop } = await start(binary, ["serve", file], /listening .*url="?(https?:\/\/[^\s"]+?)\/?"?(\s|$)/);
  const url = match[1].replace("0.0.0.0", "127.0.0.1").replace("[::]", "127.0.0.1");
  await within("the server is ready", returnsOk(`${url}/readyz`));
  return { url, lines, stop: () => stop().finally(() => rm(folder, { recursive: true, force: true })) };
}

/** A connected stock client that records the events it receives, in order. */
export async function connect(url, namespace, transport) {
  const socket = io(url + namespace, { transports: [transport], forceNew: true, reconnection: false });
  const received = [];
  const waiting = new Set();
  socket.on("event", (...args) => {
    received.push(args);
    for (const wake of waiting) wake();
  });
  await within(
    `${transport} connects`,
    new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    }),
  );
  const request = (event, data) =>
    within(`the ack of ${event}`, new Promise((resolve) => socket.emit(event, data, (...ack) => resolve(ack))));
  const until = (what, condition) =>
    within(
      what,
      new Promise((resolve) => {
        const check = () => condition(received) && (waiting.delete(check), resolve(received));
        waiting.add(check);
        check();
      }),
    );
  return {
    socket,
    received,
    until,
    join: (room, key) => request("join", key === undefined ? { room } : { room, key }),
    leave: (room) => request("leave", { room }),
    close: () => socket.disconnect(),
  };
}
