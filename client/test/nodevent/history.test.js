// Recovery against the real server with history: nothing missed, nothing twice, or a reported gap.

import assert from "node:assert/strict";
import { after, afterEach, beforeEach, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { Relay } from "../support/proxy.js";
import { Server } from "../support/server.js";
import { record, until } from "../support/until.js";

const server = new Server({ "/small": { history: { size: 5, age: "5m" } }, "/none": { history: false }, "/large": { history: { size: 10_000, age: "5m" } } });
let relay;
let nodevent;

beforeEach(() => server.ensure());
after(() => server.close());
beforeEach(async () => (relay = await new Relay(() => server.port).start()));
afterEach(async () => {
  nodevent.close();
  await relay.close();
});

function start(options = {}) {
  nodevent = connect({
    url: `http://127.0.0.1:${relay.port}`,
    WebSocket,
    reconnectionDelay: 10,
    reconnectionDelayMax: 30,
    ...options,
  });
}

/** Joins; returns the numbers received and the join and gap events. */
async function join(name) {
  const room = nodevent.room(name);
  const numbers = [];
  room.on("n", (n) => numbers.push(n));
  const fired = record(room, "join", "gap");
  await new Promise((resolve, reject) => room.join((err) => (err ? reject(new Error(err)) : resolve())));
  return { room, numbers, fired };
}

const count = (to) => Array.from({ length: to }, (_, n) => n);
const numbered = (room, from, to) => count(to - from).map((n) => ({ room, event: "n", message: from + n }));

async function away(during) {
  relay.mode = "closed";
  relay.cut();
  await until(() => !nodevent.connected());
  await during();
  relay.mode = "open";
}

for (const transports of [["websocket"], ["polling"]]) {
  test(`publications during a disconnect arrive in order, once, before live ones, over ${transports}`, async () => {
    start({ transports });
    const { room, numbers, fired } = await join(`over ${transports}`);
    await server.publish(numbered(room.id, 0, 10));
    await until(() => numbers.length === 10);
    await away(() => server.publish(numbered(room.id, 10, 60)));
    await server.publish(numbered(room.id, 60, 70));
    await until(() => numbers.length >= 70);
    assert.deepEqual(numbers, count(70));
    assert.deepEqual(fired.gap, []);
    assert.equal(fired.join.at(-1)[1].recovered, true);
  });
}

test("a rejoin of a quiet room reports recovered: true", async () => {
  start();
  const { fired } = await join("quiet");
  await away(() => {});
  await until(() => fired.join.length === 2);
  assert.equal(fired.join[1][1].recovered, true);
  assert.deepEqual(fired.gap, []);
});

test("publications that the history no longer holds are one gap, and delivery continues", async () => {
  start({ namespace: "/small" });
  const { room, numbers, fired } = await join("r");
  await server.publish(numbered(room.id, 0, 3), "small");
  await until(() => numbers.length === 3);
  await away(() => server.publish(numbered(room.id, 3, 30), "small"));
  await until(() => fired.gap.length);
  await server.publish(numbered(room.id, 30, 33), "small");
  await until(() => numbers.at(-1) === 32);
  assert.equal(fired.gap.length, 1);
  assert.equal(fired.join.at(-1)[1].recovered, false);
  assert.deepEqual(numbers, [...new Set(numbers)].toSorted((a, b) => a - b), "in order, nothing twice");
});

test("a server that lost its history reports a gap, and delivery continues", async () => {
  start();
  const { room, numbers, fired } = await join("forgotten");
  await server.publish(numbered(room.id, 0, 3));
  await until(() => numbers.length === 3);
  await server.stop();
  await server.start();
  await until(() => fired.gap.length);
  await server.publish(numbered(room.id, 3, 6));
  await until(() => numbers.length === 6);
  assert.deepEqual(numbers, count(6));
  assert.equal(fired.gap.length, 1);
});

test("without history there are no positions and no gaps", async () => {
  start({ namespace: "/none" });
  const { room, numbers, fired } = await join("r");
  await server.publish(numbered(room.id, 0, 2), "none");
  await until(() => numbers.length === 2);
  assert.equal(room.position, undefined);
  await away(() => server.publish(numbered(room.id, 2, 4), "none"));
  await until(() => fired.join.length === 2);
  await server.publish(numbered(room.id, 4, 5), "none");
  await until(() => numbers.includes(4));
  assert.deepEqual(numbers, [0, 1, 4]);
  assert.deepEqual(fired.gap, []);
});

test("a network cut again and again under traffic: nothing missed, nothing twice", async () => {
  start({ namespace: "/large" });
  const { room, numbers, fired } = await join("busy");
  let published = 0;
  for (let round = 0; round < 30; round++) {
    for (let n = 0; n < 5; n++) await server.publish(numbered(room.id, published, ++published), "large");
    relay.cut();
    await server.publish(numbered(room.id, published, ++published), "large");
  }
  await until(() => numbers.length >= published);
  assert.deepEqual(numbers, count(published));
  assert.deepEqual(fired.gap, []);
});
