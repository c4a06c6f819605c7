// Recovery by position: what is asked on a rejoin, what is dropped because it was heard, and when
// the page is told that something is missing for good. Scripted after protocol/README.md section 6.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { connect } from "../../src/nodevent/connect.js";
import { ahead, parse } from "../../src/nodevent/track.js";
import { record } from "../support/until.js";
import { Wire } from "../support/wire.js";

let wire;
let nodevent;
let room;
let heard; // the messages of event `e`, in order
let said; // what the room said of itself

beforeEach(() => {
  wire = new Wire();
  nodevent = connect({ url: "http://nodevent.test", WebSocket: wire.WebSocket, transports: ["websocket"], reconnectionDelay: 0 });
  room = nodevent.room("r").join();
  heard = [];
  room.on("e", (message) => heard.push(message));
  said = record(room, "join", "gap");
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

test("positions are read, and nothing else is", () => {
  assert.deepEqual(parse("abc:12"), { epoch: "abc", offset: 12 });
  assert.deepEqual(parse("a:b:0"), { epoch: "a:b", offset: 0 });
  for (const wrong of [undefined, null, 5, "", "abc", "abc:", ":1", "abc:-1", "abc:1x", {}]) assert.equal(parse(wrong), undefined);
  assert.equal(ahead(undefined, parse("a:7")), 1);
  assert.equal(ahead(parse("a:5"), parse("a:7")), 2);
  assert.equal(ahead(parse("a:7"), parse("a:7")), 0);
  assert.equal(ahead(parse("a:7"), parse("b:8")), Infinity);
});

test("the first join asks for nothing; a rejoin asks for what came after the last position heard", async () => {
  let end = await wire.accept();
  const first = end.takeEvent();
  assert.deepEqual(first.args, [{ room: "r" }]);
  end.ack(first.id, [null, true, { position: "x:4", recovered: true }]);
  assert.equal(room.position, "x:4");
  end = await again();
  const second = end.takeEvent();
  assert.deepEqual(second.args, [{ room: "r", since: "x:4" }], "also where nothing was heard since");
  end.ack(second.id, [null, true, { position: "x:4", recovered: true }]);
  emit(end, 5);
  emit(end, 6);
  end = await again();
  assert.deepEqual(end.takeEvent().args, [{ room: "r", since: "x:6" }]);
});

test("what was missed comes first and live after it: nothing twice, whichever comes before the ack", async () => {
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
  ack(end, { position: "x:6", recovered: true }); // the ack first, the missed after it
  emit(end, 5);
  emit(end, 6);
  emit(end, 7);
  assert.deepEqual(heard, [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(said.gap, []);
});

test("a connection that is lost in the middle of the replay goes on from where it was cut", async () => {
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
  assert.deepEqual(heard, [1, 2, 3]);
  assert.deepEqual(said.gap, []);
});

test("recovered: false is told with the join and as a gap, once, and counting goes on from there", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end = await again();
  ack(end, { position: "x:900", recovered: false });
  assert.deepEqual(said.join.at(-1), [null, { position: "x:900", recovered: false }]);
  assert.deepEqual(said.gap, [["x:900"]]);
  emit(end, 901);
  assert.deepEqual(heard, [901]);
  end = await again();
  assert.equal(end.takeEvent().args[0].since, "x:901");
});

test("what is left of the history after a gap is heard, and the gap told once", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end = await again();
  emit(end, 100);
  emit(end, 101);
  assert.deepEqual(said.gap, [], "not before the join is answered");
  ack(end, { position: "x:101", recovered: false });
  assert.deepEqual(said.gap, [["x:101"]]);
  emit(end, 102);
  assert.deepEqual(heard, [100, 101, 102]);
});

test("a room whose memory was lost has a new epoch: a gap, then on in the new one", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:50", recovered: true });
  end = await again();
  ack(end, { position: "y:2", recovered: false });
  emit(end, 3, "y");
  assert.deepEqual(heard, [3]);
  assert.deepEqual(said.gap, [["y:2"]]);
  end = await again();
  assert.equal(end.takeEvent().args[0].since, "y:3");
});

test("a gap that was seen but whose ack was lost is told by the next join", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end = await again();
  emit(end, 100);
  end = await again();
  const join = end.takeEvent();
  assert.equal(join.args[0].since, "x:100");
  end.ack(join.id, [null, true, { position: "x:100", recovered: true }]);
  assert.deepEqual(said.gap, [["x:100"]]);
});

test("a gap in what is live is never silent", async () => {
  const end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  emit(end, 6);
  emit(end, 9);
  assert.deepEqual(said.gap, [["x:9"]]);
  assert.deepEqual(heard, [6, 9]);
});

test("what has no position is heard and moves nothing: a plain publish, or a namespace without history", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end.event("event", { room: "r", event: "e", message: "plain" });
  emit(end, 6);
  assert.deepEqual(heard, ["plain", 6]);
  end = await again();
  assert.equal(end.takeEvent().args[0].since, "x:6");
});

test("without history nothing is asked and nothing is told", async () => {
  let end = await wire.accept();
  end.ack(end.takeEvent().id, [null, true]);
  end = await again();
  assert.deepEqual(end.takeEvent().args, [{ room: "r" }]);
  assert.deepEqual(said.gap, []);
});

test("a room that was left starts anew: what happened meanwhile was not wanted", async () => {
  const end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  room.leave();
  end.takeEvent();
  room.join();
  assert.deepEqual(end.takeEvent().args, [{ room: "r" }]);
});

test("joining again within a connection asks from where it stands and hears nothing twice", async () => {
  const end = await wire.accept();
  ack(end, { position: "x:0", recovered: true });
  emit(end, 1);
  room.setKey("k:1");
  const join = end.takeEvent();
  assert.deepEqual(join.args, [{ room: "r", key: "k:1", since: "x:1" }]);
  emit(end, 2);
  end.ack(join.id, [null, true, { position: "x:1", recovered: true }]);
  emit(end, 3);
  assert.deepEqual(heard, [1, 2, 3]);
  assert.deepEqual(said.gap, []);
});

test("an engine that was set back numbers on far ahead: that is no gap", async () => {
  const end = await wire.accept();
  ack(end, { position: "x:7", recovered: true });
  for (const offset of [8, 1_000_000_009, 1_000_000_010]) emit(end, offset);
  assert.deepEqual(heard, [8, 1_000_000_009, 1_000_000_010]);
  assert.deepEqual(said.gap, []);
  emit(end, 1_000_000_012);
  assert.deepEqual(said.gap, [["x:1000000012"]]);
});

test("a gap that the server itself had is told at once, and not again by the emissions after it", async () => {
  const end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end.event("lost", { room: "r", position: "x:200" });
  assert.deepEqual(said.gap, [["x:200"]]);
  emit(end, 101); // what is left of the history, and then live
  emit(end, 102);
  assert.deepEqual(said.gap.length, 1);
  emit(end, 105);
  assert.deepEqual(said.gap.length, 2, "the next gap is another one");
  assert.deepEqual(heard, [101, 102, 105]);
  end.event("lost", null);
  end.event("lost", { room: "nobody's", position: "x:1" });
});

test("after a gap that the server had, a rejoin asks from what was heard last: no second gap goes unseen", async () => {
  let end = await wire.accept();
  ack(end, { position: "x:5", recovered: true });
  end.event("lost", { room: "r", position: "y:2" });
  end = await again();
  assert.equal(end.takeEvent().args[0].since, "x:5");
});
