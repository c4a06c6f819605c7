// Keeping a connection alive: heartbeat, backoff, offline, wake-up, drain. Over a scripted transport, with
// the test's clock and the test's `online`, `offline` and `visibilitychange` events.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { backoff } from "../../src/engine/connection.js";
import { Manager } from "../../src/socket/manager.js";
import { record, turn } from "../support/until.js";
import { Wire } from "../support/wire.js";

const EVENTS = ["trying", "open", "close", "error", "reconnecting", "reconnect", "reconnect_failed"];

let wire;
let page; // dispatches the environment's events
let manager;
let received;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  wire = new Wire();
  page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  globalThis.document = { hidden: false };
});

afterEach(() => {
  manager?._connection._stop();
  mock.timers.reset();
  mock.restoreAll();
  delete globalThis.addEventListener;
  delete globalThis.removeEventListener;
  delete globalThis.document;
});

const say = (type) => page.dispatchEvent(new Event(type));

async function start(options = {}) {
  manager = new Manager("http://nodevent.test/socket.io/", { WebSocket: wire.WebSocket, transports: ["websocket"], ...options });
  received = record(manager, ...EVENTS);
  const socket = manager.socket("/nodevent");
  await turn();
  return socket;
}

async function pass(milliseconds) {
  mock.timers.tick(milliseconds);
  await turn();
}

test("a ping gets a pong, and a silent server counts as a lost connection after the promised time", async () => {
  const socket = await start();
  const end = await wire.accept();
  const lost = record(socket, "disconnect").disconnect;
  await pass(44_000);
  end.deliver("2");
  assert.equal(end.take(), "3");
  await pass(44_900);
  assert.deepEqual(lost, []);
  await pass(200);
  assert.deepEqual(lost, [["ping timeout", undefined]]);
  assert.ok(end.closedByClient);
});

test("a machine that slept for an hour detects a lost connection within five seconds of waking", async () => {
  const socket = await start();
  await wire.accept();
  const lost = record(socket, "disconnect").disconnect;
  // The clock advanced, but the timers were paused.
  const now = Date.now();
  mock.method(Date, "now", () => now + 3_600_000);
  assert.deepEqual(lost, []);
  await pass(5000);
  assert.deepEqual(lost, [["ping timeout", undefined]]);
});

test("a clock that is set back an hour does not hide a lost connection", async () => {
  const socket = await start();
  await wire.accept();
  const lost = record(socket, "disconnect").disconnect;
  // The monotonic clock and the timers go on, the wall clock is an hour behind.
  let monotonic = performance.now();
  mock.method(performance, "now", () => monotonic);
  const now = Date.now() - 3_600_000;
  mock.method(Date, "now", () => now);
  for (let passed = 0; passed < 45_000; passed += 5000) {
    assert.deepEqual(lost, []);
    monotonic += 5000;
    await pass(5000);
  }
  await pass(1000);
  assert.deepEqual(lost, [["ping timeout", undefined]]);
});

test("a page that becomes visible detects a dead connection immediately and reconnects", async () => {
  await start();
  await wire.accept();
  const now = Date.now();
  mock.method(Date, "now", () => now + 3_600_000);
  say("visibilitychange");
  assert.equal(received.close[0][0], "ping timeout");
  await turn();
  assert.equal(wire.ends.length, 2, "no delay before the first attempt");
});

test("a page that becomes hidden changes nothing", async () => {
  await start();
  await wire.accept();
  const now = Date.now();
  mock.method(Date, "now", () => now + 3_600_000);
  globalThis.document.hidden = true;
  say("visibilitychange");
  assert.deepEqual(received.close, []);
});

test("backoff: the ceiling doubles up to its maximum, and full jitter is anywhere below it", () => {
  const options = { reconnectionDelay: 1000, reconnectionDelayMax: 5000, randomizationFactor: 1 };
  const ceilings = [0, 1, 2, 3, 50].map((failures) => backoff(options, failures, () => 0));
  assert.deepEqual(ceilings, [1000, 2000, 4000, 5000, 5000]);
  assert.equal(backoff(options, 3, () => 1), 0);
  assert.equal(backoff({ ...options, randomizationFactor: 0 }, 1, () => 0.7), 2000);
  const drawn = Array.from({ length: 1000 }, () => backoff(options, 3));
  assert.ok(Math.min(...drawn) < 500 && Math.max(...drawn) > 4500 && drawn.every((ms) => ms >= 0 && ms <= 5000));
});

test("attempts are counted and reported before and after", async () => {
  await start({ randomizationFactor: 0 });
  wire.last.drop();
  assert.equal(received.error.length, 1);
  assert.deepEqual(received.reconnecting, [[1000, 1]]);
  await pass(1000);
  assert.equal(wire.ends.length, 2);
  wire.last.drop();
  assert.equal(received.error.length, 2);
  assert.deepEqual(received.reconnecting[1], [2000, 2]);
  await pass(2000);
  wire.last.open();
  assert.deepEqual(received.reconnect, [[2]]);
  assert.equal(received.open.length, 1);
});

test("after the last allowed attempt it fires reconnect_failed and stops", async () => {
  await start({ randomizationFactor: 0, reconnectionAttempts: 2 });
  wire.last.drop();
  await pass(1000);
  wire.last.drop();
  await pass(2000);
  wire.last.drop();
  assert.equal(received.reconnect_failed.length, 1);
  await pass(60_000);
  assert.equal(wire.ends.length, 3);
});

test("a server that accepts connections and drops them gets attempts at growing intervals", async () => {
  await start({ randomizationFactor: 0 });
  for (const delay of [1000, 2000, 4000, 5000]) {
    await wire.accept();
    wire.last.drop();
    assert.deepEqual(received.reconnecting.at(-1), [delay, 1]);
    await pass(delay);
  }
  // A connection that lasted resets the backoff.
  await wire.accept();
  await pass(6000);
  wire.last.drop();
  assert.deepEqual(received.reconnecting.at(-1), [1000, 1]);
});

test("offline closes the connection, retries continue with backoff, and online retries immediately", async () => {
  await start({ randomizationFactor: 0 });
  const end = await wire.accept();
  say("offline");
  assert.deepEqual(received.close, [["transport close", undefined]]);
  assert.ok(end.closedByClient);
  assert.deepEqual(received.reconnecting, [[1000, 1]]);
  await pass(1000);
  assert.equal(wire.ends.length, 2, "no event is needed for a retry");
  wire.last.drop();
  assert.deepEqual(received.reconnecting[1], [2000, 2]);
  say("online");
  await turn();
  assert.equal(wire.ends.length, 3);
});

test("a page that becomes visible or comes online retries immediately", async () => {
  for (const event of ["visibilitychange", "online"]) {
    await start({ randomizationFactor: 0 });
    const before = wire.ends.length;
    wire.last.drop();
    say(event);
    await turn();
    assert.equal(wire.ends.length, before + 1, event);
    manager._connection._stop();
  }
});

test("offline does not affect a server on the same machine", async () => {
  manager = new Manager("http://127.0.0.1:1/socket.io/", { WebSocket: wire.WebSocket, transports: ["websocket"] });
  manager.socket("/nodevent");
  await wire.accept();
  say("offline");
  assert.equal(manager._connection._readyState, "open");
});

test("a draining server sets the delay of the next attempt, whatever the page does", async () => {
  await start({ randomizationFactor: 0 });
  await wire.accept();
  manager.retryAfter(7000);
  wire.last.drop(1001);
  assert.deepEqual(received.reconnecting, [[7000, 1]]);
  say("visibilitychange");
  await pass(6999);
  assert.equal(wire.ends.length, 1);
  await pass(1);
  assert.equal(wire.ends.length, 2);
  wire.last.drop();
  assert.deepEqual(received.reconnecting.at(-1), [1000, 2], "the delay applies to one attempt");
});

test("a delay that is requested while an attempt is scheduled replaces its delay", async () => {
  await start({ randomizationFactor: 0 });
  wire.last.drop();
  assert.deepEqual(received.reconnecting, [[1000, 1]]);
  manager.retryAfter(60_000);
  await pass(59_999);
  assert.equal(wire.ends.length, 1);
  await pass(1);
  assert.equal(wire.ends.length, 2);
});

test("without any event of the browser a lost network is retried for ever", async () => {
  await start({ randomizationFactor: 0 });
  await wire.accept();
  say("offline");
  for (let attempts = 1; attempts <= 50; attempts++) {
    await pass(5000);
    assert.equal(wire.ends.length, attempts + 1);
    wire.last.drop();
  }
});

test("an invalid delay is ignored, and a long one is limited", async () => {
  await start({ randomizationFactor: 0 });
  for (const wrong of [-1, NaN, "5000", null, undefined, {}]) manager.retryAfter(wrong);
  await wire.accept();
  wire.last.drop();
  assert.equal(received.reconnecting[0][0], 1000);
  await pass(1000);
  await wire.accept();
  manager.retryAfter(Infinity);
  wire.last.drop();
  assert.equal(received.reconnecting[1][0], 300_000);
});

test("a server's delay is kept while offline, and online does not shorten it", async () => {
  await start({ randomizationFactor: 0 });
  await wire.accept();
  manager.retryAfter(2000);
  wire.last.drop();
  say("offline");
  say("online");
  await pass(1999);
  assert.equal(wire.ends.length, 1);
  await pass(1);
  assert.equal(wire.ends.length, 2);
});

test("a handshake that never comes is a timeout; the next attempt is a new session", async () => {
  await start({ randomizationFactor: 0, timeout: 4000 });
  await pass(4000);
  assert.equal(received.error[0][0].message, "timeout");
  await pass(1000);
  assert.equal(wire.ends.length, 2);
});

test("an invalid handshake and an invalid packet end the session", async () => {
  for (const text of ["0", "0null", "0{}", '0{"sid":"x"}', '0{"sid":"x","pingInterval":"a","pingTimeout":1}']) {
    await start({ reconnection: false });
    wire.last.open(null);
    wire.last.deliver(text);
    assert.match(received.error[0][0].message, /parse error/, text);
  }
  for (const text of ["hello", "", "7", "4☃", "42", '42["connect"]', "4{"]) {
    await start({ reconnection: false });
    await wire.accept();
    wire.last.deliver(text);
    assert.equal(received.close[0][0], "parse error", text);
    assert.ok(wire.last.closedByClient);
  }
});

test("a second handshake in one session ends it", async () => {
  await start({ reconnection: false });
  await wire.accept();
  wire.last.deliver('0{"sid":"another","pingInterval":25000,"pingTimeout":20000}');
  assert.equal(received.close[0][0], "parse error");
});

test("after reconnect_failed, connect() tries again", async () => {
  const socket = await start({ randomizationFactor: 0, reconnectionAttempts: 1 });
  wire.last.drop();
  await pass(1000);
  wire.last.drop();
  assert.equal(received.reconnect_failed.length, 1);
  socket.connect();
  await wire.accept();
  assert.equal(socket.connected, true);
});

test("another namespace waits for the scheduled attempt and connects with it", async () => {
  await start({ randomizationFactor: 0 });
  await wire.accept();
  manager.retryAfter(3000);
  wire.last.drop();
  manager.socket("/other");
  await pass(2999);
  assert.equal(wire.ends.length, 1);
  await pass(1);
  wire.last.open();
  assert.deepEqual(wire.last.received, ["40/nodevent,", "40/other,"]);
});

test("calling connect twice connects once", async () => {
  const socket = await start();
  socket.connect();
  await turn();
  wire.last.open();
  socket.connect();
  assert.deepEqual(wire.last.received, ["40/nodevent,"]);
  assert.equal(wire.ends.length, 1);
});

test("stopping removes every timer and every listener", async () => {
  let listeners = 0;
  globalThis.addEventListener = () => listeners++;
  globalThis.removeEventListener = () => listeners--;
  const socket = await start();
  assert.equal(listeners, 3);
  await wire.accept();
  wire.last.drop();
  socket.disconnect();
  assert.equal(listeners, 0);
  await pass(600_000);
  assert.equal(wire.ends.length, 1);
});
