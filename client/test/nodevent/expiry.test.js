// `expiry: leave`: the server ends a membership when its key expires.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { SECRET, Server, keyFor } from "../support/server.js";
import { record, until } from "../support/until.js";

let server;
const open = [];

before(async () => {
  server = await new Server({ "/keys": { secret: SECRET, expiry: "leave" } }).start();
});

after(() => server.close());

afterEach(() => {
  for (const controller of open.splice(0)) controller.close();
});

function start() {
  const nodevent = connect({ url: server.url, namespace: "/keys", WebSocket });
  open.push(nodevent);
  return nodevent;
}

test("a room without a source of keys is left when its key expires", async () => {
  const room = start().room("left").setKey(keyFor("left", Date.now() + 4000));
  const { join: joins, leave: leaves, "key-expired": expired } = record(room, "join", "leave", "key-expired");
  room.join();
  await until(() => joins.length === 2);
  assert.equal(leaves[0][0], "expired");
  assert.deepEqual([joins[0][0], joins[1][0]], [null, "Time has passed"]);
  assert.equal(room.joined, false);
  assert.equal(expired.length, 1);
});

test("a room with a source of keys returns and receives what it has missed", async () => {
  let asked = 0;
  const messages = [];
  // The first key is too short to be renewed in time.
  const room = start().room("returns").setKey(() => keyFor("returns", Date.now() + (++asked === 1 ? 4000 : 600_000)));
  const { leave: leaves, join: joins } = record(room, "leave", "join");
  room.on("e", (message) => messages.push(message));
  room.join();
  await until(() => joins.length === 1);
  await server.publish({ room: "returns", event: "e", message: 1 }, "keys");
  await until(() => asked >= 2 && room.joined);
  await server.publish({ room: "returns", event: "e", message: 2 }, "keys");
  await until(() => messages.length === 2);
  assert.deepEqual(messages, [1, 2]);
  assert.ok(leaves.every(([reason]) => reason === "expired"));
});
