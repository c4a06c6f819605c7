// Rooms against the real server: rows N-58 to N-72, with the admission rows as a client sees them.

import assert from "node:assert/strict";
import { after, afterEach, beforeEach, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { SECRET, Server, keyFor } from "../support/server.js";
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

const joined = (room) => new Promise((resolve, reject) => room.join((err) => (err ? reject(new Error(err)) : resolve(room))));
const protectedPage = (options) => start({ namespace: "/protected", ...options });

/** Kills and restarts the server; resolves when the page is connected again. */
async function restart(nodevent) {
  await server.stop();
  await until(() => !nodevent.connected());
  await server.start();
  await until(() => nodevent.connected());
}

test("N-58 a room is the same object for the same name, and has its name", () => {
  const nodevent = start();
  assert.equal(nodevent.room("theroom"), nodevent.room("theroom"));
  assert.notEqual(nodevent.room("theroom"), nodevent.room("another"));
  assert.equal(nodevent.room("theroom").id, "theroom");
});

for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
  test(`N-69 an event reaches the members of its room with its message, over ${transports}`, async () => {
    const nodevent = start({ transports });
    const received = record(await joined(nodevent.room("theroom")), "update", "bare");
    const other = record(nodevent.room("other"), "update");
    await server.emit("theroom", "update", { id: 1, text: "ünï☃\u2028" });
    await server.publish({ room: "theroom", event: "bare" });
    await until(() => received.bare.length);
    assert.deepEqual(received.update, [[{ id: 1, text: "ünï☃\u2028" }]]);
    assert.deepEqual(received.bare, [[undefined]]);
    assert.deepEqual(other.update, []);
  });
}

test("N-59 N-61 a join callback runs for one attempt, the join event fires for every attempt", async () => {
  const nodevent = start();
  const room = nodevent.room("theroom");
  const { join } = record(room, "join");
  const results = [];
  room.join((err) => results.push(err));
  await until(() => results.length);
  await restart(nodevent);
  await until(() => join.length === 2);
  await restart(nodevent);
  await until(() => join.length === 3);
  assert.deepEqual(results, [null]);
  assert.ok(join.every(([err]) => !err));
});

test("N-59 N-36 a refused join has a reason", async () => {
  const results = [];
  protectedPage().room("theroom").join((err) => results.push(err));
  await until(() => results.length);
  assert.deepEqual(results, ["Must provide key"]);
});

test("N-60 a join requested while the server is down completes when the server is up", async () => {
  await server.stop();
  const nodevent = start();
  const results = [];
  nodevent.room("theroom").join((err) => results.push(err));
  await until(() => nodevent.socket.io._connection._attempt > 1, "failed attempts");
  assert.deepEqual(results, []);
  await server.start();
  await until(() => results.length);
  assert.deepEqual(results, [null]);
});

test("N-62 N-40 N-41 a key that is set before the join is used", async () => {
  const nodevent = protectedPage();
  const room = nodevent.room("User_12").setKey("9ff11bf8e4b2c41a5439752695d968d845af8488490d4df33933bbd7cd2d1183:4102444800000");
  const received = record(await joined(room), "secret");
  await server.emit("User_12", "secret", 1, "protected");
  await until(() => received.secret.length);
});

test("N-63 a key that is set while in the room sends a join immediately; getKey returns it", async () => {
  const nodevent = protectedPage();
  const room = nodevent.room("theroom").setKey("bad:4102444800000");
  const { join } = record(room, "join");
  room.join();
  await until(() => join.length === 1);
  assert.equal(join[0][0], "Bad key");
  const good = keyFor("theroom");
  room.setKey(good);
  assert.equal(room.getKey(), good);
  await until(() => join.length === 2);
  assert.equal(join[1][0], null);
  assert.equal(room.joined, true);
});

test("N-64 rooms are joined again after the server's restart, without any action of the page", async () => {
  const nodevent = protectedPage();
  const room = await joined(nodevent.room("theroom").setKey(keyFor("theroom")));
  const received = record(room, "join", "update");
  await restart(nodevent);
  await until(() => received.join.length);
  await server.emit("theroom", "update", "again", "protected");
  await until(() => received.update.length);
  assert.deepEqual(received.update, [["again"]]);
});

test("N-65 a key that expired during a disconnect is refused on the rejoin, and a new one recovers", async () => {
  const nodevent = protectedPage();
  const room = nodevent.room("theroom");
  const expires = Date.now() + 700;
  await joined(room.setKey(keyFor("theroom", expires)));
  const received = record(room, "join", "key-expired");
  await server.stop();
  await until(() => Date.now() > expires);
  await server.start();
  await until(() => received["key-expired"].length);
  assert.equal(received.join[0][0], "Time has passed");
  assert.equal(received["key-expired"][0][0], room);
  assert.equal(room.joined, false);
  room.setKey(keyFor("theroom"));
  await until(() => room.joined);
  assert.equal(received.join[1][0], null);
});

test("N-65 with a key function a rejoin fetches a new key", async () => {
  const lifetimes = [700, 60_000];
  const asked = [];
  const nodevent = protectedPage({
    key: async (room) => {
      asked.push(room.id);
      return keyFor(room.id, Date.now() + lifetimes.shift());
    },
  });
  const room = await joined(nodevent.room("theroom"));
  const { join } = record(room, "join");
  const expires = Number(room.getKey().split(":")[1]);
  await server.stop();
  await until(() => Date.now() > expires);
  await server.start();
  await until(() => join.length);
  assert.deepEqual(asked, ["theroom", "theroom"]);
  assert.deepEqual(join.map(([err]) => err), [null]);
});

test("N-66 N-46 leave runs its callback, fires leave without an error, and ends the events", async () => {
  const nodevent = start();
  const room = await joined(nodevent.room("theroom"));
  const received = record(room, "leave", "update");
  const results = [];
  room.leave((err) => results.push(err));
  await until(() => results.length);
  assert.deepEqual(received.leave, [[null]]);
  const witness = record(await joined(start().room("theroom")), "update");
  await server.emit("theroom", "update", 1);
  await until(() => witness.update.length);
  assert.deepEqual(received.update, []);
  await restart(nodevent);
  assert.deepEqual(results, [null]);
  assert.equal(room.joined, false);
});

test("N-67 a lost connection fires leave with an error on its rooms", async () => {
  const nodevent = start();
  const room = await joined(nodevent.room("theroom"));
  const idle = record(nodevent.room("never joined"), "leave");
  const { leave } = record(room, "leave");
  await server.stop();
  await until(() => leave.length);
  assert.deepEqual(leave, [["transport close"]]);
  assert.deepEqual(idle.leave, []);
  await server.start();
  await until(() => room.joined);
});

test("N-68 leaving while the server is down runs the callback, and the room is not joined again", async () => {
  const nodevent = start();
  const room = await joined(nodevent.room("theroom"));
  const received = record(room, "update", "join");
  await server.stop();
  await until(() => !nodevent.connected());
  const results = [];
  room.leave((err) => results.push(err));
  await until(() => results.length);
  await server.start();
  const witness = record(await joined(nodevent.room("witness")), "update");
  await server.publish([
    { room: "theroom", event: "update" },
    { room: "witness", event: "update" },
  ]);
  await until(() => witness.update.length);
  assert.deepEqual(results, [undefined]);
  assert.deepEqual(received, { update: [], join: [] });
});

test("N-68 leaving without a socket runs the callback", async () => {
  const { NoDeventController } = await import("../../src/index.js");
  const results = [];
  new NoDeventController().room("theroom").leave((err) => results.push(err));
  await until(() => results.length);
  assert.deepEqual(results, [undefined]);
});

test("N-70 backend events named join, leave, error, newListener and __proto__ break nothing", async () => {
  const nodevent = start();
  const room = await joined(nodevent.room("theroom"));
  const any = [];
  room.onAny((event, message) => any.push([event, message]));
  const received = record(room, "join", "leave", "error", "newListener", "removeListener", "__proto__", "connect", "disconnect");
  const names = ["join", "leave", "error", "newListener", "removeListener", "connect", "disconnect", "__proto__", "constructor"];
  for (const name of names) await server.emit("theroom", name, `about ${name}`);
  await until(() => any.length === names.length);
  assert.deepEqual(any, names.map((name) => [name, `about ${name}`]));
  assert.deepEqual(received.join, []);
  assert.deepEqual(received.leave, []);
  assert.deepEqual(received.error, [["about error"]]);
  assert.deepEqual(received["__proto__"], [["about __proto__"]]);
  assert.equal(nodevent.connected(), true);
  const results = [];
  room.leave((err) => results.push(err));
  await until(() => results.length);
  assert.deepEqual(results, [null]);
});

test("N-71 a room has the event methods of the old client", () => {
  const room = start().room("theroom");
  const received = [];
  const [a, b] = [(m) => received.push(["a", m]), (m) => received.push(["b", m])];
  room.addListener("e", a);
  room.once("e", b);
  room.emit("e", 1);
  room.emit("e", 2);
  assert.deepEqual(received, [["a", 1], ["b", 1], ["a", 2]]);
  assert.deepEqual(room.listeners("e"), [a]);
  const each = [];
  room.eachListener("e", (listener) => each.push(listener));
  assert.deepEqual(each, [a]);
  room.removeListener("e", a);
  assert.deepEqual(room.listeners("e"), []);
  room.on("e", a);
  room.off("e", a);
  room.on("e", a).on("f", b);
  room.removeAllListeners("e");
  assert.deepEqual([room.listeners("e"), room.listeners("f")], [[], [b]]);
  room.removeAllListeners();
  assert.deepEqual(room.listeners("f"), []);
  assert.equal(room.setMaxListeners(1), room);
});

test("N-72 fifty rooms print no warning, and each receives its own events", async (t) => {
  const printed = ["warn", "error", "log", "trace"].map((name) => t.mock.method(console, name, () => {}));
  const warnings = [];
  const onWarning = (warning) => warnings.push(warning);
  process.on("warning", onWarning);
  const nodevent = start();
  const received = new Map();
  const rooms = Array.from({ length: 50 }, (_, n) => nodevent.room("room" + n));
  for (const room of rooms) room.on("e", (message) => received.set(room.id, message));
  await Promise.all(rooms.map(joined));
  await server.publish(rooms.map(({ id }) => ({ room: id, event: "e", message: id })));
  await until(() => received.size === 50);
  for (const [id, message] of received) assert.equal(id, message);
  process.off("warning", onWarning);
  assert.equal(printed.reduce((sum, { mock }) => sum + mock.callCount(), 0), 0);
  assert.deepEqual(warnings, []);
});

test("N-29 room 42 is room \"42\"", async () => {
  const nodevent = start();
  const received = record(await joined(nodevent.room(42)), "e");
  await server.emit("42", "e", "text");
  await server.emit(42, "e", "number");
  await until(() => received.e.length === 2);
});

test("N-33 joining twice is one delivery", async () => {
  const room = await joined(start().room("theroom"));
  await joined(room);
  const received = record(room, "e", "end");
  await server.emit("theroom", "e", 1);
  await server.emit("theroom", "end", 1);
  await until(() => received.end.length);
  assert.equal(received.e.length, 1);
});

/** One ack of a raw `join`, as its list of arguments. */
const rawJoin = (nodevent, ...args) => new Promise((resolve) => nodevent.socket.emit("join", ...args, (...ack) => resolve(ack)));

test("N-35 without a secret a join needs no key and accepts any", async () => {
  const nodevent = start();
  for (const key of [undefined, "", "nonsense", 5]) {
    const [err, ok] = await rawJoin(nodevent, { room: "theroom", key });
    assert.deepEqual([err, ok], [null, true]);
  }
});

test("N-36 N-37 N-38 N-39 N-42 N-43 N-44 each invalid key has its refusal, and the connection stays usable", async () => {
  const nodevent = protectedPage();
  const past = 1700000000000;
  const far = 4102444800000;
  const [hash] = keyFor("User_12", far).split(":");
  const cases = [
    [{ room: "theroom" }, "Must provide key"],
    [{ room: "theroom", key: null }, "Must provide key"],
    [{ room: "theroom", key: "" }, "Bad sig"],
    [{ room: "theroom", key: "badkey" }, "Bad sig"],
    [{ room: "theroom", key: ":1" }, "Bad sig"],
    [{ room: "theroom", key: keyFor("theroom", past) }, "Time has passed"],
    [{ room: "theroom", key: `0000:${past}` }, "Time has passed"],
    [{ room: "theroom", key: keyFor("other", far) }, "Bad key"],
    [{ room: "theroom", key: keyFor("theroom", far, SECRET + "x") }, "Bad key"],
    [{ room: "User_1", key: `${hash}:2${far}` }, "Bad time"],
    [{ room: "theroom", key: keyFor("theroom", `${far}xyz`) }, "Bad time"],
    [{ room: "theroom", key: keyFor("theroom", `0${far}`) }, "Bad time"],
    [{ room: "theroom", key: keyFor("theroom", "NaN") }, "Bad time"],
    [{ room: "theroom", key: keyFor("theroom", 999999999999) }, "Bad time"],
    [{ room: "theroom", key: 5 }, "Bad sig"],
    [{ room: "theroom", key: {} }, "Bad sig"],
    [{ room: ["theroom"], key: keyFor("theroom") }, "Bad room"],
    ["theroom", "Bad room"],
    [null, "Bad room"],
  ];
  for (const [join, refusal] of cases) assert.deepEqual(await rawJoin(nodevent, join), [refusal, false], JSON.stringify(join));
  assert.deepEqual(await rawJoin(nodevent), ["Bad room", false]);
  const [err, ok] = await rawJoin(nodevent, { room: "theroom", key: keyFor("theroom") });
  assert.deepEqual([err, ok], [null, true]);
});

test("N-45 join and leave without an ack work", async () => {
  const nodevent = start();
  await until(() => nodevent.connected());
  const received = [];
  nodevent.socket.on("event", ({ event }) => received.push(event));
  nodevent.socket.emit("join", { room: "silent" });
  await joined(nodevent.room("other"));
  await server.emit("silent", "e", 1);
  await until(() => received.includes("e"));
  nodevent.socket.emit("leave", { room: "silent" });
  await joined(nodevent.room("third"));
  await server.emit("silent", "late", 1);
  await server.emit("third", "end", 1);
  await until(() => received.includes("end"));
  assert.ok(!received.includes("late"));
});
