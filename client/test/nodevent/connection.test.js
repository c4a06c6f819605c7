// What a page hears of its connection, against the real server: rows N-53 to N-57 as far as Node
// shows them; the script tag itself is test/browser/.

import assert from "node:assert/strict";
import { after, afterEach, beforeEach, test } from "node:test";
import { WebSocket } from "ws";
import { NoDeventController, connect } from "../../src/index.js";
import { io as stockClient } from "socket.io-client";
import { Server } from "../support/server.js";
import { record, until } from "../support/until.js";

const server = new Server();
const open = [];

beforeEach(() => server.ensure());
after(() => server.close());
afterEach(() => {
  for (const controller of open.splice(0)) controller.close();
});

function start(options = {}) {
  const controller = connect({ url: server.url, WebSocket, reconnectionDelay: 20, reconnectionDelayMax: 50, ...options });
  open.push(controller);
  return controller;
}

test("N-54 N-55 N-56 connect and disconnect are told, and connected() says false, true, false, true", async () => {
  const nodevent = start();
  const heard = record(nodevent, "connect", "disconnect");
  assert.equal(new NoDeventController().connected(), false);
  assert.equal(nodevent.connected(), false);
  await until(() => heard.connect.length);
  assert.equal(nodevent.connected(), true);
  await server.stop();
  await until(() => heard.disconnect.length);
  assert.equal(heard.disconnect[0][0], "transport close");
  assert.equal(heard.disconnect.length, 1);
  assert.equal(nodevent.connected(), false);
  await server.start();
  await until(() => heard.connect.length === 2);
  assert.equal(nodevent.connected(), true);
});

test("N-57 the other events of old are told, with their arguments, over a restart", async () => {
  const nodevent = start();
  const heard = record(nodevent, "connecting", "connect", "close", "error", "reconnecting", "reconnect", "connect_failed");
  await until(() => heard.connect.length);
  assert.deepEqual(heard.connecting, [["websocket"]]);
  await server.stop();
  await until(() => heard.reconnecting.length > 1, "a failed attempt");
  assert.deepEqual(heard.close, [["transport close"]]);
  const [delay, attempt] = heard.reconnecting[0];
  assert.ok(delay >= 0 && delay <= 50 && attempt === 1);
  assert.equal(heard.reconnecting[1][1], 2);
  assert.ok(heard.error[0][0] instanceof Error);
  await server.start();
  await until(() => heard.reconnect.length);
  const [transport, attempts] = heard.reconnect[0];
  assert.match(transport, /websocket|polling/);
  assert.equal(attempts, heard.reconnecting.length);
  assert.ok(heard.connecting.length > 1);
});

test("N-57 connect_failed where nothing can be reached, once, and reconnect_failed at the end", async () => {
  const nodevent = start({ url: "http://127.0.0.1:1", reconnectionAttempts: 2 });
  const heard = record(nodevent, "connect_failed", "error", "reconnecting", "reconnect_failed");
  await until(() => heard.reconnect_failed.length);
  assert.equal(heard.connect_failed.length, 1);
  assert.equal(heard.error.length, 3);
  assert.equal(heard.reconnecting.length, 2);
});

test("N-57 connect_failed where the namespace is refused, with the reason", async () => {
  const nodevent = start({ namespace: "nowhere" });
  const heard = record(nodevent, "connect_failed");
  await until(() => heard.connect_failed.length);
  assert.equal(heard.connect_failed[0][0].message, "Invalid namespace");
});

test("N-57 a stock socket's events come under their old names too", async () => {
  const socket = stockClient(`${server.url}/nodevent`, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50 });
  const nodevent = new NoDeventController().setSocket(socket);
  open.push(nodevent);
  const heard = record(nodevent, "connecting", "connect", "disconnect", "close", "error", "reconnecting", "reconnect");
  await until(() => heard.connect.length);
  // Killed in the middle of its upgrade the stock client may notice only by its heartbeat, much later.
  await until(() => socket.io.engine.transport.name === "websocket");
  await server.stop();
  await until(() => heard.reconnecting.length);
  assert.equal(heard.disconnect.length, 1);
  assert.equal(heard.close.length, 1);
  assert.equal(heard.reconnecting[0][1], 1);
  await server.start();
  await until(() => heard.connect.length === 2);
  await until(() => heard.reconnect.length);
  assert.deepEqual(heard.connecting[0], ["polling"]);
  assert.match(heard.reconnect[0][0], /polling|websocket/);
});

test("N-74 two namespaces of one server share a connection; a second controller of one has its own", async () => {
  const [one, two, three] = [start(), start({ namespace: "/protected" }), start()];
  await until(() => one.connected() && two.connected() && three.connected());
  assert.equal(one.socket.io, two.socket.io);
  assert.notEqual(one.socket.io, three.socket.io);
  one.close();
  const heard = record(two, "disconnect");
  await new Promise((resolve) => two.room("x").join(resolve));
  assert.equal(two.connected(), true);
  assert.deepEqual(heard.disconnect, []);
});

test("a server that stops in order says when to come back, and the page comes back then", async () => {
  const nodevent = start();
  const heard = record(nodevent, "connect", "disconnect", "reconnecting");
  const drains = [];
  await until(() => heard.connect.length);
  nodevent.socket.on("drain", (message) => drains.push(message));
  await server.stop("SIGTERM");
  await until(() => heard.disconnect.length);
  await server.start();
  await until(() => heard.connect.length === 2);
  assert.deepEqual(heard.disconnect, [["transport close", { description: { code: 1001, reason: "server stops" } }]]);
  assert.equal(drains.length, 1);
  assert.ok(drains[0].wait >= 0);
  assert.equal(heard.reconnecting[0][0], drains[0].wait);
});

test("close ends the connection on the server too, and leaves nothing behind that keeps a process alive", async () => {
  const nodevent = start();
  await until(() => nodevent.connected());
  const { engine } = nodevent.socket.io;
  nodevent.close();
  assert.equal(engine.readyState, "closed");
  assert.equal(nodevent.connected(), false);
});
