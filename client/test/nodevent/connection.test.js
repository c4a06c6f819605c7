// Connection events, against the real server: rows N-53 to N-57 as far as Node can show them; the
// script tag is tested in test/browser/.

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

test("N-54 N-55 N-56 connect and disconnect fire, and connected() is false, true, false, true", async () => {
  const nodevent = start();
  const received = record(nodevent, "connect", "disconnect");
  assert.equal(new NoDeventController().connected(), false);
  assert.equal(nodevent.connected(), false);
  await until(() => received.connect.length);
  assert.equal(nodevent.connected(), true);
  await server.stop();
  await until(() => received.disconnect.length);
  assert.equal(received.disconnect[0][0], "transport close");
  assert.equal(received.disconnect.length, 1);
  assert.equal(nodevent.connected(), false);
  await server.start();
  await until(() => received.connect.length === 2);
  assert.equal(nodevent.connected(), true);
});

test("N-57 the old client's other events fire with their arguments, over a restart", async () => {
  const nodevent = start();
  const received = record(nodevent, "connecting", "connect", "close", "error", "reconnecting", "reconnect", "connect_failed");
  await until(() => received.connect.length);
  assert.deepEqual(received.connecting, [["websocket"]]);
  await server.stop();
  await until(() => received.reconnecting.length > 1, "a failed attempt");
  assert.deepEqual(received.close, [["transport close"]]);
  const [delay, attempt] = received.reconnecting[0];
  assert.ok(delay >= 0 && delay <= 50 && attempt === 1);
  assert.equal(received.reconnecting[1][1], 2);
  assert.ok(received.error[0][0] instanceof Error);
  await server.start();
  await until(() => received.reconnect.length);
  const [transport, attempts] = received.reconnect[0];
  assert.match(transport, /websocket|polling/);
  assert.equal(attempts, received.reconnecting.length);
  assert.ok(received.connecting.length > 1);
});

test("N-57 an unreachable server fires connect_failed for the first attempt, and reconnect_failed at the end", async () => {
  const nodevent = start({ url: "http://127.0.0.1:1", reconnectionAttempts: 2 });
  const received = record(nodevent, "connect_failed", "error", "reconnecting", "reconnect_failed");
  await until(() => received.reconnect_failed.length);
  assert.equal(received.connect_failed.length, 1);
  assert.equal(received.error.length, 3);
  assert.equal(received.reconnecting.length, 2);
});

test("N-57 a refused namespace fires connect_failed with the reason", async () => {
  const nodevent = start({ namespace: "nowhere" });
  const received = record(nodevent, "connect_failed");
  await until(() => received.connect_failed.length);
  assert.equal(received.connect_failed[0][0].message, "Invalid namespace");
});

test("N-57 a stock socket's events fire under their old names", async () => {
  const socket = stockClient(`${server.url}/nodevent`, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50 });
  const nodevent = new NoDeventController().setSocket(socket);
  open.push(nodevent);
  const received = record(nodevent, "connecting", "connect", "disconnect", "close", "error", "reconnecting", "reconnect");
  await until(() => received.connect.length);
  // A stock client that is cut in the middle of its upgrade may only notice by its heartbeat, much later.
  await until(() => socket.io.engine.transport.name === "websocket");
  await server.stop();
  await until(() => received.reconnecting.length);
  assert.equal(received.disconnect.length, 1);
  assert.equal(received.close.length, 1);
  assert.equal(received.reconnecting[0][1], 1);
  await server.start();
  await until(() => received.connect.length === 2);
  await until(() => received.reconnect.length);
  assert.deepEqual(received.connecting[0], ["polling"]);
  assert.match(received.reconnect[0][0], /polling|websocket/);
});

test("N-74 two namespaces of one server share a connection; a second controller of the same namespace has its own", async () => {
  const [one, two, three] = [start(), start({ namespace: "/protected" }), start()];
  await until(() => one.connected() && two.connected() && three.connected());
  assert.equal(one.socket.io, two.socket.io);
  assert.notEqual(one.socket.io, three.socket.io);
  one.close();
  const received = record(two, "disconnect");
  await new Promise((resolve) => two.room("x").join(resolve));
  assert.equal(two.connected(), true);
  assert.deepEqual(received.disconnect, []);
});

test("a server that shuts down requests a delay, and the page reconnects after it", async () => {
  const nodevent = start();
  const received = record(nodevent, "connect", "disconnect", "reconnecting");
  const drains = [];
  await until(() => received.connect.length);
  nodevent.socket.on("drain", (message) => drains.push(message));
  await server.stop("SIGTERM");
  await until(() => received.disconnect.length);
  await server.start();
  await until(() => received.connect.length === 2);
  assert.deepEqual(received.disconnect, [["transport close", { description: { code: 1001, reason: "server shutting down" } }]]);
  assert.equal(drains.length, 1);
  assert.ok(drains[0].wait >= 0);
  assert.equal(received.reconnecting[0][0], drains[0].wait);
});

test("close ends the connection on the server too, and leaves nothing that keeps a process alive", async () => {
  const nodevent = start();
  await until(() => nodevent.connected());
  const { engine } = nodevent.socket.io;
  nodevent.close();
  assert.equal(engine.readyState, "closed");
  assert.equal(nodevent.connected(), false);
});
