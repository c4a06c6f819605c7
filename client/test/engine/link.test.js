// Keeping a session alive: heartbeat, backoff, offline, wake, drain. Over a scripted transport, with
// the test's own clock and the test's own `online`, `offline` and `visibilitychange`.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { backoff } from "../../src/engine/link.js";
import { Manager } from "../../src/socket/manager.js";
import { record, turn } from "../support/until.js";
import { Wire } from "../support/wire.js";

const EVENTS = ["trying", "open", "close", "error", "reconnecting", "reconnect", "reconnect_failed"];

let wire;
let page; // where the environment's events come from
let manager;
let heard;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  wire = new Wire();
  page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  globalThis.document = { hidden: false };
});

afterEach(() => {
  manager?._stop();
  mock.timers.reset();
  mock.restoreAll();
  delete globalThis.addEventListener;
  delete globalThis.removeEventListener;
  delete globalThis.document;
});

const say = (type) => page.dispatchEvent(new Event(type));

async function start(options = {}) {
  manager = new Manager("http://nodevent.test/socket.io/", { WebSocket: wire.WebSocket, transports: ["websocket"], ...options });
  heard = record(manager, ...EVENTS);
  const socket = manager.socket("/nodevent");
  await turn();
  return socket;
}

async function pass(milliseconds) {
  mock.timers.tick(milliseconds);
  await turn();
}

test("a ping is answered, and silence beyond the promised time is a lost connection", async () => {
  const socket = await start();
  const end = await wire.accept();
  const lost = record(socket, "disconnect").disconnect;
  await pass(44_000);
  end.say("2");
  assert.equal(end.take(), "3");
  await pass(44_900);
  assert.deepEqual(lost, []);
  await pass(200);
  assert.deepEqual(lost, [["ping timeout", undefined]]);
  assert.ok(end.closedByClient);
});

test("a machine that slept for an hour knows within five seconds of waking", async () => {
  const socket = await start();
  await wire.accept();
  const lost = record(socket, "disconnect").disconnect;
  // The clock on the wall went on, the timers stood still.
  const now = Date.now();
  mock.method(Date, "now", () => now + 3_600_000);
  assert.deepEqual(lost, []);
  await pass(5000);
  assert.deepEqual(lost, [["ping timeout", undefined]]);
});

test("a page that becomes visible knows at once that its connection is long dead, and comes back at once", async () => {
  await start();
  await wire.accept();
  const now = Date.now();
  mock.method(Date, "now", () => now + 3_600_000);
  say("visibilitychange");
  assert.equal(heard.close[0][0], "ping timeout");
  await turn();
  assert.equal(wire.ends.length, 2, "no wait before the first attempt");
});

test("a page that is hidden is left alone", async () => {
  await start();
  await wire.accept();
  const now = Date.now();
  mock.method(Date, "now", () => now + 3_600_000);
  globalThis.document.hidden = true;
  say("visibilitychange");
  assert.deepEqual(heard.close, []);
});

test("backoff: the ceiling doubles to its maximum, and full jitter lies anywhere below it", () => {
  const options = { reconnectionDelay: 1000, reconnectionDelayMax: 5000, randomizationFactor: 1 };
  const ceilings = [0, 1, 2, 3, 50].map((failures) => backoff(options, failures, () => 0));
  assert.deepEqual(ceilings, [1000, 2000, 4000, 5000, 5000]);
  assert.equal(backoff(options, 3, () => 1), 0);
  assert.equal(backoff({ ...options, randomizationFactor: 0 }, 1, () => 0.7), 2000);
  const drawn = Array.from({ length: 1000 }, () => backoff(options, 3));
  assert.ok(Math.min(...drawn) < 500 && Math.max(...drawn) > 4500 && drawn.every((ms) => ms >= 0 && ms <= 5000));
});

test("attempts are counted, told before and after, and end with what came of them", async () => {
  await start({ randomizationFactor: 0 });
  wire.last.drop();
  assert.equal(heard.error.length, 1);
  assert.deepEqual(heard.reconnecting, [[1000, 1]]);
  await pass(1000);
  assert.equal(wire.ends.length, 2);
  wire.last.drop();
  assert.equal(heard.error.length, 2);
  assert.deepEqual(heard.reconnecting[1], [2000, 2]);
  await pass(2000);
  wire.last.open();
  assert.deepEqual(heard.reconnect, [[2]]);
  assert.equal(heard.open.length, 1);
});

test("after the last allowed attempt it says so and stops", async () => {
  await start({ randomizationFactor: 0, reconnectionAttempts: 2 });
  wire.last.drop();
  await pass(1000);
  wire.last.drop();
  await pass(2000);
  wire.last.drop();
  assert.equal(heard.reconnect_failed.length, 1);
  await pass(60_000);
  assert.equal(wire.ends.length, 3);
});

test("a server that takes connections and drops them at once is asked more and more slowly", async () => {
  await start({ randomizationFactor: 0 });
  for (const delay of [1000, 2000, 4000, 5000]) {
    await wire.accept();
    wire.last.drop();
    assert.deepEqual(heard.reconnecting.at(-1), [delay, 1]);
    await pass(delay);
  }
  // One that lasted is forgiven.
  await wire.accept();
  await pass(6000);
  wire.last.drop();
  assert.deepEqual(heard.reconnecting.at(-1), [1000, 1]);
});

test("offline: the connection is given up, nothing is tried, and online tries at once", async () => {
  await start({ randomizationFactor: 0 });
  const end = await wire.accept();
  say("offline");
  assert.deepEqual(heard.close, [["transport close", undefined]]);
  assert.ok(end.closedByClient);
  await pass(600_000);
  assert.equal(wire.ends.length, 1);
  say("online");
  await turn();
  assert.equal(wire.ends.length, 2);
});

test("while it waits, a page that becomes visible or comes online tries at once", async () => {
  for (const event of ["visibilitychange", "online"]) {
    await start({ randomizationFactor: 0 });
    const before = wire.ends.length;
    wire.last.drop();
    say(event);
    await turn();
    assert.equal(wire.ends.length, before + 1, event);
    manager._stop();
  }
});

test("being offline means nothing for a server on the same machine", async () => {
  manager = new Manager("http://127.0.0.1:1/socket.io/", { WebSocket: wire.WebSocket, transports: ["websocket"] });
  manager.socket("/nodevent");
  await wire.accept();
  say("offline");
  assert.equal(manager._readyState, "open");
});

test("a draining server says when to come back: not before, whatever the page does, and then at once", async () => {
  await start({ randomizationFactor: 0 });
  await wire.accept();
  manager.retryAfter(7000);
  wire.last.drop(1001);
  assert.deepEqual(heard.reconnecting, [[7000, 1]]);
  say("visibilitychange");
  await pass(6999);
  assert.equal(wire.ends.length, 1);
  await pass(1);
  assert.equal(wire.ends.length, 2);
  wire.last.drop();
  assert.deepEqual(heard.reconnecting.at(-1), [1000, 2], "asked once, not for ever");
});

test("a wait that is no wait is ignored, and a long one is bounded", async () => {
  await start({ randomizationFactor: 0 });
  for (const wrong of [-1, NaN, "5000", null, undefined, {}]) manager.retryAfter(wrong);
  await wire.accept();
  wire.last.drop();
  assert.equal(heard.reconnecting[0][0], 1000);
  await pass(1000);
  await wire.accept();
  manager.retryAfter(Infinity);
  wire.last.drop();
  assert.equal(heard.reconnecting[1][0], 300_000);
});

test("a wait that ends while offline leads to an attempt when the network is back", async () => {
  await start({ randomizationFactor: 0 });
  await wire.accept();
  manager.retryAfter(2000);
  wire.last.drop();
  say("offline");
  await pass(5000);
  assert.equal(wire.ends.length, 1);
  say("online");
  await turn();
  assert.equal(wire.ends.length, 2);
});

test("a handshake that never comes is a timeout; the next attempt is a new session", async () => {
  await start({ randomizationFactor: 0, timeout: 4000 });
  await pass(4000);
  assert.equal(heard.error[0][0].message, "timeout");
  await pass(1000);
  assert.equal(wire.ends.length, 2);
});

test("what is not a handshake, and a packet that is none, end the session", async () => {
  for (const text of ["0", "0null", "0{}", '0{"sid":"x"}', '0{"sid":"x","pingInterval":"a","pingTimeout":1}']) {
    await start({ reconnection: false });
    wire.last.open(null);
    wire.last.say(text);
    assert.match(heard.error[0][0].message, /parse error/, text);
  }
  for (const text of ["hello", "", "7", "4☃", "42", '42["connect"]', "4{"]) {
    await start({ reconnection: false });
    await wire.accept();
    wire.last.say(text);
    assert.equal(heard.close[0][0], "parse error", text);
    assert.ok(wire.last.closedByClient);
  }
});

test("a second handshake in one session ends it", async () => {
  await start({ reconnection: false });
  await wire.accept();
  wire.last.say('0{"sid":"another","pingInterval":25000,"pingTimeout":20000}');
  assert.equal(heard.close[0][0], "parse error");
});

test("after it has given up, connect tries again", async () => {
  const socket = await start({ randomizationFactor: 0, reconnectionAttempts: 1 });
  wire.last.drop();
  await pass(1000);
  wire.last.drop();
  assert.equal(heard.reconnect_failed.length, 1);
  socket.connect();
  await wire.accept();
  assert.equal(socket.connected, true);
});

test("another namespace waits for the attempt that is planned, and asks for itself then", async () => {
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

test("asking to connect twice is asking once", async () => {
  const socket = await start();
  socket.connect();
  await turn();
  wire.last.open();
  socket.connect();
  assert.deepEqual(wire.last.received, ["40/nodevent,"]);
  assert.equal(wire.ends.length, 1);
});

test("stopping takes every timer and every listener away", async () => {
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
