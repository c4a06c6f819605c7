// N-73: `require("nodevent")` with a foreign socket, like the module tests of the old client: a
// controller, and an object with `on` and `emit` instead of a socket.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { createRequire } from "node:module";
import { test } from "node:test";
import { record, until } from "../support/until.js";

const { NoDeventController, Client, connect, io } = createRequire(import.meta.url)("nodevent");

/** Has `on` and `emit` like a socket, and acknowledges joins and leaves asynchronously. */
class SocketLike extends EventEmitter {
  rooms = new Set();

  constructor() {
    super();
    this.on("join", ({ room }, fn) => {
      this.rooms.add(room);
      if (fn) process.nextTick(fn, null);
    });
    this.on("leave", ({ room }, fn) => {
      this.rooms.delete(room);
      if (fn) process.nextTick(fn, null);
    });
  }
}

test("N-73 the CommonJS entry has the controller, also by its old name", () => {
  assert.equal(typeof NoDeventController, "function");
  assert.equal(Client, NoDeventController);
  assert.equal(typeof connect, "function");
  assert.equal(typeof io, "function");
});

test("N-73 a room joined before the socket connects is joined on connect, with one callback", async () => {
  const nodevent = new NoDeventController();
  const socket = new SocketLike();
  const results = [];
  nodevent.room("theroom").join((err) => results.push(err));
  nodevent.setSocket(socket);
  socket.emit("connect");
  await until(() => results.length);
  assert.ok(socket.rooms.has("theroom"));
  socket.emit("connect");
  await until(() => nodevent.room("theroom").joined);
  assert.deepEqual(results, [null]);
});

test("N-73 a socket-like object without `connected` counts as connected", async () => {
  const nodevent = new NoDeventController().setSocket(new SocketLike());
  await new Promise((resolve) => nodevent.room("theroom").join(resolve));
});

test("N-73 every connect joins again", async () => {
  const socket = new SocketLike();
  const nodevent = new NoDeventController().setSocket(socket);
  const { join } = record(nodevent.room("theroom"), "join");
  nodevent.room("theroom").join();
  await until(() => join.length === 1);
  socket.emit("connect");
  await until(() => join.length === 2);
});

test("N-73 events reach their rooms, and leave sends leave", async () => {
  const socket = new SocketLike();
  const nodevent = new NoDeventController().setSocket(socket);
  const room = nodevent.room("theroom").join();
  const received = record(room, "theevent");
  socket.emit("event", { room: "theroom", event: "theevent", message: "themessage" });
  assert.deepEqual(received.theevent, [["themessage"]]);
  await new Promise((resolve) => room.leave(resolve));
  assert.equal(socket.rooms.size, 0);
});

test("N-73 down removes our listeners from the socket, the rooms and the controller, and no others", () => {
  const socket = new SocketLike();
  const mine = () => {};
  socket.on("connect", mine);
  const nodevent = new NoDeventController().setSocket(socket);
  const room = nodevent.room("theroom");
  room.on("e", mine);
  nodevent.on("connect", mine);
  nodevent.down();
  assert.deepEqual(socket.listeners("connect"), [mine]);
  assert.equal(socket.listenerCount("event"), 0);
  assert.deepEqual(room.listeners("e"), []);
  assert.deepEqual(nodevent.listeners("connect"), []);
  assert.equal(nodevent.connected(), false);
});

test("N-73 a controller with another socket releases the first", () => {
  const [first, second] = [new SocketLike(), new SocketLike()];
  const nodevent = new NoDeventController().setSocket(first);
  const received = record(nodevent, "connect");
  nodevent.setSocket(second);
  first.emit("connect");
  assert.equal(received.connect.length, 0);
  second.emit("connect");
  assert.equal(received.connect.length, 1);
});
