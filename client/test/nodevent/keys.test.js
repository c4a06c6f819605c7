// Keys from the application's endpoint: requested when needed, renewed in time, and what is not a key is
// never used as one. The endpoint is a real HTTP server; the connection is scripted.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { connect } from "../../src/nodevent/connect.js";
import { expiryOf, keyFrom } from "../../src/nodevent/keys.js";
import { record, recordWarnings, until } from "../support/until.js";
import { Wire } from "../support/wire.js";

let http;
let url;
let respond; // (response, room, number of the request) => void
let requests;
let wire;
let nodevent;

before(async () => {
  http = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    requests.push({ method: request.method, type: request.headers["content-type"], body: JSON.parse(body) });
    respond(response, requests.length);
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${http.address().port}/keys`;
});
after(() => {
  http.closeAllConnections();
  http.close();
});
beforeEach(() => {
  requests = [];
});
afterEach(() => nodevent?.close());

const json = (response, body, status = 200) => response.writeHead(status, { "content-type": "application/json; charset=utf-8" }).end(JSON.stringify(body));
const html = (response, status = 200) => response.writeHead(status, { "content-type": "text/html" }).end("<h1>Log in</h1>");

async function start(options = {}) {
  wire = new Wire();
  nodevent = connect({ url: "http://nodevent.test", WebSocket: wire.WebSocket, transports: ["websocket"], reconnectionDelay: 0, ...options });
  return wire.accept();
}

/** The next packet of the client; it may have to fetch a key first. */
async function next(end) {
  await until(() => end.received.length, "a packet of the client");
  return end.takeEvent();
}

test("a key is requested with the room's name, and used", async () => {
  respond = (response) => json(response, { key: "k:1" });
  const end = await start({ keyUrl: url });
  nodevent.room("Comment_1").join();
  assert.deepEqual((await next(end)).args, [{ room: "Comment_1", key: "k:1" }]);
  assert.deepEqual(requests, [{ method: "POST", type: "application/json", body: { room: "Comment_1" } }]);
});

test("null is the key of a room that needs none", async () => {
  respond = (response) => json(response, { key: null });
  const end = await start({ keyUrl: url });
  nodevent.room("r").join();
  assert.deepEqual((await next(end)).args, [{ room: "r" }]);
});

for (const [what, answer] of [
  ["403 with a JSON body that has a key", (response) => json(response, { key: "stolen:1" }, 403)],
  ["401", (response) => response.writeHead(401).end("k:1")],
  ["404 with HTML", (response) => html(response, 404)],
  ["a login page with status 200", (response) => html(response)],
  ["plain text", (response) => response.writeHead(200, { "content-type": "text/plain" }).end("k:1")],
  ["an empty body", (response) => response.writeHead(204).end()],
  ["JSON without a key", (response) => json(response, { error: "no" })],
  ["a key that is not text", (response) => json(response, { key: { a: 1 } })],
  ["a list", (response) => json(response, ["k:1"])],
]) {
  test(`${what} is not a key: nothing is sent, the page and the console are notified, nothing is retried`, async (t) => {
    const lines = recordWarnings(t);
    respond = answer;
    const end = await start({ keyUrl: url });
    const room = nodevent.room("r");
    const { "key-refused": refused } = record(room, "key-refused");
    const result = await new Promise((resolve) => room.join(resolve));
    assert.match(result, /POST http.*\/keys returned/);
    assert.equal(refused.length, 1);
    assert.match(refused[0][0], /POST http.*\/keys returned/);
    assert.equal(lines.length, 1);
    assert.match(lines[0], /^NoDevent: room "r" refused: POST .* returned \d+.*\. .*authorize/);
    assert.deepEqual(end.received, []);
    assert.equal(room.getKey(), undefined);
    assert.equal(requests.length, 1);
  });
}

test("JSON that cannot be parsed is the error of the join", async (t) => {
  t.mock.method(console, "warn", () => {});
  respond = (response) => response.writeHead(200, { "content-type": "application/json" }).end("{");
  const end = await start({ keyUrl: url });
  assert.match(await new Promise((resolve) => nodevent.room("r").join(resolve)), /JSON/);
  assert.deepEqual(end.received, []);
});

for (const [what, answer] of [
  ["500", (response) => html(response, 500)],
  ["503 of a proxy", (response) => html(response, 503)],
  ["429", (response) => json(response, {}, 429)],
  ["a broken connection", (response) => response.destroy()],
]) {
  test(`${what} is temporary: the request is repeated, and the callback waits`, async (t) => {
    t.mock.method(console, "warn", () => {});
    t.mock.method(Math, "random", () => 0);
    respond = (response, count) => (count === 1 ? answer(response) : json(response, { key: "k:1" }));
    const end = await start({ keyUrl: url });
    const room = nodevent.room("r");
    const { "key-refused": refused } = record(room, "key-refused");
    const results = [];
    room.join((err) => results.push(err));
    const join = await next(end);
    assert.deepEqual(join.args, [{ room: "r", key: "k:1" }]);
    end.ack(join.id, [null, true]);
    assert.deepEqual([results, refused], [[null], []]);
  });
}

test("the expiry of a room key and of a JWT is read, and of nothing else", () => {
  const jwt = (claims) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;
  assert.equal(expiryOf("ab12:4102444800000"), 4102444800000);
  assert.equal(expiryOf(jwt({ exp: 4102444800, sub: "ÿ?>" })), 4102444800000);
  for (const wrong of [undefined, null, 5, "", "ab12:410244480000", "ab12:4102444800000x", "a.b.c", "e30.e30.e30", jwt(5), jwt({ exp: "x" })]) assert.ok(!expiryOf(wrong), String(wrong));
});

const lasting = (milliseconds, name = "aa") => `${name}:${Date.now() + milliseconds}`;

test("a key is renewed before it expires, and the room joins with the new one", async (t) => {
  t.mock.method(Math, "random", () => 0.5);
  const keys = [lasting(2000, "aa"), lasting(3_600_000, "bb")];
  respond = (response, count) => json(response, { key: keys[count - 1] });
  const end = await start({ keyUrl: url });
  const room = nodevent.room("r").join();
  const begun = performance.now();
  let join = await next(end);
  end.ack(join.id, [null, true, { position: "x:4", recovered: true }]);
  const received = record(room, "join", "leave", "key-expired");
  join = await next(end);
  assert.deepEqual(join.args, [{ room: "r", key: keys[1], since: "x:4" }]);
  assert.ok(performance.now() - begun < 2000, "before the expiry");
  end.ack(join.id, [null, true, { position: "x:4", recovered: true }]);
  assert.equal(room.getKey(), keys[1]);
  assert.deepEqual([received.join.length, received.leave, received["key-expired"]], [1, [], []]);
});

test("a key of the page is renewed from the endpoint, of the room or of the connection", async () => {
  respond = (response) => json(response, { key: "new" });
  for (const [options, source] of [[{}, url], [{ keyUrl: url }, undefined]]) {
    const end = await start(options);
    const room = nodevent.room("r").setKey(lasting(300), source).join();
    const first = await next(end);
    end.ack(first.id, [null, true]);
    assert.equal((await next(end)).args[0].key, "new");
    assert.equal(room.getKey(), "new");
    nodevent.close();
  }
});

test("a refused renewal notifies the page once, and the membership stays", async (t) => {
  const lines = recordWarnings(t);
  respond = (response) => json(response, {}, 403);
  const end = await start({ keyUrl: url });
  const room = nodevent.room("r").setKey(lasting(200)).join();
  end.ack((await next(end)).id, [null, true]);
  const received = record(room, "key-refused", "leave", "join");
  await until(() => received["key-refused"].length);
  assert.deepEqual([received.leave, received.join, room.joined], [[], [], true]);
  assert.equal(lines.length, 1);
  assert.equal(requests.length, 1);
});

test("a renewal that fails temporarily is repeated until it succeeds", async (t) => {
  t.mock.method(console, "warn", () => {});
  t.mock.method(Math, "random", () => 0);
  respond = (response, count) => (count < 3 ? html(response, 502) : json(response, { key: "new" }));
  const end = await start({ keyUrl: url });
  nodevent.room("r").setKey(lasting(1500)).join();
  end.ack((await next(end)).id, [null, true]);
  assert.equal((await next(end)).args[0].key, "new");
  assert.equal(requests.length, 3);
});

test("an error of a key function during a renewal is logged, and not retried", async (t) => {
  const lines = recordWarnings(t);
  let calls = 0;
  const end = await start();
  const source = () => {
    calls++;
    throw new Error("signed out");
  };
  nodevent.room("r").setKey(lasting(200), source).join();
  end.ack((await next(end)).id, [null, true]);
  await until(() => lines.length);
  assert.deepEqual([lines, calls], [['NoDevent: room "r" refused: signed out. '], 1]);
});

test("an expired key is replaced on the rejoin, and a room that was left is not renewed", async () => {
  respond = (response) => json(response, { key: "new" });
  const end = await start({ keyUrl: url });
  const room = nodevent.room("r").setKey("old:1").join();
  end.ack((await next(end)).id, ["Time has passed", false]);
  assert.equal((await next(end)).args[0].key, "new");
  room.setKey(lasting(100));
  room.leave();
  await until(() => Date.now() > expiryOf(room.getKey()));
  assert.equal(requests.length, 1);
});

test("room data may not name another endpoint than that of the connection, and is used without it", async (t) => {
  const lines = recordWarnings(t);
  respond = (response) => json(response, { key: "from the endpoint" });
  const end = await start({ keyUrl: url });
  for (const wrong of [url + "/other", url.replace("127.0.0.1", "localhost"), url + "?amount=1", "/keys", "http://["]) {
    nodevent.room({ room: wrong, key: "k:1", key_url: wrong }).join();
    assert.deepEqual((await next(end)).args, [{ room: wrong, key: "k:1" }]);
  }
  assert.equal(lines.length, 1);
  assert.match(lines[0], /^NoDevent: key URL .*\/other ignored: set data-nodevent-key-url/);
  nodevent.room({ room: "s", key_url: url + "?namespace=%2Fboard" }).join();
  assert.equal((await next(end)).args[0].key, "from the endpoint");
});

test("an empty key URL, as of a Stimulus value without content, is none", async () => {
  respond = (response) => json(response, { key: "new" });
  const end = await start({ keyUrl: url });
  nodevent.room({ room: "r", key: "old:1", key_url: "" }).join();
  end.ack((await next(end)).id, ["Time has passed", false]);
  assert.equal((await next(end)).args[0].key, "new");
  assert.deepEqual(requests.length, 1);
});

test("keyFrom is a key function", async () => {
  respond = (response) => json(response, { key: "k:1" });
  assert.equal(await keyFrom(url)({ id: "r" }), "k:1");
});
