// The server is killed and restarted twenty times while an application keeps publishing through a
// second server on the same Redis. All pages are on the first server. No publication may be missed or
// delivered twice.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { launch, open } from "../support/browser.js";
import { startRedis } from "../support/redis.js";
import { Server } from "../support/server.js";
import { record, until } from "../support/until.js";

const RESTARTS = 20;

let redis;
let mortal;
let other;
let browser;
const pages = []; // each: its description, its numbers, whether it is in the room, and its gaps

before(async () => {
  redis = await startRedis();
  const config = { "/nodevent": { redis: { host: "127.0.0.1", port: redis.port }, history: { size: 100_000, age: "10m" } } };
  mortal = await new Server(config).start();
  other = await new Server(config).start();
});

after(async () => {
  for (const { close } of pages) await close();
  await browser?.close();
  await mortal?.close();
  await other?.close();
  await redis?.stop();
});

async function inNode(transports) {
  const nodevent = connect({ url: mortal.url, WebSocket, transports, reconnectionDelay: 20, reconnectionDelayMax: 100 });
  const room = nodevent.room("busy");
  const numbers = [];
  room.on("n", (n) => numbers.push(n));
  const { gap } = record(room, "gap");
  await new Promise((resolve, reject) => room.join((err) => (err ? reject(new Error(err)) : resolve())));
  const what = `over ${transports.join(", then ")}`;
  return { what, numbers: () => numbers, isIn: () => room.joined, gaps: () => gap, close: () => nodevent.close() };
}

/** A Chromium page that loads the script from the server that is killed. */
async function inChromium() {
  browser = await launch();
  const { page, context } = await open(browser, mortal.url + "/healthz");
  await page.addScriptTag({ url: `${mortal.url}/api/nodevent` });
  await page.evaluate(`
    window.numbers = [];
    window.gaps = [];
    window.mine = NoDevent.connect({ url: "${mortal.url}", reconnectionDelay: 20, reconnectionDelayMax: 100 });
    mine.room("busy").on("n", (n) => numbers.push(n)).on("gap", (position) => gaps.push(position)).join();
    undefined`);
  const isIn = () => page.evaluate('mine.room("busy").joined');
  await until(isIn);
  const get = (name) => () => page.evaluate(name);
  return { what: "in Chromium", numbers: get("numbers"), isIn, gaps: get("gaps"), close: () => context.close() };
}

test("a server killed and restarted twenty times under traffic: nothing missed, nothing twice", async () => {
  for (const transports of [["websocket"], ["polling"], ["websocket", "polling"], ["polling", "websocket"]])
    pages.push(await inNode(transports));
  pages.push(await inChromium());

  let published = 0;
  const application = { runs: true };
  const traffic = (async () => {
    while (application.runs) await other.emit("busy", "n", published++);
  })();

  for (let n = 0; n < RESTARTS; n++) {
    const from = published;
    await until(() => published > from + 20, "traffic");
    await mortal.stop("SIGKILL");
    await mortal.start();
    await until(async () => (await Promise.all(pages.map(({ isIn }) => isIn()))).every(Boolean), "all pages to be back", 30_000);
  }
  application.runs = false;
  await traffic;

  for (const { what, numbers, gaps } of pages) {
    let received = [];
    await until(
      async () => (received = await numbers()).length >= published,
      () => {
        const missing = Array.from({ length: published }, (_, n) => n).filter((n) => !received.includes(n));
        return `${what}: of ${published} publications ${missing.length} are missing, from ${missing[0]} to ${missing.at(-1)}`;
      },
    );
    assert.deepEqual(received, Array.from({ length: published }, (_, n) => n), what);
    assert.deepEqual(await gaps(), []);
  }
});
