// Turbo Drive with the element of @hotwired/turbo-rails: previews of cached pages, what its streams change, and a page that is
// loaded again because messages are missing.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { publish, startServer } from "../socket_io/support/programs.js";
import { cableUrl, configuration, stamps, turbo } from "./support/clients.js";
import { RECONNECT, append, head, startPages } from "./support/pages.js";

let pages, server;
/** How often a page was rendered, by its path. */
const renders = new Map();
/** What responses wait for. */
let gate = Promise.resolve();
/** The position of the stream when the next page is rendered. */
let since;

/** A page with one stream, as `turbo_stream_from` writes its tag. */
async function respond(path) {
  if (!["/one", "/two"].includes(path)) return null;
  await gate;
  const count = (renders.get(path) ?? 0) + 1;
  renders.set(path, count);
  const { signed_stream_name: name } = turbo(path);
  const { nodevent_since: position, nodevent_page: id } = stamps(since);
  const data = position ? ` data-nodevent-since="${position}" data-nodevent-page="${id}"` : "";
  return `${head(cableUrl(server))}<title>${path}</title><meta name="turbo-refresh-method" content="morph">
<script type="module">import "@hotwired/turbo-rails";</script>
<turbo-cable-stream-source channel="Turbo::StreamsChannel" signed-stream-name="${name}"${data}></turbo-cable-stream-source>
<a href="/one">one</a> <a href="/two">two</a> <p id="renders">${count}</p> <ol id="messages"></ol>`;
}

before(async () => {
  server = await startServer(configuration());
  pages = await startPages(respond);
});
after(async () => {
  await pages?.stop();
  await server?.stop();
});

const isConnected = () => document.querySelector("turbo-cable-stream-source[connected]");
const broadcast = (room, text) => publish(server.url, { room, event: "broadcast", message: append(text) });
const shown = (page) => page.page.evaluate(() => [...document.querySelectorAll("#messages li")].map((item) => item.textContent));

async function open(path) {
  const page = await pages.open();
  await page.goto(pages.url + path);
  await page.until("it is subscribed", isConnected);
  return page;
}

/** Waits until the page shows a message. */
const shows = (page, text) =>
  page.until(`it shows ${text}`, (text) => [...document.querySelectorAll("#messages li")].some((item) => item.textContent === text), text);

test("a cached page is previewed and replaced, and shows each message once", async () => {
  const page = await open("/one");
  try {
    await broadcast("/one", "before");
    await shows(page, "before");
    await page.page.click("text=two");
    await page.until("the other page", () => document.title === "/two" && document.querySelector("turbo-cable-stream-source[connected]"));
    // The response waits, so that the preview is shown until then.
    let release;
    gate = new Promise((resolve) => (release = resolve));
    await page.page.click("text=one");
    await page.until("the preview", () => document.documentElement.hasAttribute("data-turbo-preview") && document.title === "/one");
    await page.until("the preview is subscribed", isConnected);
    await broadcast("/one", "to the preview");
    await shows(page, "to the preview");
    assert.deepEqual(await shown(page), ["before", "to the preview"]);
    release();
    await page.until("the page itself", () => !document.documentElement.hasAttribute("data-turbo-preview") && document.querySelector("#renders").textContent === "2");
    await page.until("it is subscribed", isConnected);
    await broadcast("/one", "after");
    await shows(page, "after");
    await broadcast("/two", "not here");
    await broadcast("/one", "last");
    await shows(page, "last");
    assert.deepEqual(await shown(page), ["after", "last"]);
  } finally {
    await page.close();
  }
});

test("a preview that is replaced at once leaves one subscription", async () => {
  const page = await open("/two");
  try {
    for (const [link, path] of [["one", "/one"], ["two", "/two"], ["one", "/one"], ["two", "/two"], ["one", "/one"]]) {
      const before = renders.get(path) ?? 0;
      await page.page.click(`text=${link}`);
      await page.until(`${path} itself`, ([path, before]) =>
        document.title === path && Number(document.querySelector("#renders").textContent) > before, [path, before]);
    }
    await page.until("it is subscribed", isConnected);
    for (const text of ["a", "b"]) await broadcast("/one", text);
    await shows(page, "b");
    assert.deepEqual(await shown(page), ["a", "b"]);
    // No message was sent for the pages that were left: each of the two came once over the wire.
    const sent = page.frames.filter((frame) => frame.includes("turbo-stream"));
    assert.equal(sent.length, 2);
  } finally {
    await page.close();
  }
});

test("a page of which messages are missing after a restart is loaded again", async () => {
  const own = server;
  const body = JSON.stringify({ room: "/one", event: "broadcast", message: append("rendered") });
  since = (await (await fetch(`${own.url}/api/nodevent/emit`, { method: "POST", body })).json()).positions[0];
  const page = await open("/one");
  try {
    const before = renders.get("/one");
    await own.stop("SIGKILL");
    // The server has forgotten the history in its memory.
    server = await startServer(configuration(), own.port);
    await page.until("it has been loaded again", (before) => Number(document.querySelector("#renders").textContent) > before, before, RECONNECT);
    // Morphing the page removes the attribute `connected`, and leaves the subscription.
    await broadcast("/one", "after");
    await shows(page, "after");
  } finally {
    since = null;
    await page.close();
  }
});
