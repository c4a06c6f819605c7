// How often keys and tokens are renewed: before they end, and never without a pause, whatever the application returns.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { connect } from "../../src/nodevent/connect.js";
import { Renewal } from "../../src/nodevent/renewal.js";
import { recordWarnings, turn } from "../support/until.js";
import { Wire } from "../support/wire.js";

let nodevent;

afterEach(() => nodevent?.close());

const connectTo = (wire, options) =>
  connect({ url: "http://nodevent.test", WebSocket: wire.WebSocket, transports: ["websocket"], ...options });

/** A JSON Web Token that ends at a time in seconds; a name distinguishes those of the same end. */
const tokenUntil = (exp, name) => `e30.${Buffer.from(JSON.stringify({ exp, name })).toString("base64url")}.c2ln`;

/** A page with a token that the server has accepted, and mocked timers. */
async function identified(t, token, expiresIn) {
  const wire = new Wire();
  nodevent = connectTo(wire, { token });
  await turn();
  const end = wire.last;
  end.open();
  await turn();
  end.admit();
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.now() });
  end.event("identified", { user: "ann", expires_in: expiresIn });
  return end;
}

/** Lets time pass in small steps, and answers each token with its remaining lifetime. */
async function pass(t, end, milliseconds, expiresIn) {
  for (let passed = 0; passed < milliseconds; passed += 100) {
    t.mock.timers.tick(100);
    await turn();
    while (end.received.length) {
      if (end.received[0].startsWith("42"))
        end.ack(end.takeEvent().id, [null, { user: "ann", expires_in: expiresIn() }]);
      else end.take();
    }
  }
}

test("what ends later than the one before is renewed at 80 to 90 % of its lifetime", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 0 });
  let renewals = 0;
  const renewal = new Renewal(() => renewals++);
  for (const end of [100_000, 200_000, 300_000]) {
    renewal._start(end - Date.now(), end);
    const left = end - Date.now();
    renewals = 0;
    t.mock.timers.tick(left * 0.79);
    assert.equal(renewals, 0);
    t.mock.timers.tick(left * 0.12);
    assert.equal(renewals, 1);
  }
});

test("what does not end later is renewed when it has ended, and then after growing delays", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 0 });
  t.mock.method(Math, "random", () => 1);
  const times = [];
  const renewal = new Renewal(() => {
    times.push(Date.now());
    renewal._start(Math.max(0, 10_000 - Date.now()), 10_000);
  });
  renewal._start(10_000, 10_000);
  for (let n = 0; n < 1200; n++) t.mock.timers.tick(100);
  assert.deepEqual(times, [9000, 10_000, 14_000, 30_000, 60_000, 90_000, 120_000]);
});

test("what is valid for a moment only is renewed after growing delays, although each ends later", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 0 });
  t.mock.method(Math, "random", () => 1);
  let renewals = 0;
  const renewal = new Renewal(() => {
    renewals++;
    renewal._start(1);
  });
  renewal._start(1);
  for (let n = 0; n < 600; n++) t.mock.timers.tick(100);
  assert.equal(renewals, 4);
  renewal._start(100_000);
  assert.equal(renewal._failures, 0, "one that lasts ends the series");
});

test("tokens that all end with the session cause few requests", async (t) => {
  const ends = Date.now() + 6000;
  let asked = 0;
  const left = () => Math.max(0, ends - Date.now());
  const end = await identified(t, async () => tokenUntil(ends / 1000, ++asked), 6000);
  await pass(t, end, 40_000, left);
  assert.ok(asked >= 3 && asked <= 6, `${asked} requests`);
});

test("tokens that the server accepts with nothing left cause few requests", async (t) => {
  let asked = 0;
  const end = await identified(t, async () => tokenUntil(Date.now() / 1000 - 5, ++asked), 0);
  await pass(t, end, 30_000, () => 0);
  assert.ok(asked >= 2 && asked <= 6, `${asked} requests`);
});

test("a connection whose tokens expire again and again asks at once, and then after growing delays", async (t) => {
  let asked = 0;
  const end = await identified(t, async () => tokenUntil(Date.now() / 1000 + 60, ++asked), 0);
  for (let n = 0; n < 300; n++) {
    end.event("expired", {});
    await pass(t, end, 100, () => 0);
  }
  assert.ok(asked >= 3 && asked <= 6, `${asked} requests`);
});

test("a token that expired, as after the machine has slept, is replaced at once", async (t) => {
  let asked = 0;
  const end = await identified(t, async () => tokenUntil(Date.now() / 1000 + 60, ++asked), 60_000);
  end.event("expired", {});
  await turn();
  assert.equal(asked, 2);
});

test("the same token on the next connection is renewed in time", async (t) => {
  let token = tokenUntil(Date.now() / 1000 + 60);
  const end = await identified(t, () => token, 60_000);
  end.event("identified", { user: "ann", expires_in: 50_000 });
  token = tokenUntil(Date.now() / 1000 + 120);
  t.mock.timers.tick(46_000);
  await turn();
  assert.equal(end.takeEvent().args[0].token, token);
});

test("a failing source of tokens is asked after growing delays", async (t) => {
  recordWarnings(t);
  let asked = 0;
  const wire = new Wire();
  const token = async () => {
    asked++;
    throw Error("offline");
  };
  nodevent = connectTo(wire, { timeout: 0, token });
  await turn();
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.now() });
  wire.last.open({ pingInterval: 1e9 });
  await pass(t, wire.last, 60_000, () => 0);
  assert.ok(asked >= 4 && asked <= 7, `${asked} requests`);
});

test("keys that all end with the session cause few requests", async (t) => {
  const ends = Date.now() + 6000;
  let asked = 0;
  const wire = new Wire();
  const key = async () => `${(++asked).toString(16).padStart(2, "0")}:${ends}`;
  nodevent = connectTo(wire, { key });
  const end = await wire.accept();
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.now() });
  nodevent.room("r").join();
  for (let n = 0; n < 300; n++) {
    t.mock.timers.tick(100);
    await turn();
    while (end.received.length) end.ack(end.takeEvent().id, [Date.now() < ends ? null : "Time has passed"]);
  }
  assert.ok(asked >= 2 && asked <= 5, `${asked} requests`);
});

test("a room whose keys expire as soon as it has joined is joined again after growing delays", async (t) => {
  t.mock.method(Math, "random", () => 0);
  let asked = 0;
  const wire = new Wire();
  nodevent = connectTo(wire, { key: () => `k:${++asked}` });
  const end = await wire.accept();
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const real = performance.now.bind(performance);
  let now = 0;
  t.mock.method(performance, "now", () => real() + now);
  nodevent.room("r").join();
  const accept = async () => {
    await turn();
    end.ack(end.takeEvent().id, [null, true]);
    end.event("expired", { room: "r" });
    await turn();
  };
  await accept();
  // The first time at once, as for a page that has slept.
  await accept();
  for (const delay of [500, 1000, 2000]) {
    assert.deepEqual(end.received, []);
    t.mock.timers.tick(delay - 1);
    await turn();
    assert.deepEqual(end.received, []);
    t.mock.timers.tick(1);
    await accept();
  }
  const before = asked;
  t.mock.timers.tick(4000);
  await turn();
  end.ack(end.takeEvent().id, [null, true]);
  // A membership that lasts.
  now += 120_000;
  end.event("expired", { room: "r" });
  await turn();
  assert.equal(asked, before + 2);
});
