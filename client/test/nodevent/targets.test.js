// Events for the page's user, for all connections, and for several targets.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { connect } from "../../src/nodevent/connect.js";
import { turn, until } from "../support/until.js";
import { Wire } from "../support/wire.js";

let nodevent;

afterEach(() => nodevent?.close());

const position = (offset) => `00000000000000ab:${offset}`;

/** Connects, and returns the server's end. */
function page(options) {
  const wire = new Wire();
  nodevent = connect({ url: "http://nodevent.test", WebSocket: wire.WebSocket, transports: ["websocket"], reconnectionDelay: 0, ...options });
  return wire;
}

const record = (feed, ...events) => {
  const received = [];
  for (const event of events) feed.on(event, (value) => received.push([event, value]));
  return received;
};

test("the user and all connections have listeners of their own, and no room receives their events", async () => {
  const wire = page();
  const [user, all, room] = [nodevent.user, nodevent.all, nodevent.room("undefined")].map((feed) => record(feed, "gong"));
  const end = await wire.accept();
  assert.deepEqual(end.takeEvent().args, [{ broadcast: true }]);
  end.event("event", { user: "42", event: "gong", message: 1 });
  end.event("event", { broadcast: true, event: "gong", message: 2 });
  await turn();
  assert.deepEqual([user, all, room], [[["gong", 1]], [["gong", 2]], []]);
});

test("a page that does not use `all` asks for nothing", async () => {
  const wire = page();
  nodevent.room("r").join();
  const end = await wire.accept();
  assert.equal(end.takeEvent().args[0].room, "r");
  end.event("event", { broadcast: true, event: "gong", message: 2 });
  await turn();
  assert.throws(() => end.takeEvent(), /sent nothing more/);
});

test("a publication that this page does not receive is no gap", async () => {
  const wire = page();
  const received = record(nodevent.all, "gong", "gap");
  const end = await wire.accept();
  const join = end.takeEvent();
  end.ack(join.id, [null, true, { position: position(1), recovered: true }]);
  end.event("event", { broadcast: true, event: "gong", message: 2, position: position(2) });
  end.event("skipped", { broadcast: true, position: position(3) });
  end.event("event", { broadcast: true, event: "gong", message: 4, position: position(4) });
  end.event("event", { broadcast: true, event: "gong", message: 6, position: position(6) });
  end.event("lost", { broadcast: true, position: position(9) });
  await turn();
  assert.deepEqual(received, [["gong", 2], ["gong", 4], ["gap", position(6)], ["gong", 6], ["gap", position(9)]]);
});

test("an event is delivered once, whichever target it comes through", async () => {
  const wire = page();
  const received = record(nodevent.user, "gong");
  nodevent.all.on("gong", (value) => received.push(["all", value]));
  const end = await wire.accept();
  for (const target of [{ user: "42" }, { broadcast: true }]) end.event("event", { ...target, event: "gong", message: 1, publication_id: "x" });
  await turn();
  assert.deepEqual(received, [["gong", 1]]);
});

test("the position of another user is forgotten", async () => {
  const wire = page();
  const gaps = record(nodevent.user, "gap");
  const end = await wire.accept();
  end.event("identified", { user: "42", expires_in: 60_000 });
  end.event("joined", { user: "42", position: position(7), recovered: true });
  await turn();
  assert.equal(nodevent.user.position, position(7));
  end.event("identified", { user: "43", expires_in: 60_000 });
  end.event("joined", { user: "43", position: "00000000000000cd:1", recovered: true });
  await turn();
  assert.deepEqual([nodevent.user.position, gaps], ["00000000000000cd:1", []]);
});

test("what was published to all while the page was disconnected comes before what is live", async () => {
  const wire = page();
  const received = record(nodevent.all, "gong", "gap");
  let end = await wire.accept();
  end.ack(end.takeEvent().id, [null, true, { position: position(1), recovered: true }]);
  await turn();
  end.drop();
  await until(() => wire.last !== end);
  end = wire.last;
  end.open();
  await turn();
  const connectPacket = end.take();
  assert.equal(JSON.parse(connectPacket.slice(connectPacket.indexOf(",") + 1)).since_broadcast, position(1));
  end.deliver('40/nodevent,{"sid":"again"}');
  end.event("event", { broadcast: true, event: "gong", message: 2, position: position(2) });
  end.event("joined", { broadcast: true, position: position(2), recovered: true });
  end.event("event", { broadcast: true, event: "gong", message: 3, position: position(3) });
  await turn();
  assert.deepEqual(received, [["gong", 2], ["gong", 3]]);
  assert.throws(() => end.takeEvent(), /sent nothing more/);
  end.event("joined", { broadcast: true, error: "Too many joins" });
  await turn();
  assert.deepEqual(end.takeEvent().args, [{ broadcast: true, since: position(3) }]);
});

test("a gap before what is live is reported", async () => {
  const wire = page();
  const received = record(nodevent.all, "gong", "gap");
  const end = await wire.accept();
  end.ack(end.takeEvent().id, [null, true, { position: position(1), recovered: true }]);
  end.event("joined", { broadcast: true, position: position(9), recovered: false });
  await turn();
  assert.deepEqual([received, nodevent.all.position], [[["gap", position(9)]], position(9)]);
});
