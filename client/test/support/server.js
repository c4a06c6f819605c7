// Starts the real server as a process on a free port, with the test's configuration.

import { spawn } from "node:child_process";
import { createHash, createHmac } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./until.js";

const binary = process.env.NODEVENT_BIN || fileURLToPath(new URL("../../../target/debug/nodevent", import.meta.url));

export const SECRET = "lajf0q983j4laidsnvqo84jfoqijflkjafds";

/** A key for a room until `ts` (ms), by the formula of protocol/README.md section 5. */
export const keyFor = (room, ts = Date.now() + 60_000, secret = SECRET) =>
  `${createHash("sha256").update(room + ts + secret).digest("hex")}:${ts}`;

/** The secret of `/tokens` in the tests. */
export const TOKEN_SECRET = "a-secret-for-tokens-of-more-than-32-bytes";

/** A JSON Web Token of these claims, valid for `lifetime` milliseconds. */
export function tokenFor(claims, lifetime = 60_000) {
  const encode = (/** @type {object} */ part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const input = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ exp: (Date.now() + lifetime) / 1000, ...claims })}`;
  return `${input}.${createHmac("sha256", TOKEN_SECRET).update(input).digest("base64url")}`;
}

export class Server {
  /** @param {object} [config] namespaces and options in addition to `/nodevent` and `/protected` */
  constructor(config = {}) {
    this.config = { "/nodevent": {}, "/protected": { secret: SECRET }, ...config };
    this.folder = mkdtempSync(join(tmpdir(), "nodevent-client-"));
    this.port = 0;
    this.adminPort = 0;
    this.log = "";
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts the server: the first time on a free port, later on the same one. */
  async start() {
    if (!existsSync(binary)) throw new Error(`${binary} does not exist: build it with \`cargo build\``);
    const file = join(this.folder, "nodevent.json");
    writeFileSync(file, JSON.stringify({ host: "127.0.0.1", port: this.port, publish: "local", hosts: [".test"], admin: { host: "127.0.0.1", port: 0 }, ...this.config }));
    const child = spawn(binary, ["serve", file], { stdio: ["ignore", "ignore", "pipe"], env: { PATH: process.env.PATH, NO_COLOR: "1" } });
    this.child = child;
    this.log = "";
    let exit;
    child.stderr.on("data", (piece) => (this.log += piece));
    child.on("exit", (code, signal) => (exit = code ?? signal));
    this.exited = new Promise((resolve) => child.on("exit", resolve));
    await until(() => {
      if (exit !== undefined) throw new Error(`the server ended with ${exit}:\n${this.log}`);
      const listening = [...this.log.matchAll(/listening url=http:\/\/127\.0\.0\.1:(\d+)/g)];
      const admin = /listening for administration url=http:\/\/127\.0\.0\.1:(\d+)/.exec(this.log);
      if (listening.length) this.port = Number(listening[0][1]);
      if (admin) this.adminPort = Number(admin[1]);
      return listening.length && admin;
    }, "the server to listen");
    return this;
  }

  /** Starts the server if it is not running, so that one failed test does not fail the next. */
  async ensure() {
    if (!this.child || this.child.exitCode !== null || this.child.signalCode) await this.start();
  }

  /** Stops the server: SIGKILL is a crash, SIGTERM an orderly stop. @param {NodeJS.Signals} [signal] */
  async stop(signal = "SIGKILL") {
    if (this.child?.exitCode !== null || this.child.signalCode) return;
    this.child.kill(signal);
    await this.exited;
  }

  async close() {
    if (this.child) await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The value of one of the server's metrics. @param {string} name */
  async metric(name) {
    const text = await (await fetch(`http://127.0.0.1:${this.adminPort}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
  }

  /** Publishes over HTTP, like any back end. */
  async publish(publication, namespace = "nodevent") {
    const key = this.config[`/${namespace}`]?.publish_key;
    const response = await fetch(`${this.url}/api/${namespace}/emit`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
      body: JSON.stringify(publication),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`publish: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  emit(room, event, message, namespace) {
    return this.publish({ room, event, message }, namespace);
  }
}
