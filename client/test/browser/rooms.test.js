// A page's rooms, in a real browser, with the script that its tag loads: rows N-57 to N-71 and N-73.
// nodevent/rooms.test.js tests the same in Node, and more cases.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Server, keyFor } from "../support/server.js";
import { until } from "../support/until.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const server = new Server();
let browser;
let web;
let context;
let page;
let complaints;

/** The page's own script: records a list of arguments for each of the given events. */
const RECORD = `
  window.record = (target, ...names) => {
    const received = {};
    for (const name of names) {
      received[name] = [];
      target.on(name, (...args) => received[name].push(args));
    }
    return received;
  };
  window.join = (room) => new Promise((resolve) => room.join(resolve));`;

before(async () => {
  browser = await launch();
  web = await servePages({ "/record.js": RECORD });
});

beforeEach(() => server.ensure());
afterEach(() => context?.close());

after(async () => {
  await browser?.close();
  await web?.close();
  await server.close();
});

async function load(tags) {
  web.pages["/"] = `<!doctype html><meta charset="utf-8">${tags}<script src="/record.js"></script>`;
  ({ page, context, complaints } = await open(browser, web.url));
}

/** Opens a page with the tag of a namespace; its room is in a global variable. */
async function start(namespace = "nodevent") {
  await load(`<script src="${server.url}/api/${namespace}"></script>`);
  await page.evaluate('window.room = NoDevent.room("theroom"); undefined');
}

/** Publishes, and waits until a witness room of the page has received a later publication. */
async function publish(...publications) {
  await page.evaluate('window.ended = new Promise((resolve) => NoDevent.room("witness").once("end", resolve)); join(NoDevent.room("witness"))');
  await server.publish([...publications, { room: "witness", event: "end" }]);
  await page.evaluate("ended");
}

async function stop() {
  await server.stop();
  await holds(page, "!NoDevent.connected()");
}

async function restart() {
  await stop();
  await server.start();
  await holds(page, "NoDevent.connected()");
}

test("the tag loads dist/nodevent.js", async () => {
  const served = await (await fetch(`${server.url}/api/nodevent`)).text();
  const built = readFileSync(`${root}/dist/nodevent.js`, "utf8");
  const code = (text) => text.replace(/\n\/\/# sourceMappingURL=.*\s*$/, "").trimEnd();
  assert.ok(code(built).length > 10_000);
  assert.equal(code(served), code(built));
});

test("N-57 an unreachable server fires connect_failed for the first attempt, error for each, reconnect_failed at the end", async () => {
  await load('<script src="/dist/nodevent.js"></script>');
  await server.stop();
  await page.evaluate(`
    window.other = NoDevent.connect({ url: "${server.url}", reconnectionAttempts: 2, reconnectionDelay: 10 });
    window.received = record(other, "connect", "connect_failed", "error", "reconnecting", "reconnect_failed");
    undefined`);
  await holds(page, "received.reconnect_failed.length");
  const counts = await page.evaluate("Object.fromEntries(Object.entries(received).map(([name, calls]) => [name, calls.length]))");
  assert.deepEqual(counts, { connect: 0, connect_failed: 1, error: 3, reconnecting: 2, reconnect_failed: 1 });
  assert.equal(await page.evaluate("received.error.every(([error]) => error instanceof Error)"), true);
  assert.deepEqual(await page.evaluate("received.reconnecting.map(([delay, attempt]) => [typeof delay, attempt])"), [["number", 1], ["number", 2]]);
});

test("N-58 a room is the same object for the same name, and has its name", async () => {
  await start();
  assert.deepEqual(
    await page.evaluate('[room === NoDevent.room("theroom"), room === NoDevent.room("other"), room.id, NoDevent.room(42) === NoDevent.room("42")]'),
    [true, false, "theroom", true],
  );
});

test("N-59 N-61 a join callback runs for one attempt, the join event fires for every attempt", async () => {
  await start();
  await page.evaluate("window.calls = []; window.received = record(room, 'join'); room.join((err) => calls.push(err)); undefined");
  await holds(page, "calls.length");
  for (const attempt of [2, 3]) {
    await restart();
    await holds(page, `received.join.length === ${attempt}`);
  }
  assert.deepEqual(await page.evaluate("calls"), [null]);
  assert.deepEqual(await page.evaluate("received.join.map(([err]) => err)"), [null, null, null]);
});

test("N-59 N-61 a refused join passes the reason to its callback and to the event", async () => {
  await start("protected");
  await page.evaluate("window.calls = []; window.received = record(room, 'join'); room.join((err) => calls.push(err)); undefined");
  await holds(page, "calls.length && received.join.length");
  assert.deepEqual(await page.evaluate("[calls, received.join.map(([err]) => err), room.joined]"), [["Must provide key"], ["Must provide key"], false]);
});

test("N-60 a join requested while the server is down completes as soon as the server is up", async () => {
  await load('<script src="/dist/nodevent.js"></script>');
  await server.stop();
  await page.evaluate(`
    window.calls = [];
    window.other = NoDevent.connect({ url: "${server.url}", reconnectionDelay: 20, reconnectionDelayMax: 100 });
    window.received = record(other, "error");
    other.room("theroom").join((err) => calls.push(err));
    undefined`);
  await holds(page, "received.error.length >= 2");
  assert.deepEqual(await page.evaluate("calls"), []);
  await server.start();
  await holds(page, "calls.length");
  assert.deepEqual(await page.evaluate("calls"), [null]);
});

test("N-62 a key that is set before the join is used", async () => {
  await start("protected");
  assert.equal(await page.evaluate(`join(room.setKey("${keyFor("theroom")}"))`), null);
  await page.evaluate("window.received = record(room, 'e'); undefined");
  await server.emit("theroom", "e", "secret", "protected");
  await holds(page, "received.e.length");
  assert.deepEqual(await page.evaluate("received.e"), [["secret"]]);
});

test("N-63 a key that is set after join sends a join immediately, and getKey returns it", async () => {
  await start("protected");
  const good = keyFor("theroom");
  await page.evaluate('room.setKey("bad:4102444800000"); window.received = record(room, "join"); undefined');
  assert.equal(await page.evaluate("join(room)"), "Bad key");
  assert.equal(await page.evaluate(`room.setKey("${good}").getKey()`), good);
  await holds(page, "received.join.length === 2");
  assert.deepEqual(await page.evaluate("[received.join.map(([err]) => err), room.joined]"), [["Bad key", null], true]);
});

test("N-63 a key that is set before join is only stored", async () => {
  await start("protected");
  await page.evaluate(`window.received = record(room, "join"); room.setKey("${keyFor("theroom")}"); undefined`);
  assert.equal(await page.evaluate('join(NoDevent.room("another"))'), "Must provide key");
  assert.deepEqual(await page.evaluate("[received.join, room.joined]"), [[], false]);
});

test("N-64 rooms are joined again after a restart, without any action of the page", async () => {
  await start("protected");
  await page.evaluate(`join(room.setKey("${keyFor("theroom")}"))`);
  await page.evaluate("window.received = record(room, 'e'); undefined");
  await restart();
  await holds(page, "room.joined");
  await server.emit("theroom", "e", "again", "protected");
  await holds(page, "received.e.length");
  assert.deepEqual(await page.evaluate("received.e"), [["again"]]);
});

test("N-65 a key that expired during a disconnect is refused on the rejoin, and setKey recovers", async () => {
  await start("protected");
  await holds(page, "NoDevent.connected()");
  const expires = Date.now() + 3000;
  assert.equal(await page.evaluate(`join(room.setKey("${keyFor("theroom", expires)}"))`), null);
  await page.evaluate('window.received = record(room, "join", "key-expired"); undefined');
  await stop();
  await until(() => Date.now() > expires, "the key to expire");
  await server.start();
  await holds(page, 'received["key-expired"].length');
  assert.deepEqual(await page.evaluate('[received.join.map(([err]) => err), received["key-expired"][0][0] === room, room.joined]'), [["Time has passed"], true, false]);
  await page.evaluate(`room.setKey("${keyFor("theroom")}") && undefined`);
  await holds(page, "room.joined");
  assert.deepEqual(await page.evaluate("received.join.map(([err]) => err)"), ["Time has passed", null]);
});

test("N-65 with a key function the client fetches a new key on the rejoin, and the page sees no error", async () => {
  await start("protected");
  await holds(page, "NoDevent.connected()");
  const expires = Date.now() + 3000;
  web.pages["/key"] = keyFor("theroom", expires);
  await page.evaluate('room.setKey(async (of) => (await fetch(`/key?${of.id}`)).text()) && undefined');
  assert.equal(await page.evaluate("join(room)"), null);
  await page.evaluate('window.received = record(room, "join", "key-expired"); undefined');
  const fresh = keyFor("theroom");
  web.pages["/key"] = fresh;
  await stop();
  await until(() => Date.now() > expires, "the key to expire");
  await server.start();
  await holds(page, "room.joined");
  assert.deepEqual(await page.evaluate('[received.join.map(([err]) => err), received["key-expired"], room.getKey()]'), [[null], [], fresh]);
});

test("N-66 leave runs its callback, fires leave without an error, and ends the events", async () => {
  await start();
  await page.evaluate("join(room)");
  await page.evaluate("window.calls = []; window.received = record(room, 'leave', 'e'); room.leave((err) => calls.push(err)); undefined");
  await holds(page, "calls.length");
  await publish({ room: "theroom", event: "e" });
  await restart();
  await publish({ room: "theroom", event: "e" });
  assert.deepEqual(await page.evaluate("[calls, received.leave, received.e]"), [[null], [[null]], []]);
});

test("N-67 a lost connection fires leave with an error", async () => {
  await start();
  await page.evaluate("join(room)");
  await page.evaluate('window.received = record(room, "leave"); window.idle = record(NoDevent.room("never joined"), "leave"); undefined');
  await stop();
  assert.deepEqual(await page.evaluate("[received.leave, idle.leave]"), [[["transport close"]], []]);
});

test("N-68 leaving while the server is down runs the callback, and the room is not joined again", async () => {
  await start();
  await page.evaluate("join(room)");
  await page.evaluate("window.calls = []; window.received = record(room, 'join', 'e'); undefined");
  await stop();
  await page.evaluate("room.leave((err) => calls.push(err ?? null)) && undefined");
  await holds(page, "calls.length");
  await server.start();
  await holds(page, "NoDevent.connected()");
  await publish({ room: "theroom", event: "e" });
  assert.deepEqual(await page.evaluate("[calls, received.join, received.e]"), [[null], [], []]);
});

test("N-69 an event has its message, undefined if there is none, and events of other rooms do not arrive", async () => {
  await start();
  await page.evaluate("join(room)");
  await page.evaluate("window.received = record(room, 'e', 'bare'); undefined");
  await publish(
    { room: "theroom", event: "e", message: { text: "ünï☃\u2028", list: [1, null, false] } },
    { room: "theroom", event: "bare" },
    { room: "other", event: "e", message: "not for us" },
  );
  assert.deepEqual(await page.evaluate("received.e"), [[{ text: "ünï☃\u2028", list: [1, null, false] }]]);
  assert.equal(await page.evaluate("received.bare.length === 1 && received.bare[0].length === 1 && received.bare[0][0] === undefined"), true);
});

test("N-70 backend events with the names of our own events break nothing", async () => {
  const names = ["join", "leave", "error", "newListener", "removeListener", "connect", "disconnect", "__proto__", "constructor"];
  await start();
  await page.evaluate("join(room)");
  await page.evaluate(`
    window.any = [];
    room.onAny((event, message) => any.push([event, message]));
    window.received = record(room, "join", "leave", "error", "newListener");
    undefined`);
  await publish(...names.map((event) => ({ room: "theroom", event, message: `about ${event}` })));
  assert.deepEqual(await page.evaluate("any"), names.map((name) => [name, `about ${name}`]));
  assert.deepEqual(await page.evaluate("received"), { join: [], leave: [], error: [["about error"]], newListener: [["about newListener"]] });
  assert.equal(await page.evaluate("new Promise((resolve) => room.leave(resolve))"), null);
  assert.deepEqual(complaints, []);
});

test("N-71 a room has the event methods of the old client", async () => {
  await start();
  const seen = await page.evaluate(() => {
    const received = [];
    const a = (message) => received.push(["a", message]);
    const b = (message) => received.push(["b", message]);
    const counts = [];
    const count = () => counts.push([room.listeners("e").length, room.listeners("f").length]);
    room.addListener("e", a);
    room.once("e", b);
    count();
    room.emit("e", 1);
    room.emit("e", 2);
    count();
    room.removeListener("e", a);
    count();
    room.on("e", a);
    room.off("e", a);
    room.on("e", a).on("f", b);
    count();
    const each = [];
    room.eachListener("e", (listener) => each.push(listener === a));
    room.removeAllListeners("e");
    count();
    room.removeAllListeners();
    count();
    return { received, counts, each, chained: room.setMaxListeners(1) === room };
  });
  assert.deepEqual(seen, {
    received: [["a", 1], ["b", 1], ["a", 2]],
    counts: [[2, 0], [1, 0], [0, 0], [1, 1], [0, 1], [0, 0]],
    each: [true],
    chained: true,
  });
});

test("N-73 the CommonJS controller accepts a stock socket in a page, and down() leaves the socket connected", async () => {
  const { outputFiles } = await build({
    stdin: { contents: 'window.nodevent = require("nodevent"); window.stock = require("socket.io-client");', resolveDir: root },
    bundle: true,
    write: false,
    format: "iife",
    alias: { nodevent: `${root}/dist/nodevent.cjs` },
    logLevel: "warning",
  });
  web.pages["/bundle.js"] = outputFiles[0].text;
  await load('<script src="/bundle.js"></script>');
  await page.evaluate(`
    window.calls = [];
    window.NoDevent = new nodevent.NoDeventController();
    window.room = NoDevent.room("theroom");
    room.join((err) => calls.push(err));
    window.received = record(room, "e", "join");
    window.fired = record(NoDevent, "connect", "disconnect", "reconnecting", "reconnect");
    window.socket = stock.io("${server.url}/nodevent", { reconnectionDelay: 50, reconnectionDelayMax: 100 });
    NoDevent.setSocket(socket);
    undefined`);
  await holds(page, "calls.length");
  await publish({ room: "theroom", event: "e", message: "over a stock socket" });
  await restart();
  await holds(page, "received.join.length === 2");
  await publish({ room: "theroom", event: "e", message: "and again" });
  assert.deepEqual(await page.evaluate("[calls, received.e]"), [[null], [["over a stock socket"], ["and again"]]]);
  assert.equal(await page.evaluate("fired.connect.length === 2 && fired.disconnect.length === 1 && fired.reconnecting.length >= 1 && fired.reconnect.length === 1"), true);
  assert.deepEqual(await page.evaluate("[NoDevent.down() === NoDevent, NoDevent.connected(), socket.connected, NoDevent.room('theroom') === room]"), [true, false, true, false]);
});
