// The site of SocketIO Web Service: the application that says who belongs to which rooms, a Redis, and its messages.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { promisify } from "node:util";
import { freePort, until, within } from "./programs.js";

const run = promisify(execFile);

/**
 * Starts a site. A token lists its rooms, such as `user_1.staff`, or is the status of the response, or `object`, `text` or
 * `hang`. `requests` has the questions that were received, and `updates` what the site was notified of with PUT. It listens
 * on `host`.
 */
export async function startSite(host = "127.0.0.1") {
  const [requests, updates] = [[], []];
  const server = createServer(async (request, response) => {
    const { authorization = "", "x-meta": meta } = request.headers;
    if (request.method === "PUT") {
      const chunks = await request.toArray();
      updates.push({ path: request.url, authorization, body: JSON.parse(Buffer.concat(chunks).toString()) });
      return response.writeHead(200).end();
    }
    requests.push({ path: request.url, authorization, meta });
    const token = authorization.split(" ")[1] ?? "";
    const body = { object: '{"a":1}', text: "<html>", hang: null }[token];
    if (body === null) return;
    const status = /^\d+$/.test(token) ? Number(token) : 200;
    response.writeHead(status, { location: "/elsewhere", "content-type": "application/json" });
    response.end(body ?? JSON.stringify(token.split(".")));
  }).listen(0, host);
  await once(server, "listening");
  const stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { requests, updates, stop, port: server.address().port, url: `http://127.0.0.1:${server.address().port}` };
}

/** Starts a Redis. `command` runs one of its commands and returns the lines of the reply. */
export async function startRedis() {
  const port = await freePort();
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  const program = spawn(process.env.NODEVENT_TEST_REDIS ?? "redis-server", args, { stdio: "ignore" });
  const ended = once(program, "exit");
  const command = async (...words) => {
    const cli = process.env.NODEVENT_TEST_REDIS_CLI ?? "redis-cli";
    const { stdout } = await run(cli, ["-p", String(port), ...words]);
    return stdout.split("\n").filter(Boolean);
  };
  await until("Redis responds", () => command("PING").catch(() => null));
  const stop = async () => {
    program.kill();
    await ended;
  };
  return { command, stop, url: `redis://127.0.0.1:${port}/0` };
}

/** Sends a message to a site; resolves when the server has accepted it. */
export async function send(url, site, message, { key = "54321", resync } = {}) {
  const query = new URLSearchParams({ site, apiKey: key, ...(resync === undefined ? {} : { resync }) });
  const response = await fetch(`${url}/send?${query}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(message),
  });
  assert.deepEqual([response.status, await response.text()], [200, "OK"]);
}

/** The number of messages that are stored for a user. */
export async function stored(url, site, user) {
  const response = await fetch(`${url}/api/${site}/users/${encodeURIComponent(user)}/mailbox`, {
    headers: { authorization: "Bearer 54321" },
  });
  const { unread } = await response.json();
  return unread;
}

/** A client of a site. `received` has `[event, ...arguments]` of these events; a callback is a function. */
export class Page {
  static #all = new Set();

  /** Closes what tests that failed have left open. */
  static closeAll() {
    for (const page of Page.#all) page.close();
  }

  constructor(client, url, site, token, { events = ["a", "b", "e", "batch", "resync"], query = {}, ...options } = {}) {
    const parameters = new URLSearchParams({ ...(token === undefined ? {} : { token }), ...query });
    Page.#all.add(this);
    this.old = client.old;
    this.received = [];
    this.socket = client.io(`${url}/${site}?${parameters}`, {
      transports: ["websocket"], forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...options,
    });
    for (const event of events) this.socket.on(event, (...args) => this.received.push([event, ...args]));
  }

  async connected() {
    await within("connect", new Promise((resolve, reject) => {
      this.socket.once("connect", resolve);
      this.socket.once(this.old ? "error" : "connect_error", (error) => reject(new Error(error.message ?? error)));
    }));
    return this;
  }

  /** The text of its connect error. */
  async error() {
    const event = this.old ? "error" : "connect_error";
    const [error] = await within(event, new Promise((resolve) => this.socket.once(event, (...args) => resolve(args))));
    return this.old ? error : error.message;
  }

  /** Waits for so many events, and returns them. */
  async events(count) {
    await until(`${count} events`, () => this.received.length >= count);
    return this.received;
  }

  close() {
    this.socket.disconnect();
    // Old clients keep the connection of a namespace that has rejected them.
    this.socket.io.reconnection(false);
    this.socket.io.engine?.close();
  }
}

/** Events with their callbacks as `"callback"`. */
export const shown = (events) => events.map((args) => args.map((arg) => (typeof arg === "function" ? "callback" : arg)));

/** The callback of an event. */
export const callback = (args) => args.at(-1);

/** What was delivered, without callbacks: a message that is stored while a client connects may come in a batch. */
export const delivered = (events) => events.flatMap(([name, ...args]) =>
  (name === "batch" ? args[0] : [[name, ...args.filter((arg) => typeof arg !== "function")]]));
