// Room data from the application: the position of the page's content is the `since` of the first join, so
// that events between rendering and joining are not lost.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/nodevent/connect.js";
import { Server } from "../support/server.js";
import { record, until } from "../support/until.js";
import { Wire } from "../support/wire.js";

const server = new Server();
const opened = [];

before(() => server.start());
after(() => server.close());
afterEach(() => {
  for (const nodevent of opened.splice(0)) nodevent.close();
});

function start(options) {
  const nodevent = connect({ url: server.url, WebSocket, ...options });
  opened.push(nodevent);
  return nodevent;
}

const scripted = (wire) => start({ url: "http://nodevent.test", WebSocket: wire.WebSocket, transports: ["websocket"], reconnectionDelay: 0 });

test("events between rendering and the first join arrive", async () => {
  const { positions } = await server.emit("r", "e", "rendered");
  await server.emit("r", "e", "missed");
  const room = start().room("r").since(positions[0]);
  const received = record(room, "e", "join", "gap");
  room.join();
  await until(() => received.join.length);
  assert.deepEqual(received.e, [["missed"]]);
  assert.equal(received.join[0][1].recovered, true);
  assert.deepEqual(received.gap, []);
});

test("a position that the history no longer holds is a gap", async () => {
  await server.emit("old", "e", 1);
  const room = start().room("old").since("otherepoch:1");
  const received = record(room, "join", "gap");
  room.join();
  await until(() => received.join.length);
  assert.equal(received.join[0][1].recovered, false);
  assert.equal(received.gap.length, 1);
});

test("a position ahead of the room is a gap, and later publications arrive", async () => {
  const { positions } = await server.emit("ahead", "e", 1);
  const [epoch, offset] = positions[0].split(":");
  const room = start().room("ahead").since(`${epoch}:${+offset + 1000}`);
  const received = record(room, "e", "join", "gap");
  room.join();
  await until(() => received.join.length);
  assert.equal(received.join[0][1].recovered, false);
  assert.deepEqual(received.gap, [[positions[0]]]);
  await server.emit("ahead", "e", 2);
  await until(() => received.e.length);
  assert.deepEqual(received.e, [[2]]);
});

test("a publication that arrives before the ack of a failed recovery keeps its position", async () => {
  const wire = new Wire();
  const room = scripted(wire).room("r").since("x:5").join();
  const received = record(room, "e");
  const end = await wire.accept();
  end.event("event", { room: "r", event: "e", message: 10, position: "x:10" });
  end.ack(end.takeEvent().id, [null, true, { position: "x:9", recovered: false }]);
  assert.equal(room.position, "x:10");
  end.event("event", { room: "r", event: "e", message: 10, position: "x:10" });
  assert.deepEqual(received.e, [[10]]);
});

test("room data sets the key and the position", async () => {
  const wire = new Wire();
  const nodevent = scripted(wire);
  const room = nodevent.room({ room: "Comment_1", key: "k:1", position: "x:7" }).join();
  const end = await wire.accept();
  assert.deepEqual(end.takeEvent().args, [{ room: "Comment_1", key: "k:1", since: "x:7" }]);
  assert.equal(nodevent.room("Comment_1"), room);
});

test("room data without a position, or with an invalid one, joins without since", async () => {
  const wire = new Wire();
  const nodevent = scripted(wire);
  nodevent.room({ room: "a", key: "k:1" }).join();
  nodevent.room({ room: "b", position: null }).join();
  nodevent.room("c").since("not a position").join();
  const end = await wire.accept();
  assert.deepEqual([1, 2, 3].map(() => end.takeEvent().args[0]), [{ room: "a", key: "k:1" }, { room: "b" }, { room: "c" }]);
  assert.throws(() => nodevent.room({}), /must be text or a number/);
  assert.throws(() => nodevent.room(null), /must be text or a number/);
});

test("a position that is set while a join is pending is recovered by the next join", async () => {
  const wire = new Wire();
  const room = scripted(wire).room("r").join();
  const received = record(room, "e", "gap");
  const end = await wire.accept();
  const first = end.takeEvent();
  room.since("x:7").join();
  const second = end.takeEvent();
  assert.deepEqual([first.args, second.args], [[{ room: "r" }], [{ room: "r", since: "x:7" }]]);
  end.ack(first.id, [null, true, { position: "x:9", recovered: true }]);
  for (const offset of [8, 9]) end.event("event", { room: "r", event: "e", message: offset, position: `x:${offset}` });
  end.ack(second.id, [null, true, { position: "x:9", recovered: true }]);
  assert.deepEqual(received, { e: [[8], [9]], gap: [] });
});

test("a live publication before the ack of the first join keeps its position", async () => {
  const wire = new Wire();
  const room = scripted(wire).room("r").join();
  const received = record(room, "e", "gap");
  const end = await wire.accept();
  end.event("event", { room: "r", event: "e", message: 10, position: "x:10" });
  end.ack(end.takeEvent().id, [null, true, { position: "x:9", recovered: true }]);
  end.event("event", { room: "r", event: "e", message: 11, position: "x:11" });
  assert.deepEqual(received, { e: [[10], [11]], gap: [] });
});

test("a position from the page does not replace one that was received", async () => {
  const wire = new Wire();
  const room = scripted(wire).room("r").join();
  const end = await wire.accept();
  end.ack(end.takeEvent().id, [null, true, { position: "x:9", recovered: true }]);
  room.since("x:3");
  assert.equal(room.position, "x:9");
});
