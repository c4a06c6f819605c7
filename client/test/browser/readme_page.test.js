// The page of the README under Turbo Drive: its script, as it is written there, over more visits than one
// connection may have rooms. Nothing accumulates, every event arrives once, and a page from Turbo's cache receives
// what it missed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Server } from "../support/server.js";
import { until } from "../support/until.js";

const PAGES = 150; // more rooms than one connection may be in
const VISITS = 300;
const root = new URL("../..", import.meta.url).pathname;

/** The script of the README, without its ERB. */
const readme = readFileSync(`${root}/../README.md`, "utf8");
const [, script] = /<%= javascript_tag nonce: true, type: "module" do %>\n(.*?)\n *<% end %>/s.exec(readme) ?? [];

let browser;
let web;
let server;
/** The comments of each page, as its database has them. */
const comments = new Map();

const commentsOf = (n) => comments.get(n) ?? comments.set(n, []).get(n);

/** The position of the room, as the gem reads it for `nodevent_data`. */
const positionOf = async (n) => (await (await fetch(`${server.url}/api/nodevent/rooms/Discussion_${n}/history?since=none`)).json()).position;

async function render(n) {
  const position = await positionOf(n);
  const list = commentsOf(n).map((id) => `<li id="comment_${id}">${id}</li>`).join("");
  return `<!doctype html><html><head><meta charset="utf-8">
    <script>${readFileSync(`${root}/dist/queue.js`, "utf8")}</script><script src="${server.url}/api/nodevent" async data-nodevent></script>
    <script src="/app.js"></script></head><body><h1>${n}</h1>
    <ol id="comments" data-nodevent-room="Discussion_${n}" data-nodevent-position="${position}">${list}</ol>
    <script type="module">${script}</script></body></html>`;
}

before(async () => {
  browser = await launch();
  const { outputFiles } = await build({ stdin: { contents: 'import * as Turbo from "@hotwired/turbo"; window.Turbo = Turbo;', resolveDir: root }, bundle: true, write: false, format: "iife" });
  const pages = { "/app.js": outputFiles[0].text };
  for (let n = 0; n < PAGES; n++) pages[`/${n}`] = async (_request, response) => response.end(await render(n));
  web = await servePages(pages, { policy: "" });
  server = await new Server({ origins: [web.url] }).start();
});

after(async () => {
  await browser?.close();
  await Promise.all([web, server].map((one) => one?.close()));
});

/** Creates a comment and emits it, like `after_create_commit`. */
async function comment(n, id) {
  commentsOf(n).push(id);
  await server.emit(`Discussion_${n}`, "comment", { id, body: id });
}

test("the README's page over 300 visits with Turbo Drive: one room, one listener, every comment once", async () => {
  assert.ok(script, "the README has no module script");
  const { page, context, complaints } = await open(browser, `${web.url}/0`);
  const shown = () => page.evaluate("[...document.querySelectorAll('#comments li')].map((item) => item.id)");
  const expected = (n) => commentsOf(n).map((id) => `comment_${id}`);
  const settled = (n) =>
    holds(page, `document.querySelector("h1")?.textContent === "${n}" && !document.documentElement.hasAttribute("data-turbo-preview") && NoDevent.room("Discussion_${n}").joined`);
  const history = [0];
  await settled(0);
  for (let visit = 1; visit <= VISITS; visit++) {
    const back = visit % 4 === 3;
    if (back) {
      // What is created while another page is shown must be in the page from the cache.
      await comment(history.at(-2), `missed-${visit}`);
      history.pop();
      await page.evaluate("history.back()");
    } else {
      history.push((history.at(-1) + 1 + (visit % 7)) % PAGES);
      await page.evaluate(`Turbo.visit("/${history.at(-1)}") && undefined`);
    }
    const n = history.at(-1);
    await settled(n);
    if (visit % 5 === 0) await comment(n, `live-${visit}`);
    let items = [];
    await until(async () => (items = await shown()).length >= expected(n).length, () => `${expected(n)} at visit ${visit}, not ${items}`);
    assert.deepEqual(await shown(), expected(n), `visit ${visit}`);
  }
  assert.equal(await page.evaluate(`NoDevent.room("Discussion_${history.at(-1)}").listeners("comment").length`), 1);
  await until(async () => (await server.metric("nodevent_rooms")) === 1, "one room");
  assert.deepEqual(complaints, []);
  await context.close();
});
