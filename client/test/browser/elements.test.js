// The parts of a page that show rooms, when something is refused or old: expired keys, HTML from a cache, and a visitor
// who has signed out. In Chromium, before the real server. Nothing repeats without a pause.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { build } from "esbuild";
import { holds, launch, open, servePages } from "../support/browser.js";
import { SECRET, Server, keyFor } from "../support/server.js";
import { until } from "../support/until.js";

const root = new URL("../..", import.meta.url).pathname;
const PAST = 1_600_000_000_000;
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Records the joins and the events of the page. */
const SCRIPT = `
  window.joins = [];
  window.events = [];
  window.received = [];
  NoDevent.room("board").on("join", (err) => joins.push(err));
  for (const name of ["nodevent-gap", "nodevent-refused", "nodevent-joined", "nodevent:e"])
    addEventListener(name, ({ type, target, detail }) => {
      events.push(type);
      if (type === "nodevent:e") received.push([target.id, detail]);
    });`;

let browser;
let web;
let server;
let page;
let context;
let complaints;
let loads = 0;
let requests = 0; // for keys
let keySecret = SECRET;
let isSignedIn = true;

before(async () => {
  browser = await launch();
  const { outputFiles } = await build({
    stdin: {
      contents: `import { Application } from "@hotwired/stimulus";
        import Controller from "./dist/nodevent_controller.js";
        Application.start().register("nodevent", Controller);`,
      resolveDir: root,
    },
    bundle: true,
    write: false,
    format: "iife",
  });
  web = await servePages({
    "/stimulus.js": outputFiles[0].text,
    "/app.js": SCRIPT,
    "/blank": "<!doctype html>",
    "/keys": (_request, response) => {
      requests++;
      response.setHeader("content-type", "application/json");
      if (!isSignedIn) return response.writeHead(403).end("{}");
      response.end(JSON.stringify({ key: keyFor("board", Date.now() + 3_600_000, keySecret) }));
    },
  }, { policy: "" });
  server = await new Server({ limits: { max_rooms_per_connection: 1 }, origins: [web.url] }).start();
});

after(async () => {
  await browser?.close();
  await Promise.all([web, server].map((one) => one?.close()));
});

afterEach(async () => {
  await context?.close();
  [loads, requests, keySecret, isSignedIn] = [0, 0, SECRET, true];
});

/**
 * Opens a page with these elements, which may load itself again.
 * @param {string} body @param {{keys?: boolean, script?: string}} [options]
 */
async function start(body, { keys = false, script = "" } = {}) {
  web.pages["/"] = (_request, response) => {
    loads++;
    response.end(`<!doctype html><html><head><meta charset="utf-8">
      <script src="/dist/nodevent-room.js"></script><script src="/dist/nodevent-stream-source.js"></script>
      <script src="${server.url}/api/protected"${keys ? ' data-nodevent-key-url="/keys"' : ""}></script>
      <script src="/app.js"></script><script src="/stimulus.js"></script></head>
      <body><ul id="list"></ul>${body}</body></html>`);
  };
  ({ page, context, complaints } = await open(browser, web.url + "/blank"));
  await context.addInitScript(script);
  await page.goto(web.url + "/", { waitUntil: "commit" });
  await loaded();
}

const loaded = () => until(() => page.evaluate("document.readyState === 'complete'").catch(() => false), "the page");

const element = (id, key, more = "") => `<nodevent-room id="${id}" room="board" key="${key}" ${more}></nodevent-room>`;
const controller = (id, key) =>
  `<p id="${id}" data-controller="nodevent" data-nodevent-room-value="board" data-nodevent-key-value="${key}"></p>`;
const insert = (html) => page.evaluate((text) => document.body.insertAdjacentHTML("beforeend", text), html);
const ours = () => complaints.filter((line) => line.startsWith("NoDevent"));
const joins = () => page.evaluate("joins");

test("elements of one room whose keys have all expired are refused once", async () => {
  await start([PAST, PAST - 1, PAST + 1].map((time, n) => element(n, keyFor("board", time))).join(""));
  await holds(page, "document.querySelectorAll('[refused]').length === 3");
  await sleep(1000);
  assert.deepEqual([...new Set(await joins())], ["Time has passed"]);
  // Two for each element that is inserted while the page is connected.
  assert.ok((await joins()).length <= 6, `${(await joins()).length} joins`);
  assert.equal(ours().length, 1);
});

test("an element joins with the key of the page that ends last", async () => {
  const newest = keyFor("board", Date.now() + 60_000);
  await start(element("a", newest) + element("b", keyFor("board", PAST)));
  await holds(page, "NoDevent.room('board').joined");
  assert.equal(await page.evaluate("NoDevent.room('board').getKey()"), newest);
  assert.ok((await joins()).every((err) => err === null));
});

for (const reason of ["Bad key", "Too many rooms"]) {
  test(`an element whose new key is refused with "${reason}" does not ask for another one`, async () => {
    if (reason === "Bad key") keySecret = "the next secret, of the application only";
    await start("", { keys: true });
    if (reason === "Too many rooms") {
      await page.evaluate(`NoDevent.room("other").setKey("${keyFor("other")}").join() && undefined`);
      await holds(page, "NoDevent.room('other').joined");
    }
    await insert(element("a", keyFor("board", PAST), 'key-url="/keys"'));
    await holds(page, "document.querySelector('#a').hasAttribute('refused')");
    await sleep(1000);
    assert.deepEqual([await joins(), requests], [[reason], 1]);
  });
}

test("an element whose key has expired joins with a newer one that the page has got, once", async () => {
  const expires = Date.now() + 5000;
  await start(element("a", keyFor("board", expires)));
  await holds(page, "NoDevent.room('board').joined");
  const newer = keyFor("board", Date.now() + 60_000);
  await page.evaluate((key) => document.querySelector("#a").setAttribute("key", key), newer);
  await until(() => Date.now() > expires);
  await page.evaluate("joins.length = 0; NoDevent.socket.io.engine.close()");
  await holds(page, "joins.length === 2 && NoDevent.room('board').joined");
  assert.deepEqual(await joins(), ["Time has passed", null]);
  assert.equal(await page.evaluate("NoDevent.room('board').getKey()"), newer);
});

for (const [what, part, attribute] of [
  ["element", element, "key"],
  ["Stimulus controller", controller, "data-nodevent-key-value"],
]) {
  test(`after leaveAll, neither the key nor the events of an old ${what} are for the next visitor`, async () => {
    await start(part("old", keyFor("board")), { keys: true });
    await holds(page, "NoDevent.room('board').joined");
    await server.emit("board", "e", "private", "protected");
    await holds(page, "received.length === 1");
    isSignedIn = false;
    await page.evaluate("NoDevent.leaveAll(); joins.length = 0; received.length = 0");
    await insert(part("new", "").replace(/ \S*key\S*=""/, ' position="0000000000000000:1"'));
    await holds(page, "joins.length");
    await sleep(500);
    await server.emit("board", "e", "of the next visitor", "protected");
    await sleep(200);
    assert.match((await joins()).join(), /^Error: POST \/keys returned 403/);
    const state = "[NoDevent.room('board').joined, NoDevent.room('board').getKey() ?? null, received]";
    const left = await page.evaluate(state);
    assert.deepEqual(left, [false, null, []]);
  });

  test(`after leaveAll, an old ${what} that gets another key is a new one`, async () => {
    await start(part("a", keyFor("board")));
    await holds(page, "NoDevent.room('board').joined");
    await page.evaluate("NoDevent.leaveAll(); document.dispatchEvent(new Event('turbo:before-cache'))");
    await sleep(200);
    assert.equal(await page.evaluate("NoDevent.room('board').joined"), false, "the page is cached: nothing changes");
    const next = keyFor("board", Date.now() + 61_000);
    await page.evaluate(([name, key]) => document.querySelector("#a").setAttribute(name, key), [attribute, next]);
    await holds(page, "NoDevent.room('board').joined");
    await server.emit("board", "e", "hello", "protected");
    await holds(page, "received.length");
    assert.deepEqual(await page.evaluate("received"), [["a", "hello"]]);
  });
}

test("after leaveAll, an old element that is inserted again is a new one", async () => {
  await start(element("a", keyFor("board")));
  await holds(page, "NoDevent.room('board').joined");
  await page.evaluate("NoDevent.leaveAll(); document.body.append(document.querySelector('#a'))");
  await holds(page, "NoDevent.room('board').joined");
});

const source = (position) =>
  `<nodevent-stream-source room="board" key="${keyFor("board")}" position="${position}"></nodevent-stream-source>`;
const append = (id) =>
  `<turbo-stream action="append" target="list"><template><li id="${id}"></li></template></turbo-stream>`;
const send = async (html) => (await server.emit("board", "turbo-stream", html, "protected")).positions[0];

test("HTML from a cache whose position cannot be recovered is loaded once more, and then shows what comes", async () => {
  await start(source("0123456789abcdef:41"));
  await until(() => loads === 2);
  await until(() => ours().length, "the warning of the second page");
  await sleep(1000);
  assert.equal(loads, 2);
  assert.equal(await page.evaluate("events.filter((event) => event === 'nodevent-gap').length"), 1);
  const lost = 'NoDevent: room "board" has lost events after 0123456789abcdef:41';
  assert.deepEqual(ours(), [`${lost}, and the page is not loaded again. Keep its HTML out of caches.`]);
  await send(append("later"));
  await holds(page, "document.querySelector('#later')");
});

test("HTML from a cache that recovers a refresh each time is loaded again once", async () => {
  const position = await send(append("first"));
  await send('<turbo-stream action="refresh"></turbo-stream>');
  await start(source(position));
  await until(() => loads === 2);
  await sleep(1000);
  assert.equal(loads, 2);
  await send(append("later"));
  await holds(page, "document.querySelector('#later')");
  await send('<turbo-stream action="refresh"></turbo-stream>');
  await until(() => loads === 3, "another refresh loads the page");
  // A context whose page is being loaded does not close.
  await loaded();
});

test("without storage, a page does not load itself again after a gap", async () => {
  const script = `Object.defineProperty(window, "sessionStorage", {
    get() {
      throw new DOMException("blocked", "SecurityError");
    },
  })`;
  await start(source("0123456789abcdef:42"), { script });
  await holds(page, "window.events?.includes('nodevent-gap')");
  await sleep(500);
  assert.equal(loads, 1);
  assert.match(ours().at(-1), /^NoDevent: room "board" has lost events after/);
});
