// Turbo Drive: `<nodevent-room>` and the Stimulus controller join, leave and clean up over visits, back,
// forward and previews. The real @hotwired/turbo in Chromium, before the real server.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { build } from "esbuild";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Server } from "../support/server.js";
import { until } from "../support/until.js";

const PAGES = 200; // more rooms than one connection may be in
const VISITS = 300;

let browser;
let web;
let server;
let page;
let context;
let complaints;
/** The position of a room when its page is rendered, and the delay of the response in milliseconds. */
const positions = new Map();
let delay = 0;
let pageIds = [];

const root = new URL("../..", import.meta.url).pathname;

/** The application's script: counts what each element receives. It runs once, in the head. */
const SCRIPT = `
  import * as Turbo from "@hotwired/turbo";
  import { Application } from "@hotwired/stimulus";
  import NodeventController from "./dist/nodevent_controller.js";
  window.Turbo = Turbo;
  window.events = [];
  window.loads = 0;
  addEventListener("turbo:load", () => loads++);
  for (const name of ["nodevent:e", "nodevent-gap", "nodevent-refused"])
    addEventListener(name, ({ type, target, detail }) => events.push({ type, room: target.getAttribute("room") ?? target.dataset.nodeventRoomValue, detail, connected: target.isConnected }));
  Application.start().register("nodevent", NodeventController);`;

function render(n) {
  const room = `page ${n}`;
  const position = positions.get(room);
  const at = position ? ` data-nodevent-position="${position}"` : "";
  return `<!doctype html><html><head><meta charset="utf-8"><title>${n}</title>
    <script src="/dist/queue.js"></script>
    <script src="${server.url}/api/nodevent" async></script>
    <script src="/dist/nodevent-room.js"></script>
    <script src="/app.js" defer></script></head>
    <body><h1>${n}</h1><nodevent-room data-nodevent-room="${room}" room="${room}"${at}></nodevent-room>
    <nodevent-room room="shared"></nodevent-room>
    <p data-controller="nodevent" data-nodevent-room-value="stimulus ${n % 7}"></p></body></html>`;
}

before(async () => {
  browser = await launch();
  const { outputFiles } = await build({ stdin: { contents: SCRIPT, resolveDir: root }, bundle: true, write: false, format: "iife" });
  const pages = { "/app.js": outputFiles[0].text };
  for (let n = 0; n < PAGES; n++)
    pages[`/${n}`] = (request, response) => {
      pageIds.push(request.headers["x-nodevent-page"]);
      setTimeout(() => response.end(render(n)), delay);
    };
  web = await servePages(pages, { policy: "" });
  server = await new Server({ origins: [web.url] }).start();
});

after(async () => {
  await browser?.close();
  await Promise.all([web, server].map((one) => one?.close()));
});

afterEach(async () => {
  [delay, pageIds] = [0, []];
  positions.clear();
  await context?.close();
});

async function start(n = 0) {
  ({ page, context, complaints } = await open(browser, `${web.url}/${n}`));
  await holds(page, "window.loads === 1");
  await settled(n);
}

/** Waits until page `n` is shown, not its preview, and its rooms are joined. */
const settled = (n) =>
  holds(
    page,
    `location.pathname === "/${n}" && !document.documentElement.hasAttribute("data-turbo-preview") && document.querySelector("h1").textContent === "${n}"
      && ["page ${n}", "shared", "stimulus ${n % 7}"].every((name) => NoDevent.room(name).joined)`,
  );

const visit = async (n) => {
  await page.evaluate((path) => Turbo.visit(path) && undefined, `/${n}`);
  await settled(n);
};

const events = () => page.evaluate("events.splice(0)");
const emit = async (room, message) => positions.set(room, (await server.emit(room, "e", message)).positions[0]);

/** A fixed sequence of pseudo-random numbers: a failure can be repeated. */
function randomSequence(seed) {
  return (limit) => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * limit);
  };
}

test("300 visits with back and forward: every event arrives at its page, once, and no membership is left behind", async (t) => {
  const random = randomSequence(7);
  await start();
  const history = [0];
  let at = 0;
  for (let n = 1; n <= VISITS; n++) {
    const choice = random(10);
    if (choice < 3 && at > 0) {
      await page.evaluate("history.back()");
      at--;
    } else if (choice < 4 && at < history.length - 1) {
      await page.evaluate("history.forward()");
      at++;
    } else {
      const next = random(PAGES);
      if (next === history[at]) continue;
      history.splice(at + 1, Infinity, next);
      at++;
      await page.evaluate((path) => Turbo.visit(path) && undefined, `/${next}`);
    }
    const current = history[at];
    await settled(current);
    if (n % 5) continue;
    await events();
    for (const room of [`page ${current}`, "shared", `stimulus ${current % 7}`, `page ${(current + 1) % PAGES}`]) await emit(room, n);
    await until(async () => (await page.evaluate("events.length")) >= 3, `three events at visit ${n}`);
    const received = (await events()).map(({ type, room, detail, connected }) => [type, room, detail, connected]);
    assert.deepEqual(received.toSorted(), [[`page ${current}`], ["shared"], [`stimulus ${current % 7}`]].map(([room]) => ["nodevent:e", room, n, true]).toSorted(), `visit ${n}`);
  }
  assert.deepEqual(complaints, []);
  await until(async () => (await server.metric("nodevent_rooms")) === 3, async () => `three rooms, not ${await server.metric("nodevent_rooms")}`);
  t.diagnostic(`${history.length} pages in the history`);
});

test("a page from the cache receives what was published while it was disconnected", async () => {
  await start(1);
  await emit("page 1", "seen");
  await holds(page, "events.length === 1");
  await visit(2);
  await events();
  await emit("page 1", "missed 1");
  await emit("page 1", "missed 2");
  await page.evaluate("history.back()");
  await settled(1);
  await holds(page, "events.length === 2");
  assert.deepEqual((await events()).map(({ room, detail }) => [room, detail]), [["page 1", "missed 1"], ["page 1", "missed 2"]]);
});

test("a page from the cache whose history is gone gets a gap", async () => {
  await start(1);
  await emit("page 1", "seen");
  await holds(page, "events.length === 1");
  await visit(2);
  await events();
  await server.stop();
  await server.start();
  await settled(2);
  await events();
  await page.evaluate("history.back()");
  await settled(1);
  await holds(page, "events.some(({ type, room }) => type === 'nodevent-gap' && room === 'page 1')");
});

test("a preview is not joined, and the page after it is", async () => {
  await start(1);
  await visit(2);
  await events();
  delay = 300;
  await page.evaluate("window.joins = []; addEventListener('nodevent-joined', ({ target }) => joins.push([target.getAttribute('room'), document.documentElement.hasAttribute('data-turbo-preview')])); Turbo.visit('/1') && undefined");
  await holds(page, "document.documentElement.hasAttribute('data-turbo-preview') && document.querySelector('h1').textContent === '1'");
  await emit("page 1", "during the preview");
  await settled(1);
  assert.ok((await page.evaluate("joins")).every(([, preview]) => !preview));
  await emit("page 1", "after");
  await holds(page, "events.some(({ detail }) => detail === 'after')");
  assert.equal((await events()).filter(({ detail }) => detail === "after").length, 1);
});

test("events between rendering and joining arrive, those in the rendered page do not arrive again", async () => {
  await start(1);
  await emit("page 3", "rendered");
  delay = 300;
  await page.evaluate("Turbo.visit('/3') && undefined");
  // `positions` does not have this one: the rendered page does not contain it.
  await server.emit("page 3", "e", "after rendering");
  await settled(3);
  await holds(page, "events.length === 1");
  assert.deepEqual((await events()).map(({ detail }) => detail), ["after rendering"]);
});

test("two parts of a page share a room: the younger one gets what it lacks, the older one nothing twice", async () => {
  await start(1);
  await emit("page 1", 1);
  const old = positions.get("page 1");
  await emit("page 1", 2);
  await emit("page 1", 3);
  await holds(page, "events.length === 3");
  await events();
  await page.evaluate(`document.body.insertAdjacentHTML("beforeend", '<nodevent-room id="young" room="page 1" position="${old}"></nodevent-room>')`);
  await holds(page, "events.length === 2");
  assert.deepEqual((await events()).map(({ detail }) => detail), [2, 3]);
  await page.evaluate(`document.body.insertAdjacentHTML("beforeend", '<nodevent-room room="page 1" position="other:1"></nodevent-room>')`);
  await holds(page, "events.length === 1");
  assert.equal((await events())[0].type, "nodevent-gap");
  await page.evaluate("document.querySelector('nodevent-room').remove()");
  await emit("page 1", 4);
  await holds(page, "events.length === 2");
  assert.deepEqual((await events()).map(({ detail }) => detail), [4, 4], "the room is left with the last part only");
});

test("a page that Turbo morphs: another room is joined instead, newer content is not delivered again", async () => {
  await start(1);
  await page.evaluate("document.querySelector('nodevent-room').setAttribute('room', 'page 9')");
  await holds(page, "NoDevent.room('page 9').joined && !NoDevent.room('page 1').joined");
  await page.evaluate("document.querySelector('p').dataset.nodeventRoomValue = 'page 8'");
  await holds(page, "NoDevent.room('page 8').joined && !NoDevent.room('stimulus 1').joined");
  await page.evaluate("window.element = document.querySelector('nodevent-room'); element.setAttribute('position', 'x:5'); 0");
  for (const room of ["page 1", "stimulus 1", "page 9", "page 8"]) await emit(room, room);
  await holds(page, "events.length >= 2");
  assert.deepEqual((await events()).map(({ room, detail }) => [room, detail]), [["page 9", "page 9"], ["page 8", "page 8"]]);
  const [epoch, offset] = positions.get("page 9").split(":");
  await page.evaluate(`element.setAttribute("position", "${epoch}:${Number(offset) + 2}")`);
  for (const n of [1, 2, 3]) await emit("page 9", n);
  await holds(page, "events.length === 1");
  assert.deepEqual((await events()).map(({ detail }) => detail), [3], "the page's new content has the other two");
});

test("a refused join is visible in the console and on the element", async () => {
  await start(1);
  await page.evaluate(`document.body.insertAdjacentHTML("beforeend", '<nodevent-room id="bad" room="${"x".repeat(300)}"></nodevent-room>')`);
  await holds(page, "document.querySelector('#bad').hasAttribute('refused')");
  const [{ type, detail }] = await events();
  assert.deepEqual([type, detail], ["nodevent-refused", "Bad room"]);
  assert.equal(complaints.length, 1);
  assert.match(complaints[0], /^NoDevent: room "x+" refused: Bad room/);
});

test("an element without a room logs what it needs", async () => {
  await start(1);
  await page.evaluate("document.body.append(document.createElement('nodevent-room'))");
  await until(() => complaints.length);
  assert.match(complaints[0], /^NoDevent: <nodevent-room> needs the attribute room/);
});

test("Turbo's requests name the page, so that the application can exclude it", async () => {
  await start(1);
  await visit(2);
  assert.deepEqual(pageIds, [undefined, await page.evaluate("NoDevent.pageId")]);
});
