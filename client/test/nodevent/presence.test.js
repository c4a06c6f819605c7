// `room.presence()` and the events of presence, on the real server.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { readFileSync } from "node:fs";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { Server, TOKEN_SECRET, tokenFor } from "../support/server.js";
import { until } from "../support/until.js";

let server;
const open = [];

before(async () => {
  const token = { secret: TOKEN_SECRET };
  server = await new Server({
    "/presence": { token, presence: { grace: "1s" } },
    "/patient": { token, presence: { grace: "1m" } },
    "/without": { token },
  }).start();
});

after(() => server.close());

afterEach(() => {
  for (const controller of open.splice(0)) controller.close();
});

function start(claims, namespace = "/presence") {
  const nodevent = connect({ url: server.url, namespace, token: () => tokenFor(claims), WebSocket, reconnectionDelay: 20, reconnectionDelayMax: 50 });
  open.push(nodevent);
  return nodevent;
}

/** The events of a room's presence, as text. */
function eventsOf(room) {
  const received = [];
  for (const event of ["enter", "leave", "count"]) room.on(`nodevent:${event}`, ({ user, count }) => received.push(`${event} ${user} ${count}`));
  return received;
}

test("the room receives who enters and leaves, and lists its members", async () => {
  const room = start({ sub: "7", info: { name: "Ann" }, rooms: ["desk"] }).room("desk");
  const received = eventsOf(room);
  await until(() => received.length === 1);
  const other = start({ sub: "8", rooms: ["desk"] });
  await until(() => received.length === 2);
  const list = await room.presence();
  assert.deepEqual([list.count, list.large, list.complete], [2, false, true]);
  const members = list.members.toSorted((a, b) => a.user - b.user);
  assert.deepEqual(members, [
    { user: "7", info: { name: "Ann" }, connections: 1 },
    { user: "8", info: null, connections: 1 },
  ]);
  other.close();
  await until(() => received.length === 3);
  assert.deepEqual(received, ["enter 7 1", "enter 8 2", "leave 8 1"]);
});

test("a lost connection that is back at once is no event", async () => {
  const watcher = start({ sub: "7", rooms: ["calm"] }, "/patient").room("calm");
  const received = eventsOf(watcher);
  await until(() => received.length === 1);
  const other = start({ sub: "8", rooms: ["calm"] }, "/patient");
  await until(() => received.length === 2);
  for (let times = 0; times < 2; times++) {
    other.socket.io.engine.close();
    await until(() => !other.room("calm").joined);
    await until(() => other.room("calm").joined);
  }
  const third = start({ sub: "9", rooms: ["calm"] }, "/patient");
  await until(() => received.length > 2);
  assert.equal(received.at(-1), "enter 9 3");
  assert.equal(received.length, 3);
  assert.equal((await third.room("calm").presence()).count, 3);
});

test("the example of docs/presence.md shows who is there", async () => {
  const page = readFileSync(new URL("../../../docs/presence.md", import.meta.url), "utf8");
  const [, code] = /runs this. -->\n *```js\n([^]*?)```/.exec(page);
  const shown = [];
  const nodevent = start({ sub: "7", info: { name: "Ann" }, rooms: ["Desk_1"] });
  new Function("NoDevent", "show", code)(nodevent, (members, count) => shown.push(`${[...members.keys()].toSorted()} of ${count}`));
  await until(() => shown.at(-1) === "7 of 1");
  const other = start({ sub: "8", rooms: ["Desk_1"] });
  await until(() => shown.at(-1) === "7,8 of 2");
  other.close();
  await until(() => shown.at(-1) === "7 of 1");
});

test("lists and events have the members of the vectors", async () => {
  const { events, lists } = JSON.parse(readFileSync(new URL("../../../protocol/vectors/presence.json", import.meta.url)));
  const messages = [];
  const room = start({ sub: "7", info: { name: "Ann" }, rooms: ["vectors"] }).room("vectors");
  room.onAny((event, message) => messages.push({ event, message }));
  await until(() => messages.length === 1);
  const { event, message } = JSON.parse(events[0].text);
  assert.deepEqual(messages[0], { event, message });
  const expected = JSON.parse(lists[1].text);
  expected.members[0].connections = 1;
  assert.deepEqual(await room.presence(), expected);
});

test("the list is for members of rooms with presence", async () => {
  const nodevent = start({ sub: "7", rooms: ["r"] }, "/without");
  await assert.rejects(nodevent.room("r").presence(), /Not a member/);
  await until(() => nodevent.room("r").joined);
  await assert.rejects(nodevent.room("r").presence(), /No presence in this room/);
  nodevent.room("r").leave();
  await assert.rejects(nodevent.room("r").presence(), /Not a member/);
});
