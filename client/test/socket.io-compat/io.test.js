// Our `io()` against the stock Socket.IO server, over each transport and with the upgrade.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { Manager, Socket, io, protocol } from "../../src/socket.io-compat/io.js";
import { startSocketIoServer } from "../support/socket-io-server.js";
import { record, until } from "../support/until.js";

let server;
const sockets = [];

before(async () => (server = await startSocketIoServer()));
after(() => server.stop());
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.disconnect();
});

function open(nsp = "/", options = {}) {
  const socket = io(server.url + nsp, { WebSocket, forceNew: true, ...options });
  sockets.push(socket);
  return socket;
}

const once = (emitter, event) => new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));

for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
  describe(`over ${transports.join(", then ")}`, () => {
    const options = { transports };

    test("it connects, sends auth, and receives its own message", async () => {
      const socket = open("/", { ...options, auth: { token: "abc" } });
      assert.equal(socket.connected, false);
      const [auth] = await once(socket, "auth");
      assert.deepEqual(auth, { token: "abc" });
      assert.equal(socket.connected, true);
      assert.match(socket.id, /^\S{20}$/);
      socket.emit("message", 1, "2", { 3: [null, true] });
      assert.deepEqual(await once(socket, "message-back"), [1, "2", { 3: [null, true] }]);
    });

    test("acks go both ways", async () => {
      const socket = open("/", options);
      assert.equal(await socket.emitWithAck("message-with-ack", "hello"), "hello");
      socket.on("question", (question, reply) => {
        reply(question + "!");
        reply("only the first counts");
      });
      socket.emit("ask me", "why");
      assert.deepEqual(await once(socket, "answered"), ["why!"]);
    });

    test("binary goes both ways, in events and in acks", async () => {
      const socket = open("/", options);
      socket.emit("message", { file: new Uint8Array([1, 2, 3]), rest: [new ArrayBuffer(2)] });
      const [back] = await once(socket, "message-back");
      assert.deepEqual(new Uint8Array(back.file), new Uint8Array([1, 2, 3]));
      assert.equal(back.rest[0].byteLength, 2);
      const acked = await socket.emitWithAck("message-with-ack", new Uint8Array([7]));
      assert.deepEqual(new Uint8Array(acked), new Uint8Array([7]));
    });

    test("a thousand messages arrive in order, none twice", async () => {
      const socket = open("/", options);
      const received = [];
      socket.on("message-back", (n) => received.push(n));
      for (let n = 0; n < 500; n++) socket.emit("message", n);
      await once(socket, "connect");
      for (let n = 500; n < 1000; n++) socket.emit("message", n);
      await until(() => received.length >= 1000, "1000 messages");
      assert.deepEqual(received, Array.from({ length: 1000 }, (_, n) => n));
    });

    test("it reconnects after the server cuts the connection", async () => {
      const socket = open("/", { ...options, reconnectionDelay: 10 });
      await once(socket, "connect");
      const first = socket.id;
      const { disconnect } = record(socket, "disconnect");
      socket.emit("cut me");
      await once(socket, "connect");
      assert.notEqual(socket.id, first);
      assert.equal(disconnect[0][0], "transport close");
    });

    test("events emitted before the connection are sent on connect", async () => {
      const socket = open("/", { ...options, autoConnect: false });
      const acked = socket.emitWithAck("message-with-ack", "late");
      assert.equal(socket.sendBuffer.length, 1);
      socket.connect();
      assert.equal(await acked, "late");
    });

    test("disconnect ends it silently", async () => {
      const socket = open("/", options);
      await once(socket, "connect");
      const engine = server.io.engine.clientsCount;
      const fired = record(socket, "disconnect", "connect").disconnect;
      socket.disconnect();
      assert.deepEqual(fired, [["io client disconnect", undefined]]);
      assert.equal(socket.connected, false);
      assert.equal(socket.active, false);
      await until(() => server.io.engine.clientsCount < engine, "the server to see it go");
    });
  });
}

test("the upgrade is reported, and the session continues on a WebSocket", async () => {
  const socket = open("/", { transports: ["polling", "websocket"] });
  await once(socket, "connect");
  const { engine } = socket.io;
  if (engine.transport.name !== "websocket") await once(engine, "upgrade");
  assert.equal(engine.transport.name, "websocket");
});

test("upgrade: false stays with polling", async () => {
  const socket = open("/", { transports: ["polling", "websocket"], upgrade: false });
  await socket.emitWithAck("message-with-ack", 1);
  await socket.emitWithAck("message-with-ack", 2);
  assert.equal(socket.io.engine.transport.name, "polling");
});

test("two namespaces share one connection, and each can disconnect alone", async () => {
  const main = io(server.url, { WebSocket });
  const custom = io(server.url + "/custom", { WebSocket, auth: { who: "custom" } });
  sockets.push(main, custom);
  assert.equal(main.io, custom.io);
  assert.deepEqual(await once(custom, "auth"), [{ who: "custom" }]);
  await until(() => main.connected);
  custom.disconnect();
  assert.equal(await main.emitWithAck("message-with-ack", 5), 5);
  custom.connect();
  assert.equal(await custom.emitWithAck("message-with-ack", 6), 6);
  assert.notEqual(io(server.url + "/custom", { WebSocket, autoConnect: false }).io, main.io, "a second request gets a second connection");
});

test("a refused namespace is an error with the server's data, and is not retried", async () => {
  const socket = open("/refused");
  const [error] = await once(socket, "connect_error");
  assert.ok(error instanceof Error);
  assert.equal(error.message, "not you");
  assert.deepEqual(error.data, { why: "because" });
  assert.equal(socket.active, false);
});

test("an unknown namespace has the same error as with the stock client", async () => {
  const [error] = await once(open("/nowhere"), "connect_error");
  assert.equal(error.message, "Invalid namespace");
});

test("after the server disconnects it, the socket stays disconnected until connect()", async () => {
  const socket = open("/");
  await once(socket, "connect");
  socket.emit("leave me");
  assert.deepEqual((await once(socket, "disconnect"))[0], "io server disconnect");
  assert.equal(socket.active, false);
  socket.connect();
  await once(socket, "connect");
});

test("auth can be a function that is called on every connect", async () => {
  let asked = 0;
  const socket = open("/", { auth: (say) => say({ asked: ++asked }), reconnectionDelay: 10 });
  assert.deepEqual(await once(socket, "auth"), [{ asked: 1 }]);
  socket.emit("cut me");
  assert.deepEqual(await once(socket, "auth"), [{ asked: 2 }]);
});

test("a missing ack is an error if a timeout is set", async () => {
  const socket = open("/");
  await assert.rejects(socket.timeout(20).emitWithAck("silent"), /operation has timed out/);
  const [error] = await new Promise((resolve) => socket.timeout(20).emit("silent", (...args) => resolve(args)));
  assert.match(error.message, /operation has timed out/);
  assert.equal(await socket.timeout(5000).emitWithAck("message-with-ack", "in time"), "in time");
});

test("an ack with a timeout fails immediately if the connection is lost", async () => {
  const socket = open("/");
  await once(socket, "connect");
  const lost = assert.rejects(socket.timeout(60_000).emitWithAck("silent"), /has been disconnected/);
  socket.disconnect();
  await lost;
});

test("a timed-out event that was never sent is not sent later", async () => {
  const socket = open("/", { autoConnect: false });
  await assert.rejects(socket.timeout(10).emitWithAck("message-with-ack", 1));
  assert.equal(socket.sendBuffer.length, 0);
});

test("volatile events are dropped if there is no connection", async () => {
  const socket = open("/");
  socket.volatile.emit("message", "dropped");
  socket.emit("message", "kept");
  assert.deepEqual(await once(socket, "message-back"), ["kept"]);
});

test("onAny and onAnyOutgoing receive all events of their direction", async () => {
  const socket = open("/");
  const [incoming, outgoing] = [[], []];
  socket.onAny((...args) => incoming.push(args));
  socket.onAnyOutgoing((...args) => outgoing.push(args));
  socket.send("hi");
  await once(socket, "message-back");
  assert.deepEqual(outgoing, [["message", "hi"]]);
  assert.deepEqual(incoming.at(-1), ["message-back", "hi"]);
  socket.offAny();
  assert.deepEqual(socket.listenersAny(), []);
});

test("reserved names cannot be emitted", () => {
  const socket = open("/", { autoConnect: false });
  for (const name of ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"])
    assert.throws(() => socket.emit(name), new RegExp(`"${name}" is a reserved event name`));
});

test("it is recovered by a stock server after a lost connection, and receives what it missed once and in order", async () => {
  const own = await startSocketIoServer({ connectionStateRecovery: {} });
  const socket = io(own.url, { WebSocket, forceNew: true, reconnection: false });
  try {
    const received = [];
    socket.on("news", (number) => received.push(number));
    await once(socket, "connect");
    assert.equal(socket.recovered, false);
    for (const round of [1, 2]) {
      own.io.emit("news", 10 * round);
      await until(() => received.includes(10 * round), "the event before");
      const gone = once(socket, "disconnect");
      for (const connection of own.io.sockets.sockets.values()) connection.conn.close();
      await gone;
      for (let number = 1; number <= 3; number += 1) own.io.emit("news", 10 * round + number);
      socket.connect();
      await once(socket, "connect");
      assert.equal(socket.recovered, true);
      await until(() => received.includes(10 * round + 3), "the missed events");
    }
    assert.deepEqual(received, [10, 11, 12, 13, 20, 21, 22, 23]);
  } finally {
    socket.disconnect();
    await own.stop();
  }
});

test("events before the connect packet are kept until it is there", () => {
  const socket = io("http://127.0.0.1:1", { autoConnect: false, forceNew: true, WebSocket });
  const received = [];
  for (const event of ["connect", "news"]) socket.on(event, (data) => received.push([event, data]));
  socket.active = true;
  socket._onPacket({ type: 2, nsp: "/", data: ["news", 1, "offset-1"] });
  socket._onPacket({ type: 2, nsp: "/", data: ["news", 2, "offset-2"] });
  assert.deepEqual(received, []);
  socket._onPacket({ type: 0, nsp: "/", data: { sid: "s", pid: "p" } });
  assert.deepEqual(received, [["connect", undefined], ["news", 1], ["news", 2]]);
  assert.deepEqual([socket._pid, socket._lastOffset, socket.recovered], ["p", "offset-2", false]);
});

test("an unreachable server is an error for each attempt, then reconnect_failed", async () => {
  const manager = new Manager("http://127.0.0.1:1", { WebSocket, reconnectionAttempts: 2, reconnectionDelay: 1 });
  const received = record(manager, "error", "reconnect_attempt", "reconnect_error", "reconnect_failed");
  const socket = manager.socket("/");
  const { connect_error } = record(socket, "connect_error");
  await until(() => received.reconnect_failed.length, "reconnect_failed");
  assert.deepEqual([received.error.length, received.reconnect_attempt.length, received.reconnect_error.length], [3, 2, 2]);
  assert.equal(connect_error.length, 3);
});

test("the options of a manager are also methods, and open calls back", async () => {
  const manager = new Manager(server.url, { WebSocket, autoConnect: false });
  assert.equal(manager.reconnection(), true);
  assert.equal(manager.reconnectionDelay(5), manager);
  assert.equal(manager.reconnectionDelay(), 5);
  assert.equal(await new Promise((resolve) => manager.open(resolve)), undefined);
  manager.engine.close();
  manager._connection._stop();
});

test("io has all its stock names", () => {
  assert.equal(io.connect, io);
  assert.equal(io.Manager, Manager);
  assert.equal(io.Socket, Socket);
  assert.equal(io.protocol, 5);
  assert.equal(protocol, 5);
});

test("an address is a server, a namespace and a query", () => {
  const parse = (address, options) => {
    const socket = io(address, { autoConnect: false, forceNew: true, ...options });
    return [socket.io.opts.url, socket.nsp, socket.io.opts.query];
  };
  assert.deepEqual(parse("https://host"), ["https://host/socket.io/", "/", undefined]);
  assert.deepEqual(parse("wss://host:8080/news?a=1&b=2"), ["https://host:8080/socket.io/", "/news", { a: "1", b: "2" }]);
  assert.deepEqual(parse("http://host/müll/%2F"), ["http://host/socket.io/", "/müll/%2F", undefined]);
  assert.deepEqual(parse("http://host", { path: "/rt" }), ["http://host/rt/", "/", undefined]);
  assert.deepEqual(parse("http://host", { path: "/rt/", addTrailingSlash: false })[0], "http://host/rt");
});
