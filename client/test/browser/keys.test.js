// Keys from the application, in a browser: the tag names the endpoint, the request has the page's cookies
// and CSRF token, and an hour-old page goes on working.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Server, keyFor } from "../support/server.js";
import { until } from "../support/until.js";

let browser;
let web;
let server;
let requests = [];
let lifetime = 60_000; // of the keys that the endpoint returns
let refuse = false;

before(async () => {
  browser = await launch();
  web = await servePages({
    "/keys": async (request, response) => {
      let body = "";
      for await (const piece of request) body += piece;
      const { room } = JSON.parse(body);
      requests.push({ room, method: request.method, token: request.headers["x-csrf-token"], cookie: request.headers.cookie });
      if (refuse) return response.writeHead(302, { location: "/login" }).end();
      response.setHeader("content-type", "application/json").end(JSON.stringify({ key: keyFor(room, Date.now() + lifetime) }));
    },
    "/login": "<h1>Log in</h1>",
  }, { policy: "" });
  server = await new Server({ origins: [web.url] }).start();
});

after(async () => {
  await browser?.close();
  await Promise.all([web, server].map((one) => one?.close()));
});

afterEach(() => {
  [requests, lifetime, refuse] = [[], 60_000, false];
});

const tag = () => `<script src="${server.url}/api/protected" data-nodevent-key-url="/keys"></script>`;

async function pageOf(script) {
  web.pages["/"] = `<!doctype html><meta name="csrf-token" content="the token"><script>document.cookie = "session=abc"</script>${tag()}<script>${script}</script>`;
  return open(browser, web.url + "/");
}

test("the tag's endpoint gives the key, with cookies and CSRF token", async () => {
  const { page, context, complaints } = await pageOf('window.room = NoDevent.room("r").join()');
  await holds(page, "room.joined");
  assert.deepEqual(requests, [{ room: "r", method: "POST", token: "the token", cookie: "session=abc" }]);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a page whose keys have expired is joined again after a reconnect, and no event reports an error", async () => {
  const { page, context, complaints } = await pageOf(`
    window.received = [];
    window.room = NoDevent.room("r").setKey("${keyFor("r", Date.now() + 2000)}").join();
    room.on("key-expired", () => received.push("key-expired"));
    room.on("e", (message) => received.push(message));`);
  await holds(page, "room.joined");
  lifetime = 3_600_000;
  await until(() => requests.length, "the renewal");
  const expired = Date.now() + 2000;
  await until(() => Date.now() > expired);
  await server.stop();
  await server.start();
  await holds(page, "room.joined");
  await server.emit("r", "e", 1, "protected");
  await holds(page, "received.length");
  assert.deepEqual(await page.evaluate("received"), [1]);
  assert.equal(requests.length, 1);
  assert.deepEqual(complaints.filter((line) => line.startsWith("NoDevent")), []);
  await context.close();
});

test("a visitor who is signed out: the login page is not a key, the page and the console are notified", async () => {
  refuse = true;
  const { page, context, complaints } = await pageOf(`
    window.reasons = [];
    window.room = NoDevent.room("r");
    room.on("key-refused", (reason) => reasons.push(reason));
    room.join();`);
  await holds(page, "reasons.length");
  assert.match(await page.evaluate("reasons[0]"), /^POST \/keys returned 200 \(text\/html/);
  assert.equal(await page.evaluate("room.joined"), false);
  const lines = complaints.filter((line) => line.startsWith("NoDevent"));
  assert.equal(lines.length, 1);
  assert.match(lines[0], /room "r" refused: POST \/keys returned 200.*Sign in/);
  assert.equal(requests.length, 1);
  await context.close();
});
