// The script tag in a real browser, served by the real server: rows N-15, N-17, N-53 to N-56, N-72, N-74.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Server } from "../support/server.js";
import { until } from "../support/until.js";

let server;
let browser;
let web;
let loose; // a page server without a policy, for inline scripts

before(async () => {
  browser = await launch();
  web = await servePages({});
  loose = await servePages({}, { policy: "" });
  server = await new Server({ "/nodevent/x": {}, origins: [loose.on("page.test")] }).start();
});

after(async () => {
  await browser?.close();
  await web?.close();
  await loose?.close();
  await server?.close();
});

const tag = (path = "nodevent", host = "127.0.0.1") => `<script src="http://${host}:${server.port}/api/${path}"></script>`;

/** Opens a page with the given body; inline scripts are allowed. */
async function pageOf(body, host = "127.0.0.1", from = loose) {
  from.pages["/"] = `<!doctype html><meta charset="utf-8"><body>${body}</body>`;
  return open(browser, `${from.on(host)}/`);
}

test("N-53 N-15 NoDevent can be used right after its tag, before it is connected", async () => {
  const { page, context } = await pageOf(`${tag()}<script>
    window.first = [typeof NoDevent, NoDevent.connected(), NoDevent === NoDevent.room("theroom")];
    window.received = [];
    NoDevent.room("theroom").on("update", (message) => received.push(message)).join(() => received.push("joined"));
  </script>`);
  assert.deepEqual(await page.evaluate("first"), ["object", false, false]);
  await holds(page, 'received.includes("joined")');
  await server.emit("theroom", "update", { id: 1 });
  await holds(page, "received.length === 2");
  assert.deepEqual(await page.evaluate("received"), ["joined", { id: 1 }]);
  await context.close();
});

test("N-53 a policy without unsafe-inline is enough, and the console stays empty", async () => {
  web.pages["/page.js"] = `window.received = [];
    const connected = () => received.push("connected");
    // The page's second script may run after the connection is open.
    NoDevent.connected() ? connected() : NoDevent.on("connect", connected);
    NoDevent.room("theroom").join(() => received.push("joined"));`;
  const { page, context, complaints } = await pageOf(`${tag()}<script src="/page.js"></script>`, "127.0.0.1", web);
  await holds(page, "received.length === 2");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("N-54 N-55 N-56 N-57 connection events in the browser, over a restart", async () => {
  const { page, context } = await pageOf(`${tag()}<script>
    window.fired = [];
    for (const name of ["connecting", "connect", "disconnect", "close", "reconnecting", "reconnect"])
      NoDevent.on(name, (...args) => fired.push([name, NoDevent.connected(), ...args]));
  </script>`);
  const names = () => page.evaluate("fired.map(([name]) => name)");
  await until(async () => (await names()).includes("connect"));
  // The first attempt starts before the page's own script runs, so its event may be missed.
  assert.deepEqual(await page.evaluate("fired.at(-1)"), ["connect", true]);
  await server.stop();
  await until(async () => (await names()).includes("reconnecting"));
  await server.start();
  await until(async () => (await names()).filter((name) => name === "connect").length === 2, "the second connect", 30_000);
  const fired = await page.evaluate("fired");
  assert.ok(fired.some(([name, up]) => name === "disconnect" && up === false));
  assert.ok(fired.some(([name, , transport]) => name === "connecting" && transport === "websocket"));
  assert.ok(fired.some(([name, , transport, attempts]) => name === "reconnect" && /websocket|polling/.test(transport) && attempts >= 1));
  await context.close();
});

test("N-17 it connects to the host it was loaded from", async () => {
  const { page, context } = await pageOf(tag("nodevent", "nodevent.test"), "page.test");
  await holds(page, "NoDevent.connected()");
  assert.equal(await page.evaluate("NoDevent.socket.io.opts.url"), `http://nodevent.test:${server.port}/socket.io/`);
  await context.close();
});

test("a namespace with a slash works, encoded in the URL", async () => {
  const { page, context } = await pageOf(`${tag("nodevent%2Fx")}<script>NoDevent.room("r").join().on("e", (m) => (window.received = m))</script>`);
  await holds(page, 'NoDevent.room("r").joined');
  assert.equal(await page.evaluate("NoDevent.socket.nsp"), "/nodevent/x");
  await server.emit("r", "e", "there", "nodevent%2Fx");
  await holds(page, 'window.received === "there"');
  await context.close();
});

test("N-74 Nodevent is NoDevent, and two tags are two namespaces over one connection", async () => {
  const { page, context } = await pageOf(`
    ${tag()}<script>window.one = NoDevent; window.alias = Nodevent === NoDevent;</script>
    ${tag("protected")}<script>window.two = NoDevent;</script>`);
  await holds(page, "one.connected() && two.connected()");
  assert.deepEqual(await page.evaluate("[alias, one === two, one.socket.nsp, two.socket.nsp]"), [true, false, "/nodevent", "/protected"]);
  const refusal = await page.evaluate("new Promise((resolve) => two.room('r').join(resolve))");
  assert.equal(refusal, "Must provide key");
  assert.equal(await page.evaluate("new Promise((resolve) => one.room('r').join(resolve))"), null);
  await context.close();
});

test("N-74 a tag that runs again, as under Turbo, gives the same NoDevent", async () => {
  const { page, context } = await pageOf(`${tag()}<script>window.one = NoDevent;</script>${tag()}`);
  assert.equal(await page.evaluate("one === NoDevent"), true);
  await context.close();
});

test("a script that was not loaded from a server defines NoDevent without a connection", async () => {
  const { page, context } = await pageOf('<script src="/dist/nodevent.js"></script>');
  assert.deepEqual(await page.evaluate("[NoDevent.connected(), NoDevent.socket === undefined]"), [false, true]);
  await page.evaluate(`window.other = NoDevent.connect({ url: "${server.url}" })`);
  await holds(page, "other.connected()");
  await context.close();
});

test("N-72 fifty rooms with hostile names leave the console empty", async () => {
  const { page, context, complaints } = await pageOf(tag());
  const names = ["__proto__", "constructor", "<img src=x onerror=alert(1)>", "a\u2028b", "toString", '"];alert(1)//'];
  const rooms = Array.from({ length: 50 }, (_, n) => names[n] ?? `room ${n}`);
  await page.evaluate((all) => {
    window.received = [];
    return Promise.all(
      all.map((name) => new Promise((resolve) => NoDevent.room(name).on(name, (message) => received.push([name, message])).join(resolve))),
    );
  }, rooms);
  await server.publish(rooms.map((room) => ({ room, event: room, message: room })));
  await holds(page, "received.length === 50");
  const received = await page.evaluate("received");
  assert.deepEqual(received.map(([room]) => room), rooms);
  for (const [room, message] of received) assert.equal(room, message);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("N-20 socket.io.js from the server is io(), over both transports and with binary", async () => {
  const { page, context } = await pageOf(`<script src="${server.url}/socket.io/socket.io.js"></script>`);
  for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
    const ack = await page.evaluate(
      async ([url, names]) => {
        const socket = io(`${url}/nodevent`, { transports: names, forceNew: true });
        const joined = await new Promise((resolve) => socket.emit("join", { room: "r" }, (...args) => resolve(args)));
        socket.disconnect();
        return joined;
      },
      [server.url, transports],
    );
    assert.deepEqual(ack.slice(0, 2), [null, true], transports);
  }
  await context.close();
});

test("the server also serves the source maps of its scripts", async () => {
  for (const path of ["/api/nodevent", "/socket.io/socket.io.js"]) {
    const script = await (await fetch(server.url + path)).text();
    const [, map] = /sourceMappingURL=(\S+)/.exec(script);
    const response = await fetch(new URL(map, server.url + path));
    assert.equal(response.status, 200, String(map));
    assert.equal((await response.json()).version, 3);
  }
});
