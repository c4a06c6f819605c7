// The choice of a transport, and network failures: through a relay in front of the real server that
// rejects WebSockets, lets them hang, or cuts them.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { Relay } from "../support/proxy.js";
import { Server } from "../support/server.js";
import { record, until } from "../support/until.js";

const server = new Server({ ping: { interval: "300ms", timeout: "300ms" } });
let relay;
let nodevent;

before(() => server.start());
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
  return record(nodevent, "connecting", "connect", "disconnect", "error", "reconnecting");
}

const transport = () => nodevent.socket.io.engine.transport.name;
const join = (name) => new Promise((resolve, reject) => nodevent.room(name).join((err) => (err ? reject(err) : resolve())));

test("WebSocket is tried first, and no other request is made if it works", async () => {
  start();
  await join("r");
  assert.equal(transport(), "websocket");
  assert.equal(relay.heads.length, 1);
  assert.match(relay.heads[0], /^GET \/socket\.io\/\?EIO=4&transport=websocket HTTP/);
});

test("if a proxy forbids WebSockets, the same attempt continues with polling", async () => {
  relay.forbid = /upgrade: websocket/i;
  const received = start();
  await join("r");
  assert.equal(transport(), "polling");
  assert.deepEqual(received.connecting, [["websocket"], ["polling"]]);
  assert.deepEqual(received.error, []);
  const room = record(nodevent.room("r"), "e");
  for (let n = 0; n < 20; n++) await server.emit("r", "e", n);
  await until(() => room.e.length === 20);
  assert.deepEqual(room.e.map(([n]) => n), Array.from({ length: 20 }, (_, n) => n));
});

test("the next attempt starts with the transport that worked last", async () => {
  relay.forbid = /upgrade: websocket/i;
  const received = start();
  await join("r");
  await until(() => relay.heads.some((head) => head.includes("transport=websocket&sid=")), "the upgrade tried");
  relay.heads = [];
  relay.cut();
  await until(() => received.connect.length === 2);
  assert.equal(transport(), "polling");
  const [first] = relay.heads.filter((head) => !head.includes("sid="));
  assert.match(first, /transport=polling/);
});

test("polling upgrades to a WebSocket as soon as it is allowed again", async () => {
  relay.forbid = /upgrade: websocket/i;
  const received = start();
  await join("r");
  relay.forbid = undefined;
  relay.cut();
  await until(() => received.connect.length === 2);
  await until(() => transport() === "websocket", "the upgrade");
  const room = record(nodevent.room("r"), "e");
  await join("r");
  await server.emit("r", "e", 1);
  await until(() => room.e.length);
});

test("without WebSocket, as in plain Node 20, everything works over polling", async () => {
  start({
    WebSocket: class {
      constructor() {
        throw new Error("not here");
      }
    },
  });
  await join("r");
  const room = record(nodevent.room("r"), "e");
  await server.emit("r", "e", 1);
  await until(() => room.e.length);
  assert.equal(transport(), "polling");
});

test("a WebSocket that hangs leaves time for polling", async () => {
  relay.hang = /upgrade: websocket/i;
  const received = start({ timeout: 800 });
  await join("r");
  assert.equal(transport(), "polling");
  assert.deepEqual(received.error, []);
});

for (const transports of [["websocket"], ["polling"]]) {
  test(`a network that drops everything is detected within the heartbeat, over ${transports}`, async () => {
    const received = start({ transports });
    await join("r");
    relay.mode = "swallow";
    await until(() => received.disconnect.length, "the loss", 3000);
    assert.equal(received.disconnect[0][0], "ping timeout");
    relay.mode = "open";
    relay.cut();
    await until(() => received.connect.length === 2);
    await until(() => nodevent.room("r").joined);
  });

  test(`a cut connection is reported immediately and re-established, over ${transports}`, async () => {
    const received = start({ transports });
    await join("r");
    relay.cut();
    await until(() => received.disconnect.length);
    assert.match(received.disconnect[0][0], /transport (close|error)/);
    await until(() => nodevent.room("r").joined);
  });
}

test("publications during the upgrade arrive once and in order", async () => {
  for (let round = 0; round < 5; round++) {
    start({ transports: ["polling", "websocket"] });
    const numbers = [];
    nodevent.room("r").on("e", (n) => numbers.push(n));
    await join("r");
    for (let n = 0; n < 100; n++) await server.emit("r", "e", n);
    await until(() => numbers.length >= 100);
    assert.deepEqual(numbers, Array.from({ length: 100 }, (_, n) => n));
    await until(() => transport() === "websocket");
    nodevent.close();
  }
});
