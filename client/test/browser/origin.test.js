// A page whose origin the server refuses: one line in the console with the fix, a few attempts a minute apart,
// and then none. A server that is down, or whose proxy returns errors, is not mistaken for a refusal.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Relay } from "../support/proxy.js";
import { Server } from "../support/server.js";
import { until } from "../support/until.js";

let browser;
let web;
let server;
let relay;

before(async () => {
  browser = await launch();
  web = await servePages(
    {
      "/": '<!doctype html><script type="module" src="/page.js"></script>',
      "/page.js": `import { connect } from "/dist/nodevent.mjs";
        window.lines = [];
        const { warn } = console;
        console.warn = (line) => (lines.push(line), warn.call(console, line));
        window.delays = [];
        window.start = (options) => {
          window.nodevent = connect({ reconnectionDelay: 20, reconnectionDelayMax: 50, ...options });
          nodevent.on("reconnecting", (delay) => delays.push(delay));
        };
        window.ready = true;`,
    },
    { policy: "" },
  );
  server = await new Server().start();
  relay = await new Relay(() => server.port).start();
});

after(async () => {
  await browser?.close();
  await Promise.all([web, relay, server].map((one) => one?.close()));
});

async function start(options) {
  const opened = await open(browser, web.on("page.test") + "/");
  await holds(opened.page, "window.ready");
  await opened.page.evaluate((value) => start(value), options);
  return opened;
}

for (const transports of [["websocket", "polling"], ["websocket"], ["polling"]]) {
  test(`a refused origin is logged once with the fix, and the next attempt is a minute later, over ${transports}`, async () => {
    const { page, context } = await start({ url: `http://nodevent.test:${relay.port}`, transports });
    await holds(page, "lines.length");
    assert.deepEqual(await page.evaluate("lines"), [
      `NoDevent: the server refuses this page's origin. Add "${web.on("page.test")}" to origins in the server's configuration, and reload.`,
    ]);
    const { length } = relay.heads;
    const begun = performance.now();
    await until(() => performance.now() - begun > 2000);
    assert.equal(relay.heads.length, length, "attempts in these two seconds");
    await context.close();
  });
}

test("after five attempts, a minute apart, the page gives up, also if it becomes visible, until it calls connect", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.clock.install();
  await page.goto(web.on("page.test") + "/");
  await holds(page, "window.ready");
  await page.evaluate((value) => start(value), { url: `http://nodevent.test:${relay.port}`, transports: ["websocket"] });
  await page.evaluate("window.failed = 0; window.tries = 0; nodevent.on('reconnect_failed', () => failed++); nodevent.on('connecting', () => tries++); 0");
  await holds(page, "lines.length && nodevent.socket.io.engine.readyState === 'closed'");
  let attempts = 0;
  while (!(await page.evaluate("failed"))) {
    const [tried, scheduled] = await page.evaluate("[tries, delays.length]");
    await page.clock.runFor(50_000);
    assert.equal(await page.evaluate("tries"), tried, "an attempt within a minute");
    await page.clock.runFor(11_000);
    await until(async () => (await page.evaluate("tries")) === tried + 1, `attempt ${++attempts}`);
    await holds(page, `failed || delays.length > ${scheduled}`);
  }
  // One may have been under way when the refusal was found.
  assert.ok(attempts === 5 || attempts === 4, `${attempts} attempts`);
  await holds(page, "failed === 1");
  const { length } = relay.heads;
  await page.evaluate("document.dispatchEvent(new Event('visibilitychange')); dispatchEvent(new Event('online')); 0");
  await page.clock.runFor(3_600_000);
  assert.equal(relay.heads.length, length, "attempts in an hour");
  assert.deepEqual(await page.evaluate("[lines.length, failed, nodevent.connected()]"), [1, 1, false]);
  await page.evaluate("nodevent.socket.connect() && undefined");
  await until(() => relay.heads.length > length);
  await context.close();
});

test("a refusal is found even if the server was down at first", async () => {
  const late = await new Relay(() => server.port).start();
  late.mode = "closed";
  const { page, context } = await start({ url: `http://nodevent.test:${late.port}` });
  await holds(page, "delays.length > 2");
  assert.deepEqual(await page.evaluate("lines"), []);
  late.mode = "open";
  await holds(page, "lines.length");
  assert.match(await page.evaluate("lines[0]"), /refuses this page's origin/);
  await context.close();
  await late.close();
});

test("when the origin is allowed the page connects, at the latest with the next attempt", async () => {
  const { page, context } = await start({ url: `http://nodevent.test:${relay.port}` });
  await holds(page, "lines.length");
  server.config.origins = [web.on("page.test")];
  await server.stop();
  await server.start();
  await page.evaluate("nodevent.socket.io.retryAfter(0)");
  await holds(page, "nodevent.connected()");
  await context.close();
  delete server.config.origins;
  await server.stop();
  await server.start();
});

test("a server that is down is not a refused origin: it is retried as usual", async () => {
  const down = await new Relay(() => server.port).start();
  down.mode = "closed";
  const { page, context } = await start({ url: `http://nodevent.test:${down.port}` });
  await holds(page, "delays.length > 5");
  assert.deepEqual(await page.evaluate("lines"), []);
  assert.ok(await page.evaluate("delays.every((delay) => delay <= 50)"));
  await context.close();
  await down.close();
});

test("a proxy that returns 502 is not a refused origin", async () => {
  const proxy = createServer((_request, response) => response.writeHead(502).end("bad gateway"));
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const { page, context } = await start({ url: `http://nodevent.test:${proxy.address().port}` });
  await holds(page, "delays.length > 5");
  assert.deepEqual(await page.evaluate("lines"), []);
  await context.close();
  proxy.closeAllConnections();
  await new Promise((resolve) => proxy.close(resolve));
});
