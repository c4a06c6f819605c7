// Events that are published to several rooms: a page in more than one of them receives the first copy.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { connect } from "../../src/nodevent/connect.js";
import { turn } from "../support/until.js";
import { Wire } from "../support/wire.js";

let nodevent;

afterEach(() => nodevent?.close());

/** Joins the rooms, and returns the server's end and what the page receives. */
async function joined(...rooms) {
  const wire = new Wire();
  nodevent = connect({ url: "http://nodevent.test", WebSocket: wire.WebSocket, transports: ["websocket"], reconnectionDelay: 0 });
  const received = [];
  for (const room of rooms) nodevent.room(room).on("update", (message) => received.push([room, message])).join();
  const end = await wire.accept();
  for (const room of rooms) {
    const join = end.takeEvent();
    assert.equal(join.args[0].room, room);
    end.ack(join.id, [null, true]);
  }
  const publish = (room, message, id, position) => end.event("event", { room, event: "update", message, publication_id: id, position });
  return { publish, received };
}

test("a page in both rooms receives an event once, a page in one of them always", async () => {
  const { publish, received } = await joined("old", "new");
  publish("new", 1, "x");
  publish("old", 1, "x");
  publish("old", 2, "y");
  publish("new", 2, "y");
  publish("elsewhere", 3, "z");
  publish("new", 3, "z");
  await turn();
  assert.deepEqual(received, [["new", 1], ["old", 2], ["new", 3]]);
});

test("a room that the page has left does not count", async () => {
  const { publish, received } = await joined("old", "new");
  nodevent.room("old").leave();
  publish("old", 1, "x");
  publish("new", 1, "x");
  await turn();
  assert.deepEqual(received, [["new", 1]]);
});

test("the position of a copy counts, and no id is no copy", async () => {
  const { publish, received } = await joined("old", "new");
  publish("new", 1, "x", "00000000000000ab:1");
  publish("old", 1, "x", "00000000000000cd:7");
  assert.equal(nodevent.room("old").position, "00000000000000cd:7");
  for (const id of [undefined, null, ""]) {
    publish("new", id, id);
    publish("old", id, id);
  }
  await turn();
  assert.deepEqual(received.slice(1), [undefined, null, ""].flatMap((id) => [["new", id], ["old", id]]));
});

test("the memory of ids is bounded, and forgets the oldest", async () => {
  const { publish, received } = await joined("old", "new");
  for (let n = 0; n < 150; n++) publish("new", n, `id-${n}`);
  assert.ok(nodevent._copied.length <= 100);
  publish("old", 149, "id-149");
  await turn();
  assert.equal(received.length, 150);
});
