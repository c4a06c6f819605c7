// Starts the server and its echo application as separate processes on free ports.
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
/** Default time limit of a wait, generous for a busy machine. Milliseconds. */
const TIMEOUT = 30_000;

/** Rejects with `what` if `promise` takes too long. */
export async function within(what, promise, limit = TIMEOUT) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${limit} ms`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits until `condition` returns or resolves to something true, and returns it. */
export async function until(what, condition, limit) {
  let ended = false;
  const attempt = async () => {
    while (!ended) {
      const result = await condition();
      if (result) return result;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  return within(what, attempt(), limit).finally(() => (ended = true));
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

/** Starts a program; resolves when it prints `pattern`. `stop(signal)` sends the signal and waits for the exit. */
export async function start(command, args, env, pattern) {
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
    await within(`${command} ends`, ended);
  };
  try {
    await within(`${command} prints ${pattern}`, ready);
  } catch (error) {
    program.kill("SIGKILL");
    throw error;
  }
  return { pid: program.pid, lines, stop };
}

/** Starts the echo application; its default heartbeat suits a busy machine. */
export async function startEcho({ mode = "socket", settings = { PING: "5s 20s" } } = {}) {
  const port = await freePort();
  const env = { PORT: String(port), MODE: mode, ...settings };
  const program = await start(join(built, "examples", "conformance"), [], env, new RegExp(`^${mode} at `));
  return { ...program, url: `http://127.0.0.1:${port}` };
}

/** Starts the server with `configuration`, on a free port or on the given one. */
export async function startServer(configuration, port) {
  const folder = await mkdtemp(join(tmpdir(), "nodevent-socket-io-"));
  const at = port ?? (await freePort());
  const file = join(folder, "nodevent.json");
  await writeFile(file, JSON.stringify({ bind: "127.0.0.1", port: at, publish: "local", drain_timeout: "0s", ...configuration }));
  const program = await start(join(built, "nodevent"), ["serve", file], {}, /listening url=/);
  const stop = (signal) => program.stop(signal).finally(() => rm(folder, { recursive: true, force: true }));
  return { lines: program.lines, stop, port: at, url: `http://127.0.0.1:${at}` };
}

/** Publishes to `/nodevent`; resolves when the server has accepted it. */
export async function publish(url, publication) {
  const response = await fetch(`${url}/api/nodevent/emit`, { method: "POST", body: JSON.stringify(publication) });
  if (response.status !== 200) throw new Error(`publishing failed: ${await response.text()}`);
}
