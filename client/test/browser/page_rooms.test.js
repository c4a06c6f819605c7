// Pages that the application subscribes to rooms, in Chromium with the real @hotwired/turbo and the real server: they join
// nothing and have no key. Each visit of Turbo shows another page on the same connection, and a new session needs a new one.

import assert from "node:assert/strict";
import { createHash, createHmac, randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { holds, launch, servePages } from "../support/browser.js";
import { SECRET, Server } from "../support/server.js";
import { until } from "../support/until.js";

const root = new URL("../..", import.meta.url).pathname;
const PAGES_SECRET = "a-secret-for-pages-of-32-bytes-and-more";
const hash = (kind, text) => createHash(kind).update(text).digest("hex");

let browser;
let web;
let server;
let context;
/** The key of the visitor's session, and the name of the page that was rendered last. */
let key = randomBytes(32).toString("hex");
let digest;

/** What the gem does for a page: an id of its session, the cookie, and the subscriptions. */
async function render(response, title, rooms) {
  const id = hash("sha256", `nodevent:session:${key}`).slice(0, 8) + randomBytes(28).toString("hex");
  digest = hash("sha1", `--${key}--${id}--`);
  const subscribed = await fetch(`${server.url}/api/app/pages`, { method: "POST", body: JSON.stringify({ page: digest, subscribe: rooms }) });
  assert.equal(subscribed.status, 200);
  const expires = Math.floor(Date.now() / 1000) + 600;
  const signature = createHmac("sha256", PAGES_SECRET).update(`nodevent:cookie:1:/app:${key}:${expires}`).digest("hex");
  response.setHeader("set-cookie", `nodevent_page=1.${key}.${expires}.${signature}; HttpOnly; SameSite=Lax; Path=/`);
  response.end(`<!doctype html><html><head><meta charset="utf-8"><script src="${server.url}/api/app"></script><script src="/app.js"></script></head>
    <body data-socket-connection-id="${id}"><h1>${title}</h1><a href="/one">one</a> <a href="/two">two</a> <a href="/three">three</a> <a href="/login">log in</a></body></html>`);
}

before(async () => {
  browser = await launch();
  server = await new Server({ "/app": { secret: SECRET, pages: { secret: PAGES_SECRET } } }).start();
  const contents = `import * as Turbo from "@hotwired/turbo";
    window.seen = [];
    for (const name of ["one", "two", "both", "three"]) NoDevent.room(name).on("update", (message) => seen.push(name + " " + message));
    NoDevent.page.on("saved", (message) => seen.push("page " + message));
    for (const event of ["join", "leave"]) NoDevent.room("one").on(event, (error) => seen.push(event + " " + error));`;
  const { outputFiles } = await build({ stdin: { contents, resolveDir: root }, bundle: true, write: false, format: "iife" });
  web = await servePages({
    "/app.js": outputFiles[0].text,
    "/one": (_, response) => render(response, "one", ["one", "both"]),
    "/two": (_, response) => render(response, "two", ["two", "both"]),
    "/three": (_, response) => render(response, "three", ["three"]),
    "/login": (_, response) => {
      key = randomBytes(32).toString("hex");
      response.writeHead(302, { location: "/three" }).end();
    },
  }, { policy: "" });
});

after(async () => {
  await context?.close();
  await browser?.close();
  await Promise.all([web, server].map((one) => one?.close()));
});

const emit = (room, message) => server.emit(room, "update", message, "app");
const push = (user, message) => server.publish({ user, event: "saved", message }, "app");

test("P-05 P-36 a page receives the rooms of its visit, and what is pushed to it alone", async () => {
  const sockets = [];
  context = await browser.newContext();
  const page = await context.newPage();
  page.on("websocket", (socket) => sockets.push(socket));
  const seen = async (expected) => {
    await holds(page, `seen.length >= ${expected.length}`);
    assert.deepEqual(await page.evaluate("seen.splice(0)"), expected);
  };
  await page.goto(`${web.url}/one`);
  await holds(page, "NoDevent.room('one').joined && NoDevent.room('both').joined && NoDevent.page.position");
  assert.equal(/[0-9a-f]{64}:\d{13}/.test(await page.content()), false, "the HTML has no key");
  const first = digest;
  assert.equal(await page.evaluate("NoDevent.page.id"), first);
  await emit("one", 1);
  await push(first, 2);
  await emit("both", 3);
  await seen(["join null", "one 1", "page 2", "both 3"]);

  await page.click("text=two");
  await holds(page, "NoDevent.room('two').joined && !NoDevent.room('one').joined");
  assert.equal(await page.evaluate("NoDevent.page.id"), digest);
  await emit("one", "too late");
  await push(first, "too late");
  await emit("two", 4);
  await push(digest, 5);
  await emit("both", 6);
  await seen(["leave unsubscribed", "two 4", "page 5", "both 6"]);
  assert.equal(sockets.length, 1, "the connection stays");

  // A page that is rendered again shows what was published before.
  await page.click("a[href='/one']");
  await holds(page, "NoDevent.room('one').joined && !NoDevent.room('two').joined");
  await emit("one", 10);
  await seen(["join null", "one 10"]);

  // The page may ask for its room, and needs no key. Another visit while the server restarts is about the new page.
  assert.equal(await page.evaluate("new Promise((done) => NoDevent.room('one').join(done))"), null);
  await page.evaluate("new Promise((done) => NoDevent.room('one').leave(done)).then(() => seen.splice(0))");
  await server.stop("SIGTERM");
  await server.start();
  await page.click("text=three");
  await holds(page, "NoDevent.connected() && NoDevent.room('three').joined");
  await emit("three", 7);
  await holds(page, "seen.includes('three 7')");
  await page.evaluate("seen.splice(0)");

  // A new session has another cookie, which only a new connection sends.
  const opened = sockets.length;
  await page.click("text=log in");
  await until(() => sockets.length > opened, "a new connection");
  await holds(page, `NoDevent.page.id === "${digest}" && NoDevent.room('three').joined`);
  await emit("three", 8);
  await push(digest, 9);
  await seen(["three 8", "page 9"]);
});

test("P-13 P-14 a page whose cookie does not arrive says so, and receives nothing", async () => {
  const page = await context.newPage();
  const warnings = [];
  page.on("console", (message) => warnings.push(message.text()));
  await page.goto(`${web.url}/one`);
  await holds(page, "NoDevent.room('one').joined");
  await context.clearCookies();
  await page.evaluate("NoDevent.socket.disconnect().connect()");
  await until(() => warnings.some((text) => text.includes("does not know this page's session")), "a warning");
  assert.equal(await page.evaluate("NoDevent.page.id"), undefined);
  assert.equal(await page.evaluate("NoDevent.room('one').joined"), false);
});
