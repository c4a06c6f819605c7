// `connect({auth})`: the payload reaches the server with the connect of its own namespace only. The
// stock server sends back the payload it received.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { WebSocket } from "ws";
import { pageId } from "../../src/nodevent/page-id.js";
import { connect } from "../../src/index.js";
import { startSocketIoServer } from "../support/socket-io-server.js";
import { record, until } from "../support/until.js";

let server;
const open = [];

before(async () => {
  server = await startSocketIoServer();
});

after(() => server.stop());

afterEach(() => {
  for (const controller of open.splice(0)) controller.close();
});

/** A controller, and the payloads that the server received. */
function start(options) {
  const nodevent = connect({ url: server.url, WebSocket, reconnectionDelay: 20, reconnectionDelayMax: 50, ...options });
  open.push(nodevent);
  return { nodevent, auths: record(nodevent.socket, "auth").auth };
}

for (const transports of [["websocket"], ["polling"]]) {
  test(`the auth object reaches the server's handshake, over ${transports}`, async () => {
    const { auths } = start({ namespace: "/custom", transports, auth: { token: "ünï☃", nested: { n: 1 } } });
    await until(() => auths.length);
    assert.deepEqual(auths, [[{ token: "ünï☃", nested: { n: 1 }, pageId }]]);
  });
}

test("without auth the server receives the id of the page only", async () => {
  const { auths } = start({ namespace: "/custom" });
  await until(() => auths.length);
  assert.deepEqual(auths, [[{ pageId }]]);
});

test("an auth function is called on every connect, and can be slow", async () => {
  let asked = 0;
  const auth = (say) => setTimeout(say, 5, { token: `token ${++asked}` });
  const { nodevent, auths } = start({ namespace: "/custom", auth });
  await until(() => auths.length === 1);
  nodevent.socket.emit("cut me");
  await until(() => auths.length === 2);
  assert.deepEqual(auths, [[{ token: "token 1", pageId }], [{ token: "token 2", pageId }]]);
});

test("two namespaces share a connection, and each receives its own auth only", async () => {
  const one = start({ namespace: "/", auth: { token: "one" } });
  const two = start({ namespace: "/custom", auth: { token: "two" } });
  await until(() => one.auths.length && two.auths.length);
  assert.deepEqual([one.auths, two.auths], [[[{ token: "one", pageId }]], [[{ token: "two", pageId }]]]);
  assert.equal(one.nodevent.socket.io, two.nodevent.socket.io);
  await until(() => server.io.engine.clientsCount === 1, "one connection, and those of earlier tests to be gone");
});
