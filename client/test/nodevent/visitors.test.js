// What has ended is never sent, and what was requested for one visitor is never used for the next one: calls, keys,
// tokens and acknowledgements, over a scripted transport.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { connect } from "../../src/nodevent/connect.js";
import { record, turn } from "../support/until.js";
import { Wire } from "../support/wire.js";

let wire;
let nodevent;

afterEach(() => {
  nodevent?.close();
  delete globalThis.Document;
});

async function start(options = {}) {
  wire = new Wire();
  nodevent = connect({
    url: "http://nodevent.test",
    WebSocket: wire.WebSocket,
    transports: ["websocket"],
    reconnectionDelay: 0,
    ...options,
  });
  return wire.accept();
}

/** Loses the connection, and waits until the client tries again. */
async function lose() {
  wire.last.drop();
  const { length } = wire.ends;
  while (wire.ends.length === length) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Records how a call ends. */
function call(path) {
  const result = {};
  nodevent.call("POST", path).then(
    (response) => Object.assign(result, response),
    ({ message, status }) => Object.assign(result, { message, status }),
  );
  return result;
}

/** The events that the client has sent, as their arguments. */
const sent = (end, name) => {
  const events = [];
  while (end.received.length) events.push(end.takeEvent());
  return events.filter(({ event }) => event === name);
};

test("a call without a connection is sent when the connection is back, and only once", async () => {
  await start();
  await lose();
  const result = call("/short");
  const end = await wire.accept();
  const [request] = sent(end, "call");
  assert.deepEqual(request.args, [{ method: "POST", path: "/short" }]);
  end.ack(request.id, [null, { status: 201, headers: {}, body: "saved" }]);
  await turn();
  assert.equal(result.status, 201);
  await lose();
  assert.deepEqual(sent(await wire.accept(), "call"), []);
});

test("a call that has ended without a connection is not sent when the connection is back", async (t) => {
  await start();
  await lose();
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const result = call("/transfer");
  t.mock.timers.tick(60_000);
  await turn();
  assert.deepEqual(result, { message: "No response", status: 0 });
  assert.deepEqual(sent(await wire.accept(), "call"), []);
});

test("leaveAll ends the calls that wait and those that were sent, and drops their responses", async () => {
  const first = await start();
  const done = call("/sent");
  const [request] = sent(first, "call");
  nodevent.leaveAll();
  first.ack(request.id, [null, { status: 200, headers: {}, body: "private" }]);
  await turn();
  assert.deepEqual(done, { message: "Left", status: 0 });
  await lose();
  const waiting = call("/waiting");
  nodevent.leaveAll();
  const next = call("/next");
  assert.deepEqual(sent(await wire.accept(), "call").map(({ args }) => args[0].path), ["/next"]);
  assert.deepEqual([waiting, next], [{ message: "Left", status: 0 }, {}]);
});

test("at most 100 calls wait for a connection, and the error of the next one says what to do", async () => {
  await start();
  await lose();
  const waiting = Array.from({ length: 100 }, (_, n) => call(`/${n}`));
  const tooMany = call("/100");
  await turn();
  assert.deepEqual(tooMany, { message: "Too many calls wait for a connection: call again after connect", status: 429 });
  assert.deepEqual(waiting[0], {});
  assert.equal(sent(await wire.accept(), "call").length, 100);
});

test("a closed page ends its calls at once", async () => {
  await start();
  await lose();
  const result = call("/waiting");
  nodevent.close();
  await turn();
  assert.deepEqual(result, { message: "No response", status: 0 });
});

test("a call that waits while the session changes is not sent with the cookies of the next one", async () => {
  let id = "11111111-page";
  globalThis.Document = class {
    querySelectorAll() {
      return [{ dataset: { socketConnectionId: id } }];
    }
  };
  await start();
  await lose();
  const result = call("/waiting");
  id = "22222222-page";
  assert.deepEqual(sent(await wire.accept(), "call"), []);
  assert.deepEqual(result, { message: "Left", status: 0 });
});

test("a key that was requested before leaveAll is not used after it", async () => {
  const gives = [];
  const end = await start({ key: () => new Promise((resolve) => gives.push(resolve)) });
  const room = nodevent.room("r").join();
  nodevent.leaveAll();
  gives[0]("of the visitor before");
  await turn();
  assert.equal(room.getKey(), undefined);
  room.join();
  await turn();
  gives[1]("of the next visitor");
  await turn();
  assert.deepEqual(sent(end, "join").map(({ args }) => args[0].key), ["of the next visitor"]);
});

test("the error of a key that was requested before leaveAll is no error of the next visitor", async (t) => {
  t.mock.method(console, "warn", () => {});
  const fails = [];
  await start({ key: () => new Promise((_, reject) => fails.push(reject)) });
  const room = nodevent.room("r").join();
  const { join: joins } = record(room, "join");
  nodevent.leaveAll();
  room.join();
  fails[0](Error("signed out"));
  await turn();
  assert.deepEqual(joins, []);
});

test("a key that is being renewed when the visitor leaves is not used", async () => {
  const gives = [];
  const end = await start();
  const source = () => new Promise((resolve) => gives.push(resolve));
  const room = nodevent.room("r").setKey(`ab:${Date.now() + 300}`, source).join();
  end.ack(end.takeEvent().id, [null, true]);
  while (!gives.length) await new Promise((resolve) => setTimeout(resolve, 5));
  nodevent.leaveAll();
  gives[0]("of the visitor before");
  await turn();
  assert.equal(room.getKey(), undefined);
  assert.deepEqual(sent(end, "join"), []);
});

test("a token that was requested before leaveAll is not presented", async () => {
  const gives = [];
  wire = new Wire();
  const token = () => new Promise((resolve) => gives.push(resolve));
  nodevent = connect({ url: "http://nodevent.test", WebSocket: wire.WebSocket, transports: ["websocket"], token });
  await turn();
  wire.last.open();
  nodevent.leaveAll();
  gives[0]("of the visitor before");
  await turn();
  assert.deepEqual([wire.last.received, gives.length], [[], 2]);
  gives[1]("of the next visitor");
  await turn();
  assert.match(wire.last.take(), /"token":"of the next visitor"/);
});

test("a token of a source that was replaced is not presented", async () => {
  const end = await start();
  let give;
  nodevent.setToken(() => new Promise((resolve) => (give = resolve)));
  nodevent.setToken("newer");
  await turn();
  give("older");
  await turn();
  assert.deepEqual(new Set(sent(end, "token").map(({ args }) => args[0].token)), new Set(["newer"]));
});

test("a page that is closed while its source of tokens fails does not ask again", async (t) => {
  t.mock.method(console, "warn", () => {});
  let asked = 0;
  wire = new Wire();
  nodevent = connect({
    url: "http://nodevent.test",
    WebSocket: wire.WebSocket,
    transports: ["websocket"],
    token: async () => {
      asked++;
      throw Error("offline");
    },
  });
  await turn();
  wire.last.open();
  t.mock.timers.enable({ apis: ["setTimeout"] });
  await turn();
  t.mock.timers.tick(30_000);
  await turn();
  assert.ok(asked <= 2, "again after a delay");
  const before = asked;
  nodevent.close();
  t.mock.timers.tick(600_000);
  await turn();
  assert.equal(asked, before);
});

const mailbox = (ids) => {
  const messages = ids.map((id) => ({ id, event: "e" }));
  return { messages, unread: ids.length, first: true, last: true };
};

test("an acknowledgement that fails is sent again after growing delays", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const end = await start();
  nodevent.inbox.on("e", () => {});
  end.ack(end.takeEvent().id, [null]);
  end.event("mailbox", mailbox(["1", "2"]));
  t.mock.timers.enable({ apis: ["setTimeout"] });
  nodevent.inbox.acknowledge("1");
  await turn();
  for (const delay of [500, 1000, 2000]) {
    end.ack(end.takeEvent().id, ["busy"]);
    t.mock.timers.tick(delay - 1);
    assert.deepEqual(end.received, []);
    t.mock.timers.tick(1);
  }
  end.ack(end.takeEvent().id, [null, { unread: 1 }]);
  assert.equal(nodevent.inbox.unread, 1);
});

test("the response to an acknowledgement of an earlier user does not change the mailbox of the next one", async () => {
  const end = await start();
  end.event("identified", { user: "ann", expires_in: 60_000 });
  nodevent.inbox.on("e", () => {});
  end.ack(end.takeEvent().id, [null]);
  end.event("mailbox", mailbox(["1", "2", "3"]));
  nodevent.inbox.acknowledge("1");
  await turn();
  const { id } = end.takeEvent();
  end.event("identified", { user: "bob", expires_in: 60_000 });
  end.event("mailbox", mailbox(["7"]));
  end.ack(id, [null, { unread: 2 }]);
  assert.equal(nodevent.inbox.unread, 1);
});
