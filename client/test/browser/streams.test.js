// `<nodevent-stream-source>`: Turbo Streams in a room, with the real @hotwired/turbo in Chromium and without it, before the
// real server. The page has a strict Content-Security-Policy. Issue 18, "Hotwire first".

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { holds, launch, open, servePages } from "../support/browser.js";
import { SECRET, Server, keyFor } from "../support/server.js";
import { until } from "../support/until.js";

const TURBO = new URL("../../node_modules/@hotwired/turbo/dist/turbo.es2017-umd.js", import.meta.url);
/** What Turbo needs under this policy: the style of its progress bar has the nonce of `csp_meta_tag`. */
const POLICY = "default-src 'none'; script-src http://*:*; style-src 'nonce-once'; connect-src http://*:* ws://*:*";

const SCRIPT = `
  window.events = [];
  window.loads = 0;
  addEventListener("turbo:load", () => loads++);
  for (const name of ["nodevent-gap", "nodevent-refused", "nodevent-joined"]) addEventListener(name, ({ type, detail }) => events.push([type, detail]));`;

let browser;
let web;
let server;
let page;
let context;
let complaints;
/** What a page shows when it is rendered: lines, a position, and the lifetime of its key. */
let state = {};
let keys = [];

const stream = (action, target, html = "") => `<turbo-stream action="${action}" target="${target}"><template>${html}</template></turbo-stream>`;
const send = async (html, room = "board") => (await server.emit(room, "turbo-stream", html, "protected")).positions[0];
const lines = () => page.evaluate("[...document.querySelectorAll('#list li')].map(({ id, textContent }) => id + textContent)");

function render(name, turbo, { items = [], position, lifetime = 60_000, extra = "" } = state) {
  const key = keyFor("board", Date.now() + lifetime);
  const at = position ? ` position="${position}"` : "";
  return `<!doctype html><html><head><meta charset="utf-8"><title>${name}</title><meta name="csp-nonce" content="once">
    <meta name="turbo-refresh-method" content="morph">
    <script src="/dist/queue.js"></script>
    <script src="${server.url}/api/protected" data-nodevent-key-url="/keys" async></script>
    <script src="/dist/nodevent-stream-source.js"></script>
    <script src="/app.js"></script>${turbo ? '<script src="/turbo.js" defer></script>' : ""}</head>
    <body><h1>${name}</h1><nodevent-stream-source id="stream" room="board" key="${key}"${at} key-url="/keys"></nodevent-stream-source>
    <ul id="list">${items.map((item) => `<li id="${item}">${item}</li>`).join("")}</ul>${extra}
    <input id="kept" data-turbo-permanent></body></html>`;
}

before(async () => {
  browser = await launch();
  const pages = { "/turbo.js": readFileSync(TURBO), "/app.js": SCRIPT, "/gone": "<!doctype html><html><head><title>gone</title></head><body><h1>gone</h1></body></html>" };
  for (const name of ["/a", "/b"]) {
    pages[name] = (_request, response) => response.end(render(name, true));
    pages[`${name}-plain`] = (_request, response) => response.end(render(name, false));
  }
  pages["/keys"] = (_request, response) => {
    keys.push(Date.now());
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ key: keyFor("board") }));
  };
  web = await servePages(pages, { policy: POLICY });
  server = await new Server({ "/protected": { secret: SECRET, history: { size: 50 } }, origins: [web.url] }).start();
});

after(async () => {
  await browser?.close();
  await Promise.all([web, server].map((one) => one?.close()));
});

afterEach(async () => {
  [state, keys] = [{}, []];
  await context?.close();
});

async function start(name = "/a") {
  ({ page, context, complaints } = await open(browser, `${web.url}${name}`));
  await joined();
}

const joined = () => holds(page, "NoDevent.room('board').joined && document.querySelector('#stream').hasAttribute('joined')");

for (const [name, path] of Object.entries({ "with Turbo": "/a", "without Turbo": "/a-plain" })) {
  test(`every action is rendered, in order, ${name}`, async () => {
    state = { items: ["a", "b"] };
    await start(path);
    for (const html of [
      stream("append", "list", '<li id="c">c</li>'),
      stream("prepend", "list", '<li id="z">z</li>'),
      stream("append", "list", '<li id="a">A</li>'),
      stream("before", "c", '<li id="y">y</li>'),
      stream("after", "c", '<li id="x">x</li>'),
      stream("replace", "b", '<li id="b">B</li>'),
      stream("update", "z", "Z"),
      stream("remove", "y") + stream("remove", "missing"),
      '<turbo-stream action="update" targets="#a, #x"><template>!</template></turbo-stream>',
    ]) await send(html);
    await server.emit("board", "other", stream("remove", "a"), "protected");
    await send(stream("append", "list", '<li id="last">.</li>'));
    await holds(page, "document.querySelector('#last')");
    assert.deepEqual(await lines(), ["zZ", "bB", "cc", "x!", "a!", "last."]);
    assert.deepEqual(complaints, []);
  });
}

test("what was published while the page was disconnected is rendered after it, in order", async () => {
  state = { position: await send("<p></p>") };
  await send(stream("append", "list", '<li id="before">1</li>')); // between rendering and joining
  await start();
  await holds(page, "document.querySelector('#before')");
  await context.setOffline(true);
  await page.evaluate("NoDevent.socket.io.engine.close(); 0");
  await holds(page, "!NoDevent.connected()");
  for (const n of [2, 3]) await send(stream("append", "list", `<li id="m${n}">${n}</li>`));
  await context.setOffline(false);
  await holds(page, "document.querySelector('#m3')");
  assert.deepEqual(await lines(), ["before1", "m22", "m33"]);
});

test("a key that expires is renewed, and the next join uses the new one", async () => {
  state = { lifetime: 2000 };
  await start();
  await until(() => keys.length > 0, "the key is renewed before it expires");
  await page.evaluate("NoDevent.socket.io.engine.close(); 0");
  await holds(page, "events.filter(([type]) => type === 'nodevent-joined').length >= 2");
  assert.ok(!(await page.evaluate("events")).some(([type]) => type === "nodevent-refused"));
});

test("it leaves with its page, and a page from the cache catches up", async () => {
  await start();
  await send(stream("append", "list", '<li id="seen">1</li>'));
  await holds(page, "document.querySelector('#seen')");
  await page.evaluate("Turbo.visit('/gone') && undefined");
  await holds(page, "document.querySelector('h1').textContent === 'gone' && !NoDevent.room('board').joined");
  await send(stream("append", "list", '<li id="missed">2</li>'));
  await page.evaluate("history.back()");
  await holds(page, "document.querySelector('#missed')");
  assert.deepEqual(await lines(), ["seen1", "missed2"]);
});

test("a refresh morphs the page: its stream stays joined, permanent elements stay, and nothing arrives twice", async () => {
  await start();
  const position = await send(stream("append", "list", '<li id="one">1</li>'));
  await holds(page, "document.querySelector('#one')");
  await page.evaluate("window.element = document.querySelector('#stream'); window.joins = events.length; document.querySelector('#kept').value = 'typed'; 0");
  state = { items: ["one", "two"], position };
  await send('<turbo-stream action="refresh"></turbo-stream>');
  await holds(page, "document.querySelector('#two')");
  await send(stream("append", "list", '<li id="three">3</li>'));
  await holds(page, "document.querySelector('#three')");
  assert.deepEqual((await lines()).map((line) => line.slice(0, 3)), ["one", "two", "thr"]);
  assert.deepEqual(
    await page.evaluate("[element.isConnected, element.hasAttribute('joined'), events.length - joins, document.querySelector('#kept').value]"),
    [true, true, 0, "typed"],
  );
  assert.deepEqual(complaints, []);
});

test("after a gap the page loads itself again, unless the application prevents it", async () => {
  state = { position: "0000000000000000:1" };
  ({ page, context, complaints } = await open(browser, `${web.url}/a`));
  // The rendered page has the newest content from now on.
  state = { items: ["fresh"] };
  await holds(page, "document.querySelector('#fresh')");
  assert.ok((await page.evaluate("events")).some(([type]) => type === "nodevent-gap"));
  await page.evaluate("addEventListener('nodevent-gap', (event) => event.preventDefault(), { once: true }); loads = 0; state = 0; document.querySelector('#fresh').remove()");
  await page.evaluate("document.querySelector('#stream').insertAdjacentHTML('afterend', '<nodevent-stream-source room=\"board\" position=\"0000000000000000:1\"></nodevent-stream-source>')");
  await holds(page, "events.filter(([type]) => type === 'nodevent-gap').length === 2");
  await send(stream("append", "list", '<li id="later">1</li>'));
  await holds(page, "document.querySelector('#later')");
  assert.equal(await page.evaluate("document.querySelector('#fresh')"), null);
});

test("leaveAll: no room is joined any more, also after a reconnect, keys are forgotten, and Turbo shows no cached page", async () => {
  await start();
  await page.evaluate("Turbo.visit('/b') && undefined");
  await holds(page, "document.querySelector('h1').textContent === '/b'");
  await joined();
  const [joins, key] = await page.evaluate("[events.length, NoDevent.room('board').getKey()]");
  assert.match(key, /^[0-9a-f]{64}:/);
  assert.equal(await page.evaluate("NoDevent.leaveAll() === NoDevent"), true);
  assert.deepEqual(await page.evaluate("[NoDevent.room('board').joined, NoDevent.room('board').getKey()]"), [false, undefined]);
  await page.evaluate("NoDevent.socket.io.engine.close(); 0");
  await holds(page, "NoDevent.connected()");
  await until(async () => (await server.metric("nodevent_rooms")) === 0, "the server has no room");
  assert.equal(await page.evaluate("events.length"), joins);
  // Neither the page that was left, nor the one before, comes from the cache.
  state = { items: ["new"] };
  for (const move of ["Turbo.visit('/gone') && undefined", "history.back()", "history.back()"]) {
    const shown = await page.evaluate("document.querySelector('h1').textContent");
    await page.evaluate(move);
    await holds(page, `document.querySelector('h1').textContent !== ${JSON.stringify(shown)}`);
    if (move.startsWith("history")) assert.deepEqual(await lines(), ["newnew"]);
  }
});
