// A page without our client: the browser's own EventSource receives a room over plain HTTP. It reconnects
// by itself with the last id, and the server continues from there.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { holds, launch, open, servePages } from "../support/browser.js";
import { startRedis } from "../support/redis.js";
import { SECRET, Server, keyFor } from "../support/server.js";
import { until } from "../support/until.js";

let redis;
let mortal; // the server of the page
let other; // the server to which the application publishes
let browser;
let web;
let context;
let page;

before(async () => {
  redis = await startRedis();
  const kept = { redis: { host: "127.0.0.1", port: redis.port }, history: { size: 10_000, age: "10m" } };
  const config = { "/nodevent": kept, "/protected": { ...kept, secret: SECRET } };
  mortal = await new Server(config).start();
  other = await new Server(config).start();
  browser = await launch();
  web = await servePages({});
});

afterEach(() => context?.close());

after(async () => {
  await browser?.close();
  await web?.close();
  await mortal?.close();
  await other?.close();
  await redis?.stop();
});

/** A page that opens all of `paths` and records everything: publications, what it is notices, its errors. */
async function listen(...paths) {
  web.pages["/page.js"] = `
    window.received = [];
    window.notices = [];
    window.errors = 0;
    window.sources = ${JSON.stringify(paths.map((path) => mortal.url + path))}.map((url) => new EventSource(url));
    for (const source of sources) {
      source.onmessage = ({ data, lastEventId }) => received.push({ ...JSON.parse(data), lastEventId });
      for (const name of ["joined", "lost"]) source.addEventListener(name, ({ data }) => notices.push([name, JSON.parse(data)]));
      source.onerror = () => errors++;
    }`;
  web.pages["/"] = '<!doctype html><meta charset="utf-8"><script src="/page.js"></script>';
  ({ context, page } = await open(browser, web.url));
}

/** Waits for the last number of a room, and compares: each once, in order. Reports the first that is wrong. */
async function receivedAll(published, room) {
  const last = () => page.evaluate((wanted) => received.findLast((one) => one.room === wanted)?.message, room);
  await until(async () => (await last()) === published - 1, "what was published last", 60_000);
  const numbers = await page.evaluate((wanted) => received.filter((one) => one.room === wanted).map(({ message }) => message), room);
  const wrong = numbers.findIndex((number, n) => number !== n);
  assert.equal(wrong, -1, `after ${numbers[wrong - 1]} came ${numbers[wrong]}`);
  assert.equal(numbers.length, published);
}

test("a publication is a message whose data is the publication and whose id is its position", async () => {
  await listen(`/api/nodevent/rooms/${encodeURIComponent("ünï/☃ 1")}/events`);
  await holds(page, "window.notices?.length === 1");
  await other.publish({ room: "elsewhere", event: "e", message: "not for us" });
  await other.publish({ room: "ünï/☃ 1", event: "update", message: { text: "two\nlines", list: [1, null] } });
  await holds(page, "received.length === 1");
  const [{ lastEventId, ...publication }] = await page.evaluate("received");
  assert.deepEqual(publication, { room: "ünï/☃ 1", event: "update", message: { text: "two\nlines", list: [1, null] }, position: lastEventId });
  assert.equal(await page.evaluate("notices[0][0]"), "joined");
  assert.equal(await page.evaluate("errors"), 0);
});

test("in a namespace with a secret a key is valid for its room only", async () => {
  await listen(`/api/protected/rooms/theroom/events?key=${encodeURIComponent(keyFor("theroom"))}`);
  await holds(page, "window.notices?.length === 1");
  await other.publish({ room: "theroom", event: "e", message: "secret" }, "protected");
  await holds(page, "received.length === 1");
  for (const query of ["", `?key=${encodeURIComponent(keyFor("another"))}`]) {
    await context.close();
    await listen(`/api/protected/rooms/theroom/events${query}`);
    await holds(page, "window.sources?.[0].readyState === EventSource.CLOSED");
    assert.deepEqual(await page.evaluate("[received, notices, errors]"), [[], [], 1], query);
  }
});

test("the server is killed and restarted under traffic: the page reconnects with its last id, nothing missed, nothing twice", async () => {
  await listen(`/api/protected/rooms/busy/events?key=${encodeURIComponent(keyFor("busy", Date.now() + 600_000))}`);
  await holds(page, "window.notices?.length === 1");

  let published = 0;
  const application = { runs: true };
  const traffic = (async () => {
    while (application.runs) {
      await other.publish({ room: "busy", event: "n", message: published++ }, "protected");
      await new Promise((resolve) => setTimeout(resolve, 10)); // an application's pace
    }
  })();
  const more = async () => {
    const from = published;
    await until(() => published > from + 20, "traffic");
  };
  try {
    for (let comeback = 1; comeback <= 3; comeback++) {
      await more();
      await mortal.stop("SIGKILL");
      await more();
      await mortal.start();
      // The browser waits some seconds before it retries.
      await until(() => page.evaluate("notices.length").then((joins) => joins === comeback + 1), `comeback ${comeback}`, 60_000);
    }
    await more();
  } finally {
    application.runs = false;
    await traffic;
  }
  await receivedAll(published, "busy");
  assert.deepEqual(await page.evaluate("notices.map(([name, { recovered }]) => [name, recovered])"), Array.from({ length: 4 }, () => ["joined", true]));
});

test("more missed publications than one send buffer holds arrive over several reconnects, without a gap", async () => {
  const rooms = ["a", "b", "c", "d", "e"]; // a browser has six connections for one server
  await listen(...rooms.map((room) => `/api/nodevent/rooms/${room}/events`));
  await holds(page, `window.notices?.length === ${rooms.length}`);
  await mortal.stop("SIGKILL");
  const many = 2500; // a send buffer holds 1,024
  for (let n = 0; n < many; n += 100)
    await other.publish(rooms.flatMap((room) => Array.from({ length: 100 }, (_, i) => ({ room, event: "n", message: n + i }))));
  await mortal.start();
  for (const room of rooms) await receivedAll(many, room);
});
