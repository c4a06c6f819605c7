// Recovery by position: the `since` of a rejoin, duplicates, and gaps. Scripted after
// protocol/README.md section 6.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, test } from "node:test";
import { connect } from "../../src/nodevent/connect.js";
import { distance, isGap, parse } from "../../src/nodevent/position-tracker.js";
import { record } from "../support/until.js";
import { Wire } from "../support/wire.js";

let wire;
let nodevent;
let room;
let received; // the messages of event `e`, in order
let fired; // the room's own events

beforeEach(() => {
  wire = new Wire();
  nodevent = connect({ url: "http://nodevent.test", WebSocket: wire.WebSocket, transports: ["websocket"], reconnectionDelay: 0 });
  room = nodevent.room("r").join();
  received = [];
  room.on("e", (message) => received.push(message));
  fired = record(room, "join", "gap");
});

afterEach(() => nodevent.close());

const emit = (end, offset, epoch = "x") =>
  end.event("event", { room: "r", event: "e", message: offset, position: `${epoch}:${offset}` });
const ack = (end, state) => end.ack(end.takeEvent().id, [null, true, state]);

async function again() {
  wire.last.drop();
  const { length } = wire.ends;
  while (wire.ends.length === length) await new Promise((resolve) => setTimeout(resolve, 1));
  return wire.accept();
}

test("parse accepts positions and nothing else", () => {
  assert.deepEqual(parse("abc:12"), { epoch: "abc", offset: 12 });
  assert.deepEqual(parse("a:b:0"), { epoch: "a:b", offset: 0 });
  for (const wrong of [undefined, null, 5, "", "abc", "abc:", ":1", "abc:-1", "abc:1x", {}]) assert.equal(parse(wrong), undefined);
  assert.equal(distance(undefined, parse("a:7")), 1);
  assert.equal(distance(parse("a:5"), parse("a:7")), 2);
  assert.equal(distance(parse("a:7"), parse("a:7")), 0);
  assert.equal(distance(parse("a:7"), parse("b:8")), Infinity);
});

test("the first join has no since; a rejoin sends the newest position received", async () => {
  let end = await wire.accept();
  const first = end.takeEvent();
  assert.deepEqual(first.args, [{ room: "r" }]);
  end.ack(first.id, [null, true, { position: "x:4", recovered: true }]);
  assert.equal(room.position, "x:4");
  end = await again();
  const second = end.takeEvent();
  assert.deepEqual(second.args, [{ room: "r", since: "x:4" }], "also where nothing was received since");
  end.ack(second.id, [null, true, { position: "x:4", recovered: true }]);
  emit(end, 5);
  emit(end, 6);
  end = await again();
  assert.deepEqual(end.takeEvent().args, [{ room: "r", since: "x:6" }]);
});

test("missed publications come first, live ones after them: nothing twice, whichever side of the ack they come", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:0", recovered: true });
  emit(end, 1);
  end = await again();
  emit(end, 1); // a server may repeat the last one
  emit(end, 2);
  emit(end, 3);
  ack(end, { position: "x:3", recovered: true });
  emit(end, 3);
  emit(end, 4);
  end = await again();
  ack(end, { position: "x:6", recovered: true }); // the ack before the missed publications
  emit(end, 5);
  emit(end, 6);
  emit(end, 7);
  assert.deepEqual(received, [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(fired.gap, []);
});

test("a connection lost in the middle of the replay continues at the position reached", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:0", recovered: true });
  end = await again();
  emit(end, 1);
  emit(end, 2);
  end = await again();
  const join = end.takeEvent();
  assert.equal(join.args[0].since, "x:2");
  emit(end, 3);
  end.ack(join.id, [null, true, { position: "x:3", recovered: true }]);
  assert.deepEqual(received, [1, 2, 3]);
  assert.deepEqual(fired.gap, []);
});

test("recovered: false is reported by join and one gap, and positions continue from there", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end = await again();
  ack(end, { position: "x:900", recovered: false });
  assert.deepEqual(fired.join.at(-1), [null, { position: "x:900", recovered: false }]);
  assert.deepEqual(fired.gap, [["x:900"]]);
  emit(end, 901);
  assert.deepEqual(received, [901]);
  end = await again();
  assert.equal(end.takeEvent().args[0].since, "x:901");
});

test("the rest of the history after a gap arrives, and the gap is reported once", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end = await again();
  emit(end, 100);
  emit(end, 101);
  assert.deepEqual(fired.gap, [], "not before the join is acknowledged");
  ack(end, { position: "x:101", recovered: false });
  assert.deepEqual(fired.gap, [["x:101"]]);
  emit(end, 102);
  assert.deepEqual(received, [100, 101, 102]);
});

test("a room that lost its history has a new epoch: one gap, then the new epoch", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:50", recovered: true });
  end = await again();
  ack(end, { position: "y:2", recovered: false });
  emit(end, 3, "y");
  assert.deepEqual(received, [3]);
  assert.deepEqual(fired.gap, [["y:2"]]);
  end = await again();
  assert.equal(end.takeEvent().args[0].since, "y:3");
});

test("a gap whose ack was lost is reported by the next join", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end = await again();
  emit(end, 100);
  end = await again();
  const join = end.takeEvent();
  assert.equal(join.args[0].since, "x:100");
  end.ack(join.id, [null, true, { position: "x:100", recovered: true }]);
  assert.deepEqual(fired.gap, [["x:100"]]);
});

test("a gap between live publications is reported", async () => {
  const end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  emit(end, 6);
  emit(end, 9);
  assert.deepEqual(fired.gap, [["x:9"]]);
  assert.deepEqual(received, [6, 9]);
});

test("publications without a position arrive and do not move the position", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end.event("event", { room: "r", event: "e", message: "plain" });
  emit(end, 6);
  assert.deepEqual(received, ["plain", 6]);
  end = await again();
  assert.equal(end.takeEvent().args[0].since, "x:6");
});

test("without history no since is sent and no gap is reported", async () => {
  let end = await wire.accept();
  end.ack(end.takeEvent().id, [null, true]);
  end = await again();
  assert.deepEqual(end.takeEvent().args, [{ room: "r" }]);
  assert.deepEqual(fired.gap, []);
});

test("a room that was left starts over: it does not recover what happened in between", async () => {
  const end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  room.leave();
  end.takeEvent();
  room.join();
  assert.deepEqual(end.takeEvent().args, [{ room: "r" }]);
});

test("joining again on the same connection sends the position and receives nothing twice", async () => {
  const end = await wire.accept();
  ack(end, { position: "x:0", recovered: true });
  emit(end, 1);
  room.setKey("k:1");
  const join = end.takeEvent();
  assert.deepEqual(join.args, [{ room: "r", key: "k:1", since: "x:1" }]);
  emit(end, 2);
  end.ack(join.id, [null, true, { position: "x:1", recovered: true }]);
  emit(end, 3);
  assert.deepEqual(received, [1, 2, 3]);
  assert.deepEqual(fired.gap, []);
});

test("distances that are gaps and distances that are offset jumps", () => {
  const { distances } = JSON.parse(readFileSync(new URL("../vectors/positions.json", import.meta.url), "utf8"));
  for (const { last, next, distance: by, gap } of distances) {
    const found = distance(parse(last ?? undefined), parse(next));
    assert.equal(found === Infinity ? null : found, by, `${last} to ${next}`);
    assert.equal(isGap(found), gap, `${last} to ${next}`);
  }
});

test("an offset jump is not a gap", async () => {
  const end = await wire.accept();
  ack(end, { position: "x:7", recovered: true });
  for (const offset of [8, 1_000_000_009, 1_000_000_010]) emit(end, offset);
  assert.deepEqual(received, [8, 1_000_000_009, 1_000_000_010]);
  assert.deepEqual(fired.gap, []);
  emit(end, 1_000_000_012);
  assert.deepEqual(fired.gap, [["x:1000000012"]]);
});

test("a gap that the server announces is reported immediately, and not again by the publications after it", async () => {
  const end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end.event("lost", { room: "r", position: "x:200" });
  assert.deepEqual(fired.gap, [["x:200"]]);
  emit(end, 101); // the rest of the history, then live
  emit(end, 102);
  assert.deepEqual(fired.gap.length, 1);
  emit(end, 105);
  assert.deepEqual(fired.gap.length, 2, "the next gap is another one");
  assert.deepEqual(received, [101, 102, 105]);
  end.event("lost", null);
  end.event("lost", { room: "unknown", position: "x:1" });
});

test("after a gap that the server announced, a rejoin sends the newest position received: a second gap is noticed", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end.event("lost", { room: "r", position: "y:2" });
  end = await again();
  assert.equal(end.takeEvent().args[0].since, "x:5");
});
