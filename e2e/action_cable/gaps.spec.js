// What pages miss: with the stock Action Cable of Rails in Puma, and with the server, which reads the same channels of Redis. Both
// serve one application, the same broadcasts, and the same page with the stock JavaScript of Turbo.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort, start, startServer } from "../socket_io/support/programs.js";
import { startRedis } from "../support/server.js";
import { KEY, cableUrl } from "./support/clients.js";
import { RECONNECT, append, head, startPages } from "./support/pages.js";

const SECRET = "a-secret-of-keys-that-read-histories";
/** Broadcasts between rendering and subscribing, and during each time without a connection. */
const COUNT = 50;
const ROUNDS = 3;

let redis, server, rails, pages;

/** The application in Puma, with its own Action Cable. */
async function startRails() {
  const port = await freePort();
  const env = { RAILS_ENV: "production", REDIS_URL: redis.url, STREAM_KEY: KEY, NODEVENT: server.url };
  const args = ["-b", `tcp://127.0.0.1:${port}`, "-t", "5:5", fileURLToPath(new URL("stock/config.ru", import.meta.url))];
  return { ...(await start("puma", args, env, /Listening on/)), url: `http://127.0.0.1:${port}` };
}

/** A key that reads the history of a stream. */
function key(stream) {
  const expires = Date.now() + 3_600_000;
  return `${createHash("sha256").update(`${stream}${expires}${SECRET}`).digest("hex")}:${expires}`;
}

/** Pages that are rendered and wait to be sent, by their stream. */
const rendered = new Map();

/** The page of a stream: the application renders it at once, and the browser receives it as soon as `send` resolves. */
async function respond(path, parameters) {
  if (path !== "/page") return null;
  const [stream, cable] = [parameters.get("stream"), parameters.get("cable")];
  const response = await fetch(`${rails.url}/page?${new URLSearchParams({ stream, key: key(stream) })}`);
  assert.equal(response.status, 200);
  const body = await response.text();
  rendered.get(stream).arrived();
  await rendered.get(stream).send;
  return `${head(cable)}<title>${stream}</title><script type="module">import "@hotwired/turbo-rails";</script>${body}`;
}

before(async () => {
  redis = await startRedis();
  const tap = { redis: redis.url, channel_prefix: "stock" };
  const namespace = { protocol: "action_cable", secret: SECRET, history: { size: 1_000 }, action_cable: { signed_stream_key: KEY, tap } };
  server = await startServer({ "/nodevent": namespace });
  rails = await startRails();
  pages = await startPages(respond);
});
after(async () => {
  await pages?.stop();
  await rails?.stop();
  await server?.stop();
  await redis?.stop();
});

const isConnected = () => document.querySelector("turbo-cable-stream-source[connected]");
const isDisconnected = () => document.querySelector("turbo-cable-stream-source:not([connected])");
const shown = (page) => page.page.evaluate(() => [...document.querySelectorAll("#messages li")].map((item) => item.textContent));
const shows = (page, text) =>
  page.until(`it shows ${text}`, (text) => [...document.querySelectorAll("#messages li")].some((item) => item.textContent === text), text);

/** The application broadcasts texts to a stream, as `ActionCable.server.broadcast`. */
async function broadcast(stream, texts) {
  const response = await fetch(`${rails.url}/broadcast`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ stream, messages: texts.map(append) }),
  });
  assert.equal(response.status, 204);
  return texts;
}

const texts = (name, count) => Array.from({ length: count }, (_, n) => `${name} ${n}`);

/** A page of each server. `meanwhile` runs after both were rendered, and before the browser receives them. */
async function open(stream, meanwhile) {
  const both = { stock: `${rails.url.replace("http", "ws")}/cable`, nodevent: cableUrl(server) };
  let release, count = 0;
  const send = new Promise((resolve) => (release = resolve));
  const areRendered = new Promise((resolve) => rendered.set(stream, { send, arrived: () => (count += 1) === 2 && resolve() }));
  const opened = Promise.all(Object.entries(both).map(async ([name, cable]) => {
    const page = await pages.open();
    await page.goto(`${pages.url}/page?${new URLSearchParams({ stream, cable })}`);
    await page.until("it is subscribed", isConnected);
    return [name, page];
  }));
  try {
    await Promise.race([areRendered, opened]);
    await meanwhile();
  } finally {
    release();
  }
  return Object.fromEntries(await opened);
}

const forBoth = ({ stock, nodevent }, action) => Promise.all([stock, nodevent].map(action));

/** What is missing of what was broadcast. */
const missing = (all, received) => all.filter((text) => !received.includes(text));

test(`${COUNT} broadcasts between rendering and subscribing arrive in order and once; stock Action Cable loses some`, async (t) => {
  const all = [];
  const both = await open("between", async () => all.push(...(await broadcast("between", texts("before", COUNT)))));
  try {
    all.push(...(await broadcast("between", ["live"])));
    await forBoth(both, (page) => shows(page, "live"));
    assert.deepEqual(await shown(both.nodevent), all);
    const lost = missing(all, await shown(both.stock));
    assert.ok(lost.length > 0, "stock Action Cable has lost nothing");
    t.diagnostic(`of ${all.length} broadcasts, stock Action Cable lost ${lost.length}, NoDevent 0`);
  } finally {
    await forBoth(both, (page) => page.close());
  }
});

test(`${ROUNDS} reconnects, each with ${COUNT} broadcasts meanwhile, lose and repeat nothing; stock Action Cable loses some`, async (t) => {
  const all = [];
  const send = async (...broadcasts) => all.push(...(await broadcast("reconnects", broadcasts)));
  const both = await open("reconnects", () => send(...texts("before", COUNT)));
  const waits = { stock: [], nodevent: [] };
  try {
    for (let round = 1; round <= ROUNDS; round += 1) {
      await send(`connected ${round}`);
      await forBoth(both, (page) => shows(page, `connected ${round}`));
      await both.nodevent.confirmed();
      await forBoth(both, async (page) => {
        page.cut();
        await page.until("it has lost its connection", isDisconnected);
      });
      await send(...texts(`round ${round}`, COUNT));
      const began = performance.now();
      await Promise.all(Object.entries(both).map(async ([name, page]) => {
        page.restore();
        await page.until("it is subscribed again", isConnected, null, RECONNECT);
        waits[name].push(Math.round((performance.now() - began) / 100) / 10);
      }));
    }
    await send("last");
    await forBoth(both, (page) => shows(page, "last"));
    assert.deepEqual(await shown(both.nodevent), all);
    const lost = missing(all, await shown(both.stock));
    assert.ok(lost.length > 0, "stock Action Cable has lost nothing");
    t.diagnostic(`of ${all.length} broadcasts, stock Action Cable lost ${lost.length}, NoDevent 0`);
    t.diagnostic(`seconds until the page was connected again: stock ${waits.stock.join(", ")}; NoDevent ${waits.nodevent.join(", ")}`);
  } finally {
    await forBoth(both, (page) => page.close());
  }
});
