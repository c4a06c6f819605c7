// A browser on a bad network: cut, filtered, asleep. Through a relay in front of the real server,
// under a host name that is not a loopback name, because the client ignores `offline` for loopback.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Relay } from "../support/proxy.js";
import { Server } from "../support/server.js";
import { until } from "../support/until.js";

const server = new Server({ ping: { interval: "500ms", timeout: "500ms" } });
let browser;
let web;
let relay;
let page;
let context;

before(async () => {
  await server.start();
  browser = await launch();
  web = await servePages({});
});

after(async () => {
  await browser?.close();
  await web?.close();
  await server.close();
});

beforeEach(async () => {
  await server.ensure();
  relay = await new Relay(() => server.port).start();
  web.pages["/page.js"] = `
    window.fired = [];
    window.received = [];
    for (const name of ["connecting", "connect", "disconnect", "reconnecting"])
      NoDevent.on(name, (...args) => fired.push([name, ...args]));
    NoDevent.room("r").join().on("e", (message) => received.push(message));`;
  web.pages["/"] = `<!doctype html><script src="http://nodevent.test:${relay.port}/api/nodevent"></script><script src="/page.js"></script>`;
});

afterEach(async () => {
  await context?.close();
  await relay.close();
});

async function start() {
  ({ page, context } = await open(browser, web.on("nodevent.test")));
  await joined();
}

const joined = () => holds(page, 'NoDevent.room("r").joined');
const count = (name) => page.evaluate((wanted) => fired.filter(([one]) => one === wanted).length, name);
const transport = () => page.evaluate("NoDevent.socket.io.engine.transport.name");

test("N-55 N-64 a lost network fires disconnect immediately, and all works again as soon as it is back", async () => {
  await start();
  await context.setOffline(true);
  await until(() => count("disconnect"));
  assert.equal(await page.evaluate("NoDevent.connected()"), false);
  await server.emit("r", "e", "while it was disconnected");
  await context.setOffline(false);
  await joined();
  await server.emit("r", "e", "back");
  await holds(page, 'received.includes("back")');
  assert.deepEqual(await page.evaluate("received"), ["while it was disconnected", "back"]);
});

test("a cut connection is re-established without any action of the page", async () => {
  await start();
  relay.cut();
  await until(async () => (await count("connect")) === 2);
  await joined();
  await server.emit("r", "e", 1);
  await holds(page, "received.length === 1");
});

test("if a proxy forbids WebSockets, the page receives over polling", async () => {
  relay.forbid = /upgrade: websocket/i;
  await start();
  assert.equal(await transport(), "polling");
  for (let n = 0; n < 10; n++) await server.emit("r", "e", n);
  await holds(page, "received.length === 10");
  assert.deepEqual(await page.evaluate("received"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  relay.heads = [];
  relay.cut();
  await until(async () => (await count("connect")) === 2);
  assert.match(relay.heads.find((head) => !head.includes("sid=")), /transport=polling/);
});

test("a laptop that slept: its page was frozen, its connection is lost, and it recovers soon after waking", async () => {
  await start();
  const devtools = await context.newCDPSession(page);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  relay.mode = "swallow";
  const asleep = performance.now();
  await until(() => performance.now() - asleep > 2500, "the server to give the page up");
  relay.mode = "open";
  relay.cut();
  await server.emit("r", "e", "while it slept");
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await until(async () => (await count("connect")) === 2, "the page to be connected again", 8000);
  await joined();
  await server.emit("r", "e", "awake");
  await holds(page, 'received.includes("awake")');
  assert.deepEqual(await page.evaluate("received"), ["while it slept", "awake"]);
});

test("N-64 a page in a background tab recovers when it becomes visible", async () => {
  await start();
  const other = await context.newPage();
  await other.bringToFront();
  await server.stop();
  await until(() => count("disconnect"));
  await server.start();
  await page.bringToFront();
  await joined();
});

test("a stopping server requests a delay, and the page waits for it and recovers", async () => {
  await start();
  await page.evaluate('window.drains = []; NoDevent.socket.on("drain", (message) => drains.push(message)) && undefined');
  await server.stop("SIGTERM");
  await until(() => count("reconnecting"));
  const drains = await page.evaluate("drains");
  assert.equal(drains.length, 1);
  const [, delay, attempt] = await page.evaluate("fired.find(([name]) => name === 'reconnecting')");
  assert.deepEqual([delay, attempt], [drains[0].wait, 1]);
  await server.start();
  await until(async () => (await count("connect")) === 2);
  await joined();
});

test("offline without online: the client retries by itself, whatever the browser reports", async () => {
  await start();
  // No event of the browser follows: it never reports `online`, and the page stays visible.
  await page.evaluate("window.dispatchEvent(new Event('offline'))");
  await until(() => count("disconnect"));
  await until(async () => (await count("connect")) === 1);
  await joined();
  await server.emit("r", "e", "after offline");
  await holds(page, 'received.includes("after offline")');
});

test("a clock that is set back an hour does not hide a half-open connection", async () => {
  await start();
  await page.evaluate("{ const { now } = Date; Date.now = () => now() - 3_600_000; }");
  relay.mode = "swallow";
  const begun = performance.now();
  await until(() => count("disconnect"));
  assert.ok(performance.now() - begun < 8000, "the heartbeat allows a second of silence, checked every five");
  assert.deepEqual((await page.evaluate("fired.find(([name]) => name === 'disconnect')"))[1], "ping timeout");
  relay.cut();
  relay.mode = "open";
  await joined();
});

for (const rooms of [350, 600]) {
  test(`${rooms} rooms of a page are all joined again after a lost connection, in one connection`, async () => {
    const many = await new Server({ limits: { max_rooms_per_connection: 1000 } }).start();
    const between = await new Relay(() => many.port).start();
    web.pages["/many.js"] = `window.rooms = Array.from({ length: ${rooms} }, (_, n) => NoDevent.room("room " + n).join());
      window.disconnects = 0; NoDevent.on("disconnect", () => disconnects++);
      window.received = 0; for (const room of rooms) room.on("e", () => received++);`;
    web.pages["/"] = `<!doctype html><script src="http://nodevent.test:${between.port}/api/nodevent"></script><script src="/many.js"></script>`;
    let complaints;
    ({ page, context, complaints } = await open(browser, web.on("nodevent.test")));
    const all = () => holds(page, "rooms.every((room) => room.joined)");
    await all();
    between.cut();
    await holds(page, "disconnects === 1");
    await all();
    await many.publish(Array.from({ length: rooms }, (_, n) => ({ room: "room " + n, event: "e" })));
    await holds(page, `received === ${rooms}`);
    assert.equal(await page.evaluate("disconnects"), 1, "the server does not close the connection for its packets");
    assert.deepEqual(complaints.filter((line) => line.startsWith("NoDevent")), []);
    await between.close();
    await many.close();
  });
}
