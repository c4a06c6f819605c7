// The real server with a configuration of the test's own, a real Redis, and the stock Socket.IO client.
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
const PATIENCE = 20_000;

/** A port that was free a moment ago. */
async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

/** Fails with `what` where `promise` takes too long. */
export async function soon(what, promise, limit = PATIENCE) {
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
    await soon(`${command} ends`, gone).catch(() => program.kill("SIGKILL"));
  };
  try {
    return { match: await soon(`${command} prints ${pattern}`, matched), lines, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A Redis of its own, the one that the environment names if it does; `cli` runs redis-cli and resolves with what it prints. */
export async function startRedis() {
  const port = await freePort();
  const args = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(String);
  const { stop } = await start(process.env.NODEVENT_TEST_REDIS ?? "redis-server", args, /Ready to accept connections/);
  const run = promisify(execFile);
  const cli = async (...command) => (await run(process.env.NODEVENT_TEST_REDIS_CLI ?? "redis-cli", ["-p", String(port), ...command])).stdout.trim();
  return { url: `redis://127.0.0.1:${port}/0`, cli, stop };
}

/** Resolves once `url` is answered with 200. */
async function answers(url) {
  while ((await fetch(url).catch(() => null))?.status !== 200) await new Promise((again) => setTimeout(again, 20));
}

/** The server with `namespaces` on a free port. */
export async function startServer(namespaces) {
  const folder = await mkdtemp(join(tmpdir(), "nodevent-e2e-"));
  const file = join(folder, "nodevent.json");
  await writeFile(file, JSON.stringify({ port: 0, drain_timeout: "0s", ...namespaces }));
  const { match, lines, stop } = await start(binary, ["serve", file], /listening .*url="?(https?:\/\/[^\s"]+?)\/?"?(\s|$)/);
  const url = match[1].replace("0.0.0.0", "127.0.0.1").replace("[::]", "127.0.0.1");
  await soon("the server is ready", answers(`${url}/readyz`));
  return { url, lines, stop: () => stop().finally(() => rm(folder, { recursive: true, force: true })) };
}

/** A connected stock client that keeps what it hears, in order. */
export async function connect(url, namespace, transport) {
  const socket = io(url + namespace, { transports: [transport], forceNew: true, reconnection: false });
  const heard = [];
  const waiting = new Set();
  socket.on("event", (...args) => {
    heard.push(args);
    for (const wake of waiting) wake();
  });
  await soon(
    `${transport} connects`,
    new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    }),
  );
  const ask = (event, data) =>
    soon(`the answer to ${event}`, new Promise((resolve) => socket.emit(event, data, (...answer) => resolve(answer))));
  const until = (what, condition) =>
    soon(
      what,
      new Promise((resolve) => {
        const look = () => condition(heard) && (waiting.delete(look), resolve(heard));
        waiting.add(look);
        look();
      }),
    );
  return {
    socket,
    heard,
    until,
    join: (room, key) => ask("join", key === undefined ? { room } : { room, key }),
    leave: (room) => ask("leave", { room }),
    close: () => socket.disconnect(),
  };
}
