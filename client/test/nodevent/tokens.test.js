// `connect({ token })`: the token identifies the connection, and the client renews it before it expires.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { Server, TOKEN_SECRET, tokenFor } from "../support/server.js";
import { record, until } from "../support/until.js";

let server;
const open = [];

before(async () => {
  const token = { secret: TOKEN_SECRET, leeway: "0s", grace: "1s" };
  server = await new Server({ "/tokens": { token }, "/nohistory": { token, history: "off" } }).start();
});

after(() => server.close());

afterEach(() => {
  for (const controller of open.splice(0)) controller.close();
});

function start(token, options) {
  const nodevent = connect({ url: server.url, namespace: "/tokens", token, WebSocket, reconnectionDelay: 20, reconnectionDelayMax: 50, ...options });
  open.push(nodevent);
  return { nodevent, ...record(nodevent.socket, "identified", "expired", "disconnect", "connect_error") };
}

const emit = (room, message, namespace = "tokens") => server.publish({ room, event: "e", message }, namespace);

for (const transports of [["websocket"], ["polling"]]) {
  test(`the token identifies the connection and joins its rooms, over ${transports}`, async () => {
    const { nodevent, identified } = start(tokenFor({ sub: "7", rooms: ["lobby"] }), { transports });
    const messages = [];
    const joins = record(nodevent.room("lobby").on("e", (message) => messages.push(message)), "join").join;
    await until(() => joins.length);
    assert.equal(identified[0][0].user, "7");
    assert.equal(joins[0][0], null);
    assert.equal(nodevent.room("lobby").joined, true);
    await emit("lobby", 1);
    await until(() => messages.length === 1);
  });
}

test("rooms of the token recover what was missed, without a join of the page", async () => {
  const { nodevent } = start(() => tokenFor({ sub: "7", rooms: ["away"] }));
  const messages = [];
  const room = nodevent.room("away").on("e", (message) => messages.push(message));
  const gaps = record(room, "gap").gap;
  await until(() => room.joined);
  await emit("away", 1);
  await until(() => messages.length === 1);
  nodevent.socket.io.engine.close();
  await until(() => !room.joined);
  for (const message of [2, 3]) await emit("away", message);
  await until(() => messages.length === 3);
  assert.deepEqual([messages, gaps], [[1, 2, 3], []]);
});

test("a page joins a room of its token without a key", async () => {
  const { nodevent } = start(tokenFor({ sub: "7", rooms: ["a"] }));
  const results = [];
  nodevent.room("a").join((err) => results.push(err));
  nodevent.room("b").join((err) => results.push(err));
  await until(() => results.length === 2);
  assert.deepEqual(results, [null, "Must provide key"]);
});

test("the client asks for a new token before the old one expires", async () => {
  let asked = 0;
  const { identified, expired, disconnect } = start(async () => tokenFor({ sub: "7", n: ++asked }, 1500));
  await until(() => asked === 3);
  assert.deepEqual([expired.length, disconnect.length], [0, 0]);
  assert.equal(identified.length, 1, "renewed on the same connection");
});

test("with a token that the page cannot renew, the connection goes on without a user", async (context) => {
  const lines = [];
  context.mock.method(console, "warn", (line) => lines.push(line));
  const { nodevent, identified, expired, disconnect, connect_error: errors } = start(tokenFor({ sub: "7" }, 600));
  const key = tokenFor({ room: "keyed" });
  await until(() => identified.length);
  const joins = record(nodevent.room("keyed").setKey(key).join(), "join").join;
  await until(() => joins.length === 2, "a join before and one after the token has expired");
  assert.deepEqual(joins.map(([err]) => err), [null, null]);
  assert.deepEqual([identified.length, expired.length, disconnect.length, errors.length], [1, 1, 1, 1]);
  assert.equal(disconnect[0][1].description.reason, "token expired");
  assert.ok(lines.includes("NoDevent: Token has expired. Call NoDevent.setToken(source)."), lines);
});

test("a source that only returns expired tokens causes one refused connect for each connection", async (context) => {
  context.mock.method(console, "warn", () => {});
  const { nodevent, connect_error: errors } = start(() => tokenFor({ sub: "7" }, -60_000));
  await until(() => nodevent.connected());
  assert.equal(errors.length, 1);
});

test("the source is called again after a failure, and for each connection", async () => {
  let asked = 0;
  const source = async () => {
    if (++asked === 2) throw Error("offline");
    return tokenFor({ sub: "7", n: asked }, 2000);
  };
  const { nodevent, identified, disconnect } = start(source);
  await until(() => identified.length === 1);
  await until(() => asked === 3, "a renewal after the one that failed", 8000);
  if (disconnect.length) await until(() => identified.length === 2);
  nodevent.socket.io.engine.close();
  await until(() => asked >= 4 && nodevent.connected());
});

test("setToken signs in on the live connection", async () => {
  const { nodevent } = start();
  await until(() => nodevent.connected());
  const joins = record(nodevent.room("private"), "join").join;
  nodevent.setToken(() => tokenFor({ sub: "7", rooms: ["private"] }));
  await until(() => joins.length);
  assert.equal(joins[0][0], null);
});

test("a token of another user is refused on the live connection, and the console has the reason", async (context) => {
  const lines = [];
  context.mock.method(console, "warn", (line) => lines.push(line));
  const { nodevent, identified } = start(tokenFor({ sub: "7" }));
  await until(() => identified.length);
  nodevent.setToken(tokenFor({ sub: "8" }));
  await until(() => lines.length);
  assert.deepEqual(lines, ["NoDevent: token refused: Token of another user."]);
});

test("without history a room of the token is joined without a state", async () => {
  const { nodevent } = start(tokenFor({ sub: "7", rooms: ["plain"] }), { namespace: "/nohistory" });
  const joins = record(nodevent.room("plain"), "join").join;
  await until(() => joins.length);
  assert.deepEqual(joins[0], [null, undefined]);
});

const revoke = async (body, namespace = "tokens") => {
  const response = await fetch(`${server.url}/api/${namespace}/revoke`, { method: "POST", body: JSON.stringify(body) });
  assert.equal(response.status, 200, await response.text());
};

for (const transports of [["websocket"], ["polling"]]) {
  test(`after a revocation the client asks for a new token once, over ${transports}`, async () => {
    const user = `revoked-${transports}`;
    const issued = Date.now() / 1000 - 10;
    let asked = 0;
    // The second token is newer, and all that follow are as old as the first one.
    const source = () => tokenFor({ sub: user, iat: ++asked === 2 ? Date.now() / 1000 : issued });
    const { nodevent, identified, connect_error: errors } = start(source, { transports });
    await until(() => identified.length === 1);
    await revoke({ user });
    await until(() => identified.length === 2);
    assert.deepEqual([asked, errors.length], [2, 0]);
    await revoke({ user, before: Date.now() / 1000 + 5 });
    // Its next token is refused, and it goes on without a user.
    await until(() => errors.length === 1 && nodevent.connected());
    assert.equal(errors[0][0].message, "Token has been revoked");
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual([asked, errors.length, identified.length], [3, 1, 2], "no loop");
  });
}

test("after the revocation of a room the client asks for a new key once", async () => {
  const { nodevent } = start();
  let asked = 0;
  const issued = Date.now() / 1000 - 10;
  const room = nodevent.room("closed").setKey(() => ++asked && tokenFor({ room: "closed", iat: issued }));
  const { join: joins, leave: leaves } = record(room, "join", "leave");
  room.join();
  await until(() => room.joined);
  await revoke({ room: "closed" });
  await until(() => joins.length === 2);
  assert.equal(leaves[0][0], "revoked");
  assert.equal(joins[1][0], "Token has been revoked");
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual([asked, joins.length, room.joined], [2, 2, false], "no loop");
});

test("the page learns which user its connection has, and when it has none any more", async (context) => {
  const lines = [];
  context.mock.method(console, "warn", (line) => lines.push(line));
  let claims = { sub: "watched", iat: Date.now() / 1000 - 10 };
  const { nodevent } = start(() => claims && tokenFor(claims));
  const users = [];
  nodevent.on("user-changed", (user) => users.push(user));
  await until(() => nodevent.user.id === "watched");
  // A lost connection changes nothing.
  nodevent.socket.io.engine.close();
  await until(() => !nodevent.connected());
  await until(() => nodevent.connected());
  await revoke({ user: "watched" });
  await until(() => nodevent.connected() && nodevent.user.id === undefined);
  assert.deepEqual(users, ["watched", undefined]);
  claims = { sub: "watched", iat: Date.now() / 1000 };
  nodevent.setToken(() => claims && tokenFor(claims));
  await until(() => nodevent.user.id === "watched");
  // The application does not return a token to a visitor who has signed out.
  claims = undefined;
  nodevent.socket.io.engine.close();
  await until(() => nodevent.user.id === undefined);
  assert.deepEqual(users, ["watched", undefined, "watched", undefined]);
  assert.deepEqual(lines, ["NoDevent: Token has been revoked. Call NoDevent.setToken(source)."], "nothing about limits");
});

test("the example of docs/tokens.md connects with the page's token, renews it, and has no user after a sign-out", async () => {
  const guide = readFileSync(new URL("../../../docs/tokens.md", import.meta.url), "utf8");
  const [, code] = /runs this. -->\n *```js\n([^]*?)```/.exec(guide);
  const claims = { sub: "guide" };
  const page = { querySelector: () => ({ content: tokenFor(claims, 5000) }) };
  let isSignedIn = true;
  let requests = 0;
  const answer = async () => ({ ok: true, redirected: false, text: async () => (++requests && isSignedIn ? tokenFor(claims, 60_000) : "") });
  const { nodevent } = start();
  new Function("NoDevent", "document", "fetch", code)(nodevent, page, answer);
  await until(() => nodevent.user.id === "guide");
  assert.equal(requests, 0, "the page's own token");
  await until(() => requests === 1, "a renewal");
  isSignedIn = false;
  nodevent.socket.io.engine.close();
  await until(() => nodevent.connected() && nodevent.user.id === undefined);
});
