// What markup may not do: choose where keys come from, or where the CSRF token goes. A page of an application with
// HTML from its users in it, before the real server, in Chromium.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { build } from "esbuild";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Server, keyFor } from "../support/server.js";
import { until } from "../support/until.js";

const root = new URL("../..", import.meta.url).pathname;

let browser;
let web; // the application
let evil; // another origin, which allows every request
let server;
let requests = []; // [host, path with query, token, cookie] of each POST

/** Responds like a key endpoint, and records the request. */
const endpoint = (host) => async (request, response) => {
  const origin = request.headers.origin || "*";
  response.setHeader("access-control-allow-origin", origin).setHeader("access-control-allow-headers", "content-type, x-csrf-token").setHeader("access-control-allow-credentials", "true");
  if (request.method === "OPTIONS") return response.end();
  let body = "";
  for await (const piece of request) body += piece;
  requests.push([host, request.url, request.headers["x-csrf-token"], request.headers.cookie]);
  response.setHeader("content-type", "application/json").end(JSON.stringify({ key: keyFor(JSON.parse(body).room) }));
};

before(async () => {
  browser = await launch();
  const { outputFiles } = await build({
    stdin: {
      contents: 'import { Application } from "@hotwired/stimulus"; import Controller from "./dist/nodevent_controller.js"; Application.start().register("nodevent", Controller);',
      resolveDir: root,
    },
    bundle: true,
    write: false,
    format: "iife",
  });
  const paths = (host) => Object.fromEntries(["/keys", "/nodevent/key", "/app/nodevent/key", "/transfers"].map((path) => [path, endpoint(host)]));
  evil = await servePages(paths("evil"), { policy: "" });
  web = await servePages({
    ...paths("own"),
    "/stimulus.js": outputFiles[0].text,
    "/redirect": (_request, response) => response.writeHead(307, { location: evil.on("page.test") + "/keys" }).end(),
  }, { policy: "" });
  server = await new Server({ origins: ["*"] }).start();
});

after(async () => {
  await browser?.close();
  await Promise.all([web, evil, server].map((one) => one?.close()));
});

afterEach(() => {
  requests = [];
});

/** @param {string} body @param {string} [declared] the key endpoint on the script tag */
async function pageOf(body, declared) {
  const keys = declared ? ` data-nodevent-key-url="${declared}"` : "";
  web.pages["/"] = `<!doctype html><meta name="csrf-token" content="the token"><script>document.cookie = "session=abc"</script>
    <script src="${server.url}/api/protected"${keys}></script><script src="/dist/nodevent-room.js"></script><script src="/stimulus.js" defer></script><body>${body}`;
  const opened = await open(browser, web.url + "/");
  return { ...opened, ours: () => opened.complaints.filter((line) => line.includes("key URL")) };
}

/** The ways in which markup can have a key URL. */
const WAYS = {
  "the attribute of the element": (url) => `<nodevent-room room="r" key-url="${url}"></nodevent-room>`,
  "the data attribute of the element": (url) => `<nodevent-room data-nodevent-room="r" data-nodevent-key-url="${url}"></nodevent-room>`,
  "the value of the Stimulus controller": (url) => `<p data-controller="nodevent" data-nodevent-room-value="r" data-nodevent-key-url-value="${url}"></p>`,
  "room data that a script reads from attributes": (url) =>
    `<p data-room="r" data-url="${url}"></p><script>{ const { dataset } = document.querySelector("[data-url]"); NoDevent.room({ room: dataset.room, key_url: dataset.url }).join() }</script>`,
};

const WRONG = {
  "another origin": () => evil.on("page.test") + "/nodevent/key",
  "another origin without a scheme": () => evil.on("page.test").slice(5) + "/nodevent/key",
  "another path": () => "/transfers?to=9&amp;amount=100",
  "other parameters": () => "/nodevent/key?namespace=a&amp;amount=100",
  "parameters before the namespace": () => "/nodevent/key?amount=100&amp;namespace=a",
  "no URL": () => "http://[",
};

for (const [way, markup] of Object.entries(WAYS)) {
  test(`a key URL in ${way} that is not the key endpoint gets no request, and one line says what to write`, async () => {
    for (const [what, url] of Object.entries(WRONG)) {
      const { page, context, ours } = await pageOf(markup(url()).repeat(2), "/nodevent/key");
      await holds(page, "NoDevent.room('r').joined");
      assert.ok(requests.length, what);
      // Each part of the page may have requested a key.
      for (const request of requests.splice(0)) assert.deepEqual(request, ["own", "/nodevent/key", "the token", "session=abc"], what);
      assert.equal(ours().length, 1, what);
      assert.match(ours()[0], /^NoDevent: key URL .* ignored: set data-nodevent-key-url on the script tag/);
      await context.close();
    }
  });

  test(`without a declared endpoint, ${way} may name the gem's default only`, async () => {
    for (const url of [WRONG["another path"](), WRONG["another origin"](), "/keys"]) {
      const { page, context, complaints, ours } = await pageOf(markup(url));
      await until(() => complaints.some((line) => line.includes("Must provide key")));
      assert.equal(ours().length, 1);
      assert.deepEqual([requests, await page.evaluate("NoDevent.room('r').joined")], [[], false]);
      await context.close();
    }
    const { page, context, ours } = await pageOf(markup("/nodevent/key?namespace=%2Fprotected"));
    await holds(page, "NoDevent.room('r').joined");
    assert.deepEqual(requests.splice(0), [["own", "/nodevent/key?namespace=%2Fprotected", "the token", "session=abc"]]);
    assert.deepEqual(ours(), []);
    await context.close();
  });

  test(`${way} may name the declared endpoint, also with a namespace`, async () => {
    for (const url of ["/app/nodevent/key", "/app/nodevent/key?namespace=%2Fprotected", web.url + "/app/nodevent/key"]) {
      const { page, context, ours } = await pageOf(markup(url), "/app/nodevent/key");
      await holds(page, "NoDevent.room('r').joined");
      assert.deepEqual(requests.splice(0).map(([host, path]) => [host, path]), [["own", url.replace(web.url, "")]]);
      assert.deepEqual(ours(), []);
      await context.close();
    }
  });
}

test("a base element does not choose where keys come from", async () => {
  const { page, context } = await pageOf(`<base href="${evil.on("page.test")}/"><script>NoDevent.room("r").join()</script>`, "/keys");
  await holds(page, "NoDevent.room('r').joined");
  assert.deepEqual(requests, [["own", "/keys", "the token", "session=abc"]]);
  await context.close();
});

test("elements with the names of functions of the document do not prevent requests for keys", async () => {
  const { page, context } = await pageOf('<img name="querySelector"><img name="querySelectorAll"><script>NoDevent.room("r").join()</script>', "/keys");
  await holds(page, "NoDevent.room('r').joined");
  assert.deepEqual(requests, [["own", "/keys", "the token", "session=abc"]]);
  await context.close();
});

test("a script may name any endpoint; another origin gets neither cookies nor the CSRF token", async () => {
  const { page, context } = await pageOf(`<script>NoDevent.room("r").setKey(undefined, "${evil.url}/keys").join(); NoDevent.room("s").setKey(undefined, "/transfers?a=1").join()</script>`);
  await holds(page, "NoDevent.room('r').joined && NoDevent.room('s').joined");
  assert.deepEqual(requests.toSorted(), [["evil", "/keys", undefined, undefined], ["own", "/transfers?a=1", "the token", "session=abc"]]);
  await context.close();
});

test("a redirect to another origin gets neither the request nor the CSRF token", async () => {
  const { complaints, context } = await pageOf('<script>NoDevent.room("r").join()</script>', "/redirect");
  await until(() => complaints.some((line) => line.includes("POST /redirect failed")));
  assert.deepEqual(requests, []);
  await context.close();
});
