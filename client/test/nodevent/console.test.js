// The browser's console: one line for each problem, with the fix. Over a scripted transport.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { afterEach, beforeEach, mock, test } from "node:test";
import { connect } from "../../src/nodevent/connect.js";
import { recordWarnings, until } from "../support/until.js";
import { Wire } from "../support/wire.js";

let wire;
let nodevent;
let lines;

beforeEach(() => {
  lines = recordWarnings({ mock });
  wire = new Wire();
  nodevent = connect({ url: "http://nodevent.test", WebSocket: wire.WebSocket, transports: ["websocket"], reconnectionDelay: 0 });
});
afterEach(() => {
  nodevent.close();
  mock.restoreAll();
});

for (const [refusal, fix] of [
  ["Must provide key", /setKey.*data-nodevent-key-url/],
  ["Bad sig", /nodevent_data/],
  ["Lifetime too long", /max_key_lifetime/],
  ["Time has passed", /data-nodevent-key-url/],
  ["Bad key", /secret/],
  ["Bad room", /255 bytes/],
  ["Too many rooms", /max_rooms_per_connection/],
  ["Too many joins", /joins_per_second/],
]) {
  test(`the refusal "${refusal}" is one line, again only after a success`, async () => {
    const end = await wire.accept();
    const room = nodevent.room("Discussion_12").join();
    end.ack(end.takeEvent().id, [refusal, false]);
    assert.equal(lines.length, 1);
    assert.ok(lines[0].startsWith(`NoDevent: room "Discussion_12" refused: ${refusal}. `), lines[0]);
    assert.match(lines[0], fix);
    room.join();
    end.ack(end.takeEvent().id, [refusal, false]);
    assert.equal(lines.length, 1);
    room.join();
    end.ack(end.takeEvent().id, [null, true]);
    room.join();
    end.ack(end.takeEvent().id, [refusal, false]);
    assert.equal(lines.length, 2);
  });
}

test("a refusal with the name of an object's member has no fix", async () => {
  const end = await wire.accept();
  for (const name of ["constructor", "__proto__", "toString"]) {
    nodevent.room(name).join();
    end.ack(end.takeEvent().id, [name, false]);
    assert.equal(lines.pop(), `NoDevent: room "${name}" refused: ${name}. `);
  }
});

test("a refused namespace is one line", async () => {
  await new Promise((resolve) => setImmediate(resolve));
  wire.last.open();
  wire.last.take();
  wire.last.deliver('44/nodevent,{"message":"Invalid namespace"}');
  assert.deepEqual(lines.length, 1);
  assert.match(lines[0], /^NoDevent: namespace "\/nodevent" refused: Invalid namespace\. Check/);
});

for (const [code, reason] of [[1008, "too many packets"], [1009, "too_big"], [1013, "too many pending joins; reconnect later"]]) {
  test(`a connection that the server closes for a limit (${code}) is one line`, async () => {
    await wire.accept();
    wire.last.drop(code, reason);
    assert.equal(lines.length, 1);
    assert.ok(lines[0].includes(reason) && lines[0].includes("limits"), lines[0]);
  });
}

test("a server that refuses connections is one line for a series of attempts", async () => {
  const http = createServer((_request, response) => response.writeHead(503).end("too many connections"));
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  const other = connect({ url: `http://127.0.0.1:${http.address().port}`, transports: ["polling"], reconnectionDelay: 1 });
  let errors = 0;
  other.on("error", () => errors++);
  await until(() => errors > 3);
  assert.deepEqual(lines, ["NoDevent: the server refuses connections: status 503 \"too many connections\". See limits in the server's configuration."]);
  other.close();
  http.closeAllConnections();
  http.close();
});

test("a normal end and a lost network log nothing", async () => {
  await wire.accept();
  wire.last.drop(1001, "server shutting down");
  await new Promise((resolve) => setTimeout(resolve, 10));
  await wire.accept();
  wire.last.drop(1006);
  assert.deepEqual(lines, []);
});
