// `NoDevent.inbox`: the mailbox of the page's user, over both transports, several pages, and lost connections.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { Server, TOKEN_SECRET, tokenFor } from "../support/server.js";
import { until } from "../support/until.js";

let server;
let users = 0;
const open = [];

before(async () => {
  server = await new Server({ "/inbox": { token: { secret: TOKEN_SECRET, leeway: "0s" }, mailbox: { unknown: "keep" } } }).start();
});

after(() => server.close());

afterEach(() => {
  for (const nodevent of open.splice(0)) nodevent.close();
});

/** A page of a user. */
function page(user, options) {
  const token = () => tokenFor({ sub: user });
  const nodevent = connect({ url: server.url, namespace: "/inbox", token, WebSocket, reconnectionDelay: 20, reconnectionDelayMax: 50, ...options });
  open.push(nodevent);
  const messages = [];
  const acks = [];
  const counts = [];
  nodevent.inbox.on("mention", (message, ack) => {
    messages.push(message);
    acks.push(ack);
  });
  nodevent.inbox.onChange((unread) => counts.push(unread));
  return { nodevent, messages, acks, counts };
}

const newUser = () => `user-${++users}`;

async function notify(user, message, event = "mention") {
  const response = await fetch(`${server.url}/api/inbox/notify`, { method: "POST", body: JSON.stringify({ user, event, message }) });
  assert.equal(response.status, 200);
}

for (const transports of [["websocket"], ["polling"]]) {
  test(`messages wait in the mailbox until they are acknowledged, over ${transports}`, async () => {
    const user = newUser();
    for (const message of [1, 2, 3]) await notify(user, message);
    const one = page(user, { transports });
    await until(() => one.messages.length === 3);
    assert.deepEqual([one.messages, one.nodevent.inbox.unread], [[1, 2, 3], 3]);
    one.acks[1]();
    one.acks[1]();
    await until(() => one.nodevent.inbox.unread === 2);
    await notify(user, 4);
    await until(() => one.messages.length === 4);
    one.nodevent.inbox.acknowledgeAll();
    assert.equal(one.nodevent.inbox.unread, 0);
    await until(() => one.nodevent.inbox._acknowledged.size === 0);
    const two = page(user, { transports });
    await notify(user, 5);
    await until(() => two.messages.length);
    assert.deepEqual(two.messages, [5]);
  });
}

test("all pages of a user receive a message and agree how many are unread", async () => {
  const user = newUser();
  const pages = [page(user), page(user)];
  for (const message of [1, 2]) await notify(user, message);
  await until(() => pages.every(({ messages }) => messages.length === 2));
  pages[0].acks[0]();
  await until(() => pages.every(({ nodevent }) => nodevent.inbox.unread === 1));
  pages[1].acks[0](); // acknowledged elsewhere: nothing happens
  pages[1].acks[1]();
  await until(() => pages.every(({ nodevent }) => nodevent.inbox.unread === 0));
  for (const { counts } of pages) assert.equal(counts.at(-1), 0);
});

test("a reconnect delivers what was missed, nothing twice, and acknowledges what the server has not confirmed", async () => {
  const user = newUser();
  const one = page(user);
  await notify(user, 1);
  await until(() => one.messages.length === 1);
  one.nodevent.socket.io.engine.close();
  one.acks[0]();
  await notify(user, 2);
  await until(() => one.messages.length === 2 && one.nodevent.inbox.unread === 1);
  assert.deepEqual(one.messages, [1, 2]);
  await until(() => one.nodevent.inbox._acknowledged.size === 0);
  const two = page(user);
  await until(() => two.messages.length);
  assert.deepEqual(two.messages, [2]);
});

test("what another page acknowledged while the connection was lost is not unread any more", async () => {
  const user = newUser();
  const [one, two] = [page(user), page(user)];
  await notify(user, 1);
  await until(() => one.messages.length && two.messages.length);
  one.nodevent.socket.disconnect();
  two.acks[0]();
  await until(() => two.nodevent.inbox._acknowledged.size === 0);
  one.nodevent.socket.connect();
  await until(() => one.nodevent.inbox.unread === 0);
});

test("a listener receives messages that arrived before it was added", async () => {
  const user = newUser();
  const { nodevent, messages } = page(user);
  await notify(user, "other", "other");
  await notify(user, 1);
  await until(() => messages.length === 1);
  const others = [];
  nodevent.inbox.on("other", (message, _ack, details) => others.push([message, typeof details.id, details.sent > 0]));
  assert.deepEqual(others, [["other", "string", true]]);
});

test("`messages` are those that no page has acknowledged, and every change of them is reported", async () => {
  const user = newUser();
  for (const message of [1, 2, 3]) await notify(user, message);
  const [one, two] = [page(user), page(user)];
  const lists = [];
  two.nodevent.inbox.onChange(() => lists.push(two.nodevent.inbox.messages.map(({ message }) => message).join()));
  await until(() => one.messages.length === 3 && lists.at(-1) === "1,2,3");
  const [{ id, event, sent }] = one.nodevent.inbox.messages;
  assert.deepEqual([typeof id, event, sent > 0], ["string", "mention", true]);
  one.acks[1]();
  assert.deepEqual(one.nodevent.inbox.messages.map(({ message }) => message), [1, 3]);
  await until(() => lists.at(-1) === "1,3");
  // One is acknowledged and one arrives while the connection is lost: the number is the same, the messages are not.
  two.nodevent.socket.disconnect();
  one.acks[0]();
  await until(() => one.nodevent.inbox._acknowledged.size === 0);
  await notify(user, 4);
  two.nodevent.socket.connect();
  await until(() => lists.at(-1) === "3,4");
  assert.equal(two.nodevent.inbox.unread, 2);
});

test("a visitor who signs in on the live connection receives the mailbox, and has none after a revocation", async (context) => {
  const lines = [];
  context.mock.method(console, "warn", (line) => lines.push(line));
  const user = newUser();
  await notify(user, 1);
  const nodevent = connect({ url: server.url, namespace: "/inbox", WebSocket, reconnectionDelay: 20, reconnectionDelayMax: 50 });
  open.push(nodevent);
  const messages = [];
  nodevent.inbox.on("mention", (message) => messages.push(message));
  await until(() => lines.some((line) => line.includes("inbox refused")));
  nodevent.setToken(tokenFor({ sub: user, iat: Date.now() / 1000 - 10 }));
  await until(() => messages.length === 1 && nodevent.inbox.unread === 1);
  const response = await fetch(`${server.url}/api/inbox/revoke`, { method: "POST", body: JSON.stringify({ user }) });
  assert.equal(response.status, 200);
  await until(() => nodevent.user.id === undefined);
  assert.deepEqual([nodevent.inbox.unread, nodevent.inbox.messages], [0, []]);
});
