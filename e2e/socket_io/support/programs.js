// The server and its echo application as programs of their own, on free ports.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const built = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug");
/** How long a test waits for what must come. The machine may be busy. */
const PATIENCE = 30_000;

/** Fails with `what` where `promise` takes too long. */
export async function soon(what, promise, limit = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${limit} ms`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A port that was free a moment ago. */
export async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

/** Starts a program; resolves when it prints `pattern`. `stop(signal)` ends it and waits until it has ended. */
async function start(command, args, env, pattern) {
  const program = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  const ended = new Promise((resolve) => program.once("exit", resolve));
  const lines = [];
  const ready = new Promise((resolve, reject) => {
    for (const stream of [program.stdout, program.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        lines.push(line);
        if (pattern.test(line)) resolve();
      });
    }
    program.once("error", (error) => reject(new Error(`${command}: ${error.message}; build it first`)));
    ended.then((code) => reject(new Error(`${command} ended with ${code}\n${lines.join("\n")}`)));
  });
  const stop = async (signal = "SIGTERM") => {
    program.kill(signal);
    await soon(`${command} ends`, ended);
  };
  try {
    await soon(`${command} prints ${pattern}`, ready);
  } catch (error) {
    program.kill("SIGKILL");
    throw error;
  }
  return { lines, stop };
}

/** The echo application; by default with heartbeats patient enough for a busy machine. */
export async function startEcho({ mode = "socket", settings = { PING: "5s 20s" } } = {}) {
  const port = await freePort();
  const env = { PORT: String(port), MODE: mode, ...settings };
  const program = await start(join(built, "examples", "conformance"), [], env, new RegExp(`^${mode} at `));
  return { ...program, url: `http://127.0.0.1:${port}` };
}

/** The server with `configuration`, on a port of its own or on one it had before. */
export async function startServer(configuration, port) {
  const folder = await mkdtemp(join(tmpdir(), "nodevent-socket-io-"));
  const at = port ?? (await freePort());
  const file = join(folder, "nodevent.json");
  await writeFile(file, JSON.stringify({ bind: "127.0.0.1", port: at, drain_timeout: "0s", ...configuration }));
  const program = await start(join(built, "nodevent"), ["serve", file], {}, /listening url=/);
  const stop = (signal) => program.stop(signal).finally(() => rm(folder, { recursive: true, force: true }));
  return { lines: program.lines, stop, port: at, url: `http://127.0.0.1:${at}` };
}

/** Publishes one emission to `/nodevent`; resolves when the server has it. */
export async function publish(url, emission) {
  const answer = await fetch(`${url}/api/nodevent/emit`, { method: "POST", body: JSON.stringify(emission) });
  if (answer.status !== 200) throw new Error(`a publish was refused: ${await answer.text()}`);
}
