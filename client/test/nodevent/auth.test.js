// `connect({auth})`: what the page says of itself reaches the server with the connect of its namespace,
// and of no other. The server is the stock one, which sends back what it was told.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { startStock } from "../support/stock.js";
import { record, until } from "../support/until.js";

let server;
const open = [];

before(async () => {
  server = await startStock();
});

after(() => server.stop());

afterEach(() => {
  for (const controller of open.splice(0)) controller.close();
});

/** A controller, and what the server says that it was told. */
function start(options) {
  const nodevent = connect({ url: server.url, WebSocket, reconnectionDelay: 20, reconnectionDelayMax: 50, ...options });
  open.push(nodevent);
  return { nodevent, told: record(nodevent.socket, "auth").auth };
}

for (const transports of [["websocket"], ["polling"]]) {
  test(`the auth object reaches the server's handshake, over ${transports}`, async () => {
    const { told } = start({ namespace: "/custom", transports, auth: { token: "ünï☃", nested: { n: 1 } } });
    await until(() => told.length);
    assert.deepEqual(told, [[{ token: "ünï☃", nested: { n: 1 } }]]);
  });
}

test("without auth the server is told nothing", async () => {
  const { told } = start({ namespace: "/custom" });
  await until(() => told.length);
  assert.deepEqual(told, [[{}]]);
});

test("a function is asked at every connect, and may take its time", async () => {
  let asked = 0;
  const auth = (say) => setTimeout(say, 5, { token: `token ${++asked}` });
  const { nodevent, told } = start({ namespace: "/custom", auth });
  await until(() => told.length === 1);
  nodevent.socket.emit("cut me");
  await until(() => told.length === 2);
  assert.deepEqual(told, [[{ token: "token 1" }], [{ token: "token 2" }]]);
});

test("two namespaces share a connection, and each server side is told its own auth only", async () => {
  const one = start({ namespace: "/", auth: { token: "one" } });
  const two = start({ namespace: "/custom", auth: { token: "two" } });
  await until(() => one.told.length && two.told.length);
  assert.deepEqual([one.told, two.told], [[[{ token: "one" }]], [[{ token: "two" }]]]);
  assert.equal(one.nodevent.socket.io, two.nodevent.socket.io);
  await until(() => server.io.engine.clientsCount === 1, "one connection, and those of earlier tests to be gone");
});
