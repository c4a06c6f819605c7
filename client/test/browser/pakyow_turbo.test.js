// The code of docs/from-pakyow-realtime.md for Turbo, in Chromium with the real @hotwired/turbo and the real server: each
// visit has the id of its page, and a request of a frame names it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { holds, launch, servePages } from "../support/browser.js";
import { Server } from "../support/server.js";
import { until } from "../support/until.js";

const root = new URL("../..", import.meta.url).pathname;
const guide = readFileSync(new URL("../docs/from-pakyow-realtime.md", `file://${root}`), "utf8");
const [, section] = /^## Turbo\n(.*?)^## /ms.exec(guide);
const blocks = [...section.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code);

let browser;
let web;
let server;
let context;
/** The ids that the application has given to its pages, and those that requests for frames have named. */
const ids = [];
const named = [];

function render(content) {
  ids.push(String(ids.length).repeat(64).slice(0, 64));
  return `<!doctype html><html><head><meta charset="utf-8"><script src="/app.js" defer></script></head>
    <body data-socket-connection-id="${ids.at(-1)}">${content}</body></html>`;
}

before(async () => {
  browser = await launch();
  server = await new Server({ "/live": { protocol: "pakyow", pages: { secret: "a-secret-for-pages-of-32-bytes-and-more" } } }).start();
  const code = blocks.join("\n").replaceAll("localhost:8080", `127.0.0.1:${server.port}`);
  const contents = `import * as Turbo from "@hotwired/turbo"; window.Turbo = Turbo; ${code}`;
  const { outputFiles } = await build({ stdin: { contents, resolveDir: root }, bundle: true, write: false, format: "iife" });
  web = await servePages({
    "/app.js": outputFiles[0].text,
    "/one": (_, response) => response.end(render('<h1>one</h1><a href="/two">next</a>')),
    "/two": (_, response) => response.end(render('<h1>two</h1><turbo-frame id="f"><a href="/frame">in the frame</a></turbo-frame>')),
    "/frame": (request, response) => {
      named.push(request.headers["x-socket-connection-id"]);
      response.end('<turbo-frame id="f"><p>the frame</p></turbo-frame>');
    },
  }, { policy: "" });
});

after(async () => {
  await context?.close();
  await browser?.close();
  await Promise.all([web, server].map((one) => one?.close()));
});

test("P-01 P-04 each visit of Turbo opens the socket of its page, and frames name it", async () => {
  const opened = [];
  context = await browser.newContext();
  const page = await context.newPage();
  page.on("websocket", (socket) => opened.push(socket));
  await page.goto(`${web.url}/one`);
  const id = () => page.evaluate("document.body.dataset.socketConnectionId");
  await until(() => opened.length === 1, "the socket of the first page");
  const first = await id();
  await page.click("text=next");
  await holds(page, "document.querySelector('h1').textContent === 'two'");
  await until(() => opened.length === 2, "the socket of the second page");
  const second = await id();
  assert.deepEqual([first, second], ids.slice(-2));
  assert.deepEqual(opened.map((socket) => new URL(socket.url()).searchParams.get("socket_connection_id")), [first, second]);
  await until(() => opened[0].isClosed(), "the end of the first socket");
  assert.equal(opened[1].isClosed(), false);
  await page.click("text=in the frame");
  await holds(page, "document.querySelector('#f p')?.textContent === 'the frame'");
  assert.deepEqual([named, opened.length, await id()], [[second], 2, second]);
});
