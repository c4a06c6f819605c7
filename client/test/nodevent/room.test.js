// A room: its packets and callbacks. Over a scripted transport, for moments that a real server cannot
// reproduce; rooms.test.js tests the same against the real one.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { connect } from "../../src/nodevent/connect.js";
import { record, turn } from "../support/until.js";
import { Wire } from "../support/wire.js";

let wire;
let nodevent;

afterEach(() => nodevent?.close());

function start(options = {}) {
  wire = new Wire();
  nodevent = connect({
    url: "http://nodevent.test",
    WebSocket: wire.WebSocket,
    transports: ["websocket"],
    reconnectionDelay: 0,
    ...options,
  });
  return nodevent;
}

/** Drops the connection and accepts the next one. */
async function again() {
  wire.last.drop();
  const { length } = wire.ends;
  while (wire.ends.length === length) await new Promise((resolve) => setTimeout(resolve, 1));
  return wire.accept();
}

const publication = (room, event, message, position) => ({ room, event, message, position });

test("joins requested before the connection is open are sent on connect, with their keys", async () => {
  start();
  nodevent.room("a").join();
  nodevent.room("b").setKey("k:1").join();
  const end = await wire.accept();
  assert.deepEqual(end.takeEvent().args, [{ room: "a" }]);
  assert.deepEqual(end.takeEvent().args, [{ room: "b", key: "k:1" }]);
  assert.equal(end.received.length, 0);
});

test("a join callback receives the result of its own attempt, not of an earlier one", async () => {
  start();
  const room = nodevent.room("a").setKey("bad");
  const end = await wire.accept();
  room.join();
  room.setKey("good");
  const results = [];
  room.join((err) => results.push(err));
  const ids = [end.takeEvent(), end.takeEvent(), end.takeEvent()].map(({ id }) => id);
  end.ack(ids[0], ["Bad key", false]);
  end.ack(ids[1], [null, true]);
  assert.deepEqual(results, []);
  end.ack(ids[2], [null, true]);
  assert.deepEqual(results, [null]);
});

test("a join whose ack was lost with the connection is settled by the next one, once", async () => {
  start();
  const results = [];
  nodevent.room("a").join((err) => results.push(err));
  let end = await wire.accept();
  end.takeEvent();
  end = await again();
  end.ack(end.takeEvent().id, [null, true]);
  end = await again();
  end.ack(end.takeEvent().id, [null, true]);
  assert.deepEqual(results, [null]);
});

test("leaving settles a pending join, and its late ack is ignored", async () => {
  start();
  const end = await wire.accept();
  const room = nodevent.room("a");
  const received = record(room, "join", "leave", "e");
  const results = [];
  room.join((err) => results.push(err));
  room.leave();
  assert.deepEqual(results, ["Left"]);
  end.ack(end.takeEvent().id, [null, true]);
  assert.equal(room.joined, false);
  end.event("event", publication("a", "e", 1));
  end.ack(end.takeEvent().id, [null]);
  assert.deepEqual(received, { join: [], leave: [[null]], e: [] });
});

test("a join without an ack is sent again after ten seconds", async (t) => {
  start();
  const end = await wire.accept();
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const results = [];
  nodevent.room("a").join((err) => results.push(err));
  end.takeEvent();
  t.mock.timers.tick(9999);
  assert.equal(end.received.length, 0);
  t.mock.timers.tick(1);
  end.ack(end.takeEvent().id, [null, true]);
  assert.deepEqual(results, [null]);
  t.mock.timers.tick(60_000);
  assert.equal(end.received.length, 0);
});

test("leave directly followed by join: the second join counts", async () => {
  start();
  const end = await wire.accept();
  const room = nodevent.room("a").join();
  room.leave().join();
  const sent = [end.takeEvent(), end.takeEvent(), end.takeEvent()];
  assert.deepEqual(sent.map(({ event }) => event), ["join", "leave", "join"]);
  end.ack(sent[0].id, [null, true]);
  assert.equal(room.joined, false);
  end.ack(sent[1].id, [null]);
  end.ack(sent[2].id, [null, true]);
  assert.equal(room.joined, true);
});

test("a leave whose ack was lost with the connection counts as done", async () => {
  start();
  const end = await wire.accept();
  const room = nodevent.room("a").join();
  end.ack(end.takeEvent().id, [null, true]);
  const results = [];
  room.leave((err) => results.push(err));
  const next = await again();
  assert.deepEqual(results, [undefined]);
  assert.equal(next.received.length, 0, "and is not joined again");
});

test("a page that joins in its own connect listener is not joined twice", async () => {
  start();
  nodevent.on("connect", () => nodevent.room("a").join());
  let end = await wire.accept();
  end.takeEvent();
  assert.equal(end.received.length, 0);
  end = await again();
  end.takeEvent();
  assert.equal(end.received.length, 0);
});

test("a backend event named join, leave, key-expired or gap reaches onAny only", async () => {
  start();
  const end = await wire.accept();
  const room = nodevent.room("a");
  const received = record(room, "join", "leave", "key-expired", "gap");
  const any = [];
  const stop = room.onAny((...args) => any.push(args));
  const results = [];
  room.join((err) => results.push(err));
  for (const event of ["join", "leave", "key-expired", "gap"]) end.event("event", publication("a", event, "boo"));
  assert.deepEqual(received, { join: [], leave: [], "key-expired": [], gap: [] });
  assert.deepEqual(results, []);
  assert.deepEqual(any.map(([event, message]) => [event, message]), [
    ["join", "boo"],
    ["leave", "boo"],
    ["key-expired", "boo"],
    ["gap", "boo"],
  ]);
  stop();
  end.event("event", publication("a", "x", 1));
  assert.equal(any.length, 4);
});

test("hostile names and publications break nothing", async () => {
  start();
  const end = await wire.accept();
  const received = [];
  for (const name of ["__proto__", "constructor", "hasOwnProperty"]) nodevent.room(name).join().on(name, (m) => received.push(m));
  for (const name of ["__proto__", "constructor", "hasOwnProperty"]) end.event("event", publication(name, name, name));
  assert.deepEqual(received, ["__proto__", "constructor", "hasOwnProperty"]);
  for (const wrong of [null, 1, "x", [], {}, { room: {} }, { room: "__proto__" }, { room: "constructor", event: null }])
    end.event("event", wrong);
  end.deliver('42/nodevent,["event"]');
  assert.equal({}.room, undefined);
  assert.equal(nodevent.connected(), true);
});

test("publications of rooms that the page never requested leave no trace", async () => {
  start();
  const end = await wire.accept();
  for (let n = 0; n < 1000; n++) end.event("event", publication("stranger" + n, "e", n));
  assert.equal(nodevent._rooms.size, 0);
});

test("room() without a valid name throws a descriptive error", () => {
  start();
  for (const wrong of [undefined, null, "", {}, ["a"], true, NaN])
    if (typeof wrong !== "number") assert.throws(() => nodevent.room(wrong), /NoDevent\.room\(name\)/);
  assert.equal(nodevent.room(42), nodevent.room("42"));
  assert.throws(() => nodevent.room("a").on("e", undefined), /listener must be a function/);
});

test("on returns a function that removes the listener and supports chaining", async () => {
  start();
  const end = await wire.accept();
  const room = nodevent.room("a");
  const received = [];
  const undo = room.on("e", (m) => received.push(["first", m]));
  const chained = room.on("e", (m) => received.push(["second", m])).setKey("k").join();
  assert.equal(typeof undo, "function");
  assert.equal(chained, room);
  assert.equal(undo.id, "a");
  assert.equal(room.getKey(), "k");
  assert.equal(end.takeEvent().args[0].key, "k");
  undo();
  end.event("event", publication("a", "e", 1));
  assert.deepEqual(received, [["second", 1]]);
  assert.equal(nodevent.on("connect", () => {}).room("a"), room);
});

test("a key function is called when a key is needed, can be slow, and is called again when the key expired", async () => {
  start();
  const end = await wire.accept();
  const keys = ["old", "new"];
  const asked = [];
  const room = nodevent.room("a").setKey(async (of) => {
    asked.push(of.id);
    await turn();
    return keys.shift();
  });
  const received = record(room, "join", "key-expired");
  room.join();
  assert.equal(end.received.length, 0);
  await turn();
  await turn();
  let sent = end.takeEvent();
  assert.deepEqual(sent.args, [{ room: "a", key: "old" }]);
  end.ack(sent.id, ["Time has passed", false]);
  await turn();
  await turn();
  sent = end.takeEvent();
  assert.deepEqual(sent.args, [{ room: "a", key: "new" }]);
  end.ack(sent.id, [null, true]);
  assert.deepEqual(asked, ["a", "a"]);
  assert.deepEqual(received, { join: [[null, undefined]], "key-expired": [] });
  assert.equal(room.getKey(), "new");
  // The fetched key is stored: a rejoin does not fetch again.
  const next = await again();
  assert.deepEqual(next.takeEvent().args, [{ room: "a", key: "new" }]);
});

test("a fresh key that is already expired is an error, not an endless loop", async () => {
  start({ key: () => "stale" });
  const end = await wire.accept();
  const room = nodevent.room("a");
  const received = record(room, "join", "key-expired");
  room.join();
  await turn();
  end.ack(end.takeEvent().id, ["Time has passed", false]);
  await turn();
  end.ack(end.takeEvent().id, ["Time has passed", false]);
  await turn();
  assert.equal(end.received.length, 0);
  assert.equal(received.join.length, 1);
  assert.equal(received["key-expired"].length, 1);
});

test("the error of a key function is the error of the join", async () => {
  start({
    key: () => {
      throw new Error("signed out");
    },
  });
  const end = await wire.accept();
  const results = [];
  nodevent.room("a").join((err) => results.push(err));
  await turn();
  assert.deepEqual(results, ["Error: signed out"]);
  assert.equal(end.received.length, 0);
});

test("a key that arrives after the room was left sends nothing, and the next join uses it", async () => {
  let give;
  start({ key: () => new Promise((resolve) => (give = resolve)) });
  const end = await wire.accept();
  const room = nodevent.room("a").join();
  room.leave();
  give("late");
  await turn();
  assert.equal(end.takeEvent().event, "leave");
  assert.equal(end.received.length, 0);
  room.join();
  assert.deepEqual(end.takeEvent().args, [{ room: "a", key: "late" }]);
});

test("a key that arrives after the connection was lost does not replace a newer one", async () => {
  const gives = [];
  start({ key: () => new Promise((resolve) => gives.push(resolve)) });
  await wire.accept();
  const room = nodevent.room("a").join();
  const end = await again();
  gives[0]("older");
  await turn();
  assert.equal(end.received.length, 0);
  gives[1]("newer");
  await turn();
  assert.deepEqual(end.takeEvent().args, [{ room: "a", key: "newer" }]);
  assert.equal(room.getKey(), "newer");
});

test("a server that disconnects the page gets a new attempt after a pause", async (t) => {
  start();
  const end = await wire.accept();
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const received = record(nodevent, "disconnect");
  end.deliver("41/nodevent,");
  assert.deepEqual(received.disconnect, [["io server disconnect", undefined]]);
  assert.equal(wire.ends.length, 1);
  t.mock.timers.tick(5000);
  await turn();
  assert.equal(wire.ends.length, 2);
});

test("a drain notice sets the next delay", async () => {
  start();
  const end = await wire.accept();
  const { reconnecting } = record(nodevent, "reconnecting");
  end.event("drain", { wait: 1234 });
  end.drop(1001, "server stops");
  assert.deepEqual(reconnecting, [[1234, 1]]);
});

test("close settles callbacks, removes listeners, and does not reconnect", async () => {
  start();
  const end = await wire.accept();
  const room = nodevent.room("a").join();
  end.ack(end.takeEvent().id, [null, true]);
  const results = [];
  nodevent.room("b").join((err) => results.push(err));
  const left = [];
  room.on("leave", (err) => left.push(err));
  nodevent.close();
  assert.deepEqual(results, ["Left"]);
  assert.deepEqual(left, [undefined], "asked for, so without an error");
  assert.ok(end.closedByClient);
  assert.equal(nodevent.connected(), false);
  await turn();
  assert.equal(wire.ends.length, 1);
});
