// The JavaScript of docs/plain.md, which needs no client library, with the real server.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { Server, TOKEN_SECRET, tokenFor } from "../support/server.js";
import { until } from "../support/until.js";

const guide = readFileSync(new URL("../../../docs/plain.md", import.meta.url), "utf8");
const [receiver, user] = [...guide.matchAll(/```js\n([^]*?)```/g)].map(([, code]) => code);

let server;
const sockets = [];
let isOver = false; // clients reconnect no longer

/** A WebSocket that goes to the test's server, to one of its namespaces. */
const socketOf = (namespace) =>
  class extends WebSocket {
    constructor(url) {
      super(url.replace("ws://localhost:8080", server.url.replace("http", "ws")).replace("/ws/nodevent", `/ws/${namespace}`));
      sockets.push(this);
      this.on("error", () => {});
    }
  };

before(async () => {
  server = await new Server({
    "/lines": { protocol: "plain" },
    "/people": { protocol: "plain", open: true, token: { secret: TOKEN_SECRET }, mailbox: "on", presence: true },
  }).start();
});

after(() => {
  isOver = true;
  for (const socket of sockets) socket.terminate();
  return server.close();
});

test("the client of ten lines receives events, and after a lost connection what it missed", async () => {
  const lines = [];
  let reconnect;
  const later = (fn, _delay, ...args) => (reconnect = () => isOver || fn(...args));
  new Function("WebSocket", "console", "setTimeout", receiver)(socketOf("lines"), { log: (...args) => lines.push(args.join(" ")) }, later);
  const opened = sockets.at(-1);
  // Joined as soon as an event arrives.
  await until(async () => {
    await server.publish({ room: "lobby", event: "first", message: 0 }, "lines");
    return lines.length;
  });
  opened.terminate();
  await server.publish({ room: "lobby", event: "missed", message: 2 }, "lines");
  await until(() => reconnect);
  reconnect();
  await until(() => lines.includes("missed 2"));
  assert.ok(lines.every((line) => ["first 0", "missed 2"].includes(line)), lines.join());
});

test("the client with a user receives events, who is present, and its mailbox", async () => {
  const shown = [];
  const open = new Function("WebSocket", `${user}; return open`)(socketOf("people"));
  open(tokenFor({ sub: "7" }), (name, value) => shown.push([name, value]));
  const has = (name, value) => shown.some((one) => one[0] === name && JSON.stringify(one[1]) === JSON.stringify(value));
  await until(() => has("present", ["7"]));
  await server.publish({ users: ["7"], event: "hello", message: 1 }, "people");
  await until(() => has("hello", 1));
  const response = await fetch(`${server.url}/api/people/notify`, { method: "POST", body: JSON.stringify({ user: "7", event: "mention", message: "Lunch?" }) });
  assert.equal(response.status, 200);
  await until(() => has("mention", "Lunch?"));
  // It was acknowledged.
  await until(async () => (await (await fetch(`${server.url}/api/people/users/7/mailbox`)).json()).unread === 0);
  assert.ok(!shown.some(([name]) => name === "error"), JSON.stringify(shown));
});
