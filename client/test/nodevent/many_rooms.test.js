// Many rooms on one connection: joined in one packet if the server knows that, paced if not, and retried
// after a temporary refusal. Over a scripted transport, and against the real server.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/nodevent/connect.js";
import { Server } from "../support/server.js";
import { Relay } from "../support/proxy.js";
import { record, recordWarnings, turn, until } from "../support/until.js";
import { Wire } from "../support/wire.js";

const names = (count) => Array.from({ length: count }, (_, n) => `room ${n}`);

describe("over a scripted transport", () => {
  let wire;
  let nodevent;

  afterEach(() => nodevent?.close());

  function start(count) {
    wire = new Wire();
    nodevent = connect({ url: "http://nodevent.test", WebSocket: wire.WebSocket, transports: ["websocket"], reconnectionDelay: 0 });
    return names(count).map((name) => nodevent.room(name).join());
  }

  test("ten rooms are joined one by one, eleven in one packet", async () => {
    start(10);
    let end = await wire.accept();
    assert.deepEqual(names(10).map(() => end.takeEvent().args[0].room), names(10));
    nodevent.close();
    start(11);
    end = await wire.accept();
    assert.deepEqual(end.takeEvent().args, [{ rooms: names(11).map((room) => ({ room })) }]);
    assert.deepEqual(end.received, []);
  });

  test("each room of a packet gets its own result, in the order of the request", async () => {
    const rooms = start(12);
    rooms[1].setKey("k:1");
    const results = rooms.map((room) => record(room, "join").join);
    const end = await wire.accept();
    const { id, args } = end.takeEvent();
    assert.deepEqual(args[0].rooms.slice(0, 2), [{ room: "room 0" }, { room: "room 1", key: "k:1" }]);
    const acks = names(12).map((_, n) => [null, true, { position: `x:${n}`, recovered: true }]);
    acks[1] = ["Bad key", false];
    end.ack(id, [null, true, acks]);
    assert.deepEqual(results[0], [[null, { position: "x:0", recovered: true }]]);
    assert.deepEqual(results[1], [["Bad key", undefined]]);
    assert.deepEqual(rooms.map((room) => room.joined), names(12).map((_, n) => n !== 1));
    assert.equal(rooms[11].position, "x:11");
  });

  test("a rejoin in one packet has the positions", async () => {
    const rooms = start(11);
    let end = await wire.accept();
    end.ack(end.takeEvent().id, [null, true, names(11).map((_, n) => [null, true, { position: `x:${n}`, recovered: true }])]);
    end.drop();
    const { length } = wire.ends;
    await until(() => wire.ends.length > length);
    end = await wire.accept();
    const { id, args } = end.takeEvent();
    assert.deepEqual(args[0].rooms, names(11).map((room, n) => ({ room, since: `x:${n}` })));
    const gaps = record(rooms[3], "gap").gap;
    end.ack(id, [null, true, names(11).map((_, n) => [null, true, { position: `x:${n}`, recovered: n !== 3 }])]);
    assert.deepEqual(gaps, [["x:3"]]);
  });

  test("a packet stays below the server's limit of 64 KB, whatever the names are", async () => {
    wire = new Wire();
    nodevent = connect({ url: "http://nodevent.test", WebSocket: wire.WebSocket, transports: ["websocket"] });
    const long = Array.from({ length: 600 }, (_, n) => "☃".repeat(80) + n);
    for (const name of long) nodevent.room(name).setKey("k".repeat(64) + ":4102444800000").join();
    const end = await wire.accept();
    const sent = [];
    while (end.received.length) {
      assert.ok(Buffer.byteLength(end.received[0]) < 64 * 1024, `${Buffer.byteLength(end.received[0])} bytes`);
      sent.push(...end.takeEvent().args[0].rooms.map(({ room }) => room));
    }
    assert.deepEqual(sent, long);
  });

  for (const [what, ack] of [
    ["refuses it", ["Bad room", false]],
    ["accepts it without results", [null, true]],
    ["returns too few results", [null, true, [[null, true]]]],
  ]) {
    test(`a server that ${what} gets single joins, and is asked again after a reconnect`, async () => {
      const rooms = start(11);
      let end = await wire.accept();
      const refusals = record(rooms[0], "join").join;
      end.ack(end.takeEvent().id, ack);
      assert.deepEqual(names(11).map(() => end.takeEvent().args[0].room), names(11));
      assert.deepEqual(refusals, [], "the refusal of the packet is not the refusal of a room");
      end.drop();
      await until(() => wire.ends.length > 1);
      end = await wire.accept();
      assert.equal(end.takeEvent().args[0].rooms.length, 11);
    });
  }

  test("a server that ignores the packet gets single joins after the timeout", async (t) => {
    start(11);
    const end = await wire.accept();
    nodevent.close();
    t.mock.timers.enable({ apis: ["setTimeout"] });
    start(11);
    const second = await wire.accept();
    assert.equal(second.takeEvent().args[0].rooms.length, 11);
    t.mock.timers.tick(20_000);
    assert.deepEqual(names(11).map(() => second.takeEvent().args[0].room), names(11));
    assert.ok(end.closedByClient);
  });

  test("a burst of joins on an open connection: the first hundred directly, the rest in one packet", async () => {
    start(0);
    const end = await wire.accept();
    for (const name of names(350)) nodevent.room(name).join();
    assert.equal(end.received.length, 100);
    await until(() => end.received.length > 100);
    end.received.splice(0, 100);
    assert.equal(end.takeEvent().args[0].rooms.length, 250);
  });

  test("a room that is left before its join is sent is not joined", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    start(0);
    const end = await wire.accept();
    for (const name of names(130)) nodevent.room(name).join();
    nodevent.room("room 129").leave();
    end.received.splice(0, 100);
    assert.equal(end.takeEvent().event, "leave");
    t.mock.timers.tick(0);
    assert.deepEqual(end.takeEvent().args[0].rooms.map(({ room }) => room), names(129).slice(100));
  });

  test("Too many joins is temporary: the room joins again after a growing delay, and its callback waits", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    t.mock.method(Math, "random", () => 1);
    const lines = recordWarnings(t);
    start(0);
    const end = await wire.accept();
    const results = [];
    nodevent.room("r").join((err) => results.push(err));
    for (const delay of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
      end.ack(end.takeEvent().id, ["Too many joins", false]);
      t.mock.timers.tick(delay - 1);
      assert.deepEqual(end.received, []);
      t.mock.timers.tick(1);
    }
    assert.deepEqual(results, []);
    end.ack(end.takeEvent().id, [null, true]);
    assert.deepEqual(results, [null]);
    assert.equal(lines.length, 1, "one line for all of them");
    assert.match(lines[0], /"r" refused: Too many joins.*joins_per_second/);
  });

  test("a room that is left while it waits for a retry is not joined", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    t.mock.method(console, "warn", () => {});
    start(0);
    const end = await wire.accept();
    const room = nodevent.room("r").join();
    end.ack(end.takeEvent().id, ["Too many joins", false]);
    room.leave();
    assert.equal(end.takeEvent().event, "leave");
    t.mock.timers.tick(60_000);
    await turn();
    assert.deepEqual(end.received, []);
  });
});

describe("against the real server", () => {
  const server = new Server({ limits: { max_rooms_per_connection: 1000 }, "/slow": {} });
  const relay = new Relay(() => server.port);
  const opened = [];

  before(async () => {
    await server.start();
    await relay.start();
  });
  afterEach(() => {
    for (const nodevent of opened.splice(0)) nodevent.close();
  });
  after(async () => {
    await relay.close();
    await server.close();
  });

  for (const count of [350, 600]) {
    test(`${count} rooms are all joined again after a lost connection, on the same connection`, async () => {
      const nodevent = connect({ url: `http://127.0.0.1:${relay.port}`, WebSocket, reconnectionDelay: 20 });
      opened.push(nodevent);
      const rooms = names(count).map((name) => nodevent.room(name).join());
      const all = () => rooms.every((room) => room.joined);
      await until(all, "all joins", 60_000);
      const received = [];
      for (const room of rooms) room.on("e", () => received.push(room.id));
      const { connect: connects, disconnect } = record(nodevent, "connect", "disconnect");
      relay.cut();
      await until(() => connects.length && all(), "all rejoins", 60_000);
      assert.equal(connects.length, 1);
      assert.equal(disconnect.length, 1, "the server does not close the connection for its packets");
      await server.publish(names(count).map((room) => ({ room, event: "e" })));
      await until(() => received.length === count);
      assert.deepEqual(received.toSorted(), names(count).toSorted());
    });
  }
});

describe("against a server with a low limit of joins", () => {
  const server = new Server({ limits: { joins_per_second: 5 } });
  before(() => server.start());
  after(() => server.close());

  test("rooms that were refused with Too many joins are joined later", async (t) => {
    t.mock.method(console, "warn", () => {});
    const nodevent = connect({ url: server.url, WebSocket });
    const rooms = names(40).map((name) => nodevent.room(name).join());
    await until(() => rooms.every((room) => room.joined), "all joins", 60_000);
    nodevent.close();
  });
});
