// The module build in a page and in a worker, under a policy that allows nothing inline.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Server } from "../support/server.js";
import { startSocketIoServer } from "../support/socket-io-server.js";

const server = new Server();
let browser;
let web;

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

test("as a module in a page: several namespaces, removing listeners, close", async () => {
  web.pages["/page.js"] = `
    import { connect, io } from "/dist/nodevent.mjs";
    window.received = [];
    window.one = connect({ url: "${server.url}" });
    window.two = connect({ url: "${server.url}", namespace: "/protected" });
    window.undo = one.room("r").join(() => received.push("joined")).on("e", (message) => received.push(message));
    two.room("r").join((err) => received.push(err));
    window.io = io;`;
  web.pages["/module"] = '<!doctype html><script type="module" src="/page.js"></script>';
  const { page, context, complaints } = await open(browser, `${web.url}/module`);
  await holds(page, "window.received?.length === 2");
  assert.deepEqual((await page.evaluate("received")).toSorted(), ["Must provide key", "joined"]);
  assert.equal(await page.evaluate("typeof NoDevent"), "undefined");
  await server.emit("r", "e", 1);
  await holds(page, "received.includes(1)");
  await page.evaluate("undo()");
  await page.evaluate("one.room('r').on('end', () => received.push('end')) && undefined");
  await server.publish([
    { room: "r", event: "e", message: "after undo" },
    { room: "r", event: "end" },
  ]);
  await holds(page, "received.includes('end')");
  assert.equal(await page.evaluate("received.includes('after undo')"), false);
  await page.evaluate("one.close()");
  assert.equal(await page.evaluate("one.connected()"), false);
  assert.equal(await page.evaluate("two.connected()"), true);
  assert.deepEqual(complaints.map((line) => /room "r" refused: Must provide key/.test(line)), [true]);
  await context.close();
});

test("auth is sent with each connect of its namespace, and several namespaces share a connection", async (t) => {
  const stock = await startSocketIoServer({ cors: { origin: "*" } });
  t.after(() => stock.stop());
  web.pages["/auth.js"] = `
    import { connect } from "/dist/nodevent.mjs";
    window.auths = { one: [], two: [] };
    window.one = connect({ url: "${stock.url}", namespace: "/", auth: { token: "one" } });
    window.two = connect({ url: "${stock.url}", namespace: "/custom", auth: (send) => send({ token: "two", asked: auths.two.length }), reconnectionDelay: 20 });
    one.socket.on("auth", (auth) => auths.one.push(auth));
    two.socket.on("auth", (auth) => auths.two.push(auth));`;
  web.pages["/auth"] = '<!doctype html><script type="module" src="/auth.js"></script>';
  const { page, context, complaints } = await open(browser, `${web.url}/auth`);
  await holds(page, "window.auths?.one.length === 1 && auths.two.length === 1");
  assert.equal(await page.evaluate("one.socket.io === two.socket.io"), true);
  assert.equal(stock.io.engine.clientsCount, 1);
  await page.evaluate('two.socket.emit("cut me") && undefined');
  await holds(page, "auths.one.length === 2 && auths.two.length === 2");
  const pageId = await page.evaluate("one.pageId");
  assert.match(pageId, /^[a-z0-9]{15,30}$/);
  assert.equal(await page.evaluate("two.pageId"), pageId);
  assert.deepEqual(await page.evaluate("auths"), {
    one: [{ token: "one", pageId }, { token: "one", pageId }],
    two: [{ token: "two", asked: 0, pageId }, { token: "two", asked: 1, pageId }],
  });
  assert.deepEqual(complaints, []);
  await context.close();
});

test("in a worker: it receives without window and document", async () => {
  web.pages["/worker.js"] = `
    import { connect } from "/dist/nodevent.mjs";
    const nodevent = connect({ url: "${server.url}" });
    nodevent.room("r").on("e", (message) => postMessage(message)).join((err) => postMessage({ joined: err }));`;
  web.pages["/page-with-worker.js"] = `
    window.received = [];
    const worker = new Worker("/worker.js", { type: "module" });
    worker.onmessage = ({ data }) => received.push(data);
    worker.onerror = (event) => received.push(String(event.message));`;
  web.pages["/with-worker"] = '<!doctype html><script src="/page-with-worker.js"></script>';
  const { page, context, complaints } = await open(browser, `${web.url}/with-worker`);
  await holds(page, "window.received?.length === 1");
  await server.emit("r", "e", "hello");
  await holds(page, "received.length === 2");
  assert.deepEqual(await page.evaluate("received"), [{ joined: null }, "hello"]);
  assert.deepEqual(complaints, []);
  await context.close();
});
