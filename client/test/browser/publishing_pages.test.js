// No page in a developer's browser can publish: the server runs on the same machine and accepts programs without a
// key. Each way in which a page can send a POST without asking first, from the server's own host and from another.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open, servePages } from "../support/browser.js";
import { Server } from "../support/server.js";
import { until } from "../support/until.js";

let browser;
let web;
let server;

before(async () => {
  browser = await launch();
  web = await servePages({ "/": '<!doctype html><iframe name="sink"></iframe>' }, { policy: "" });
  server = await new Server({ origins: ["*"] }).start();
});

after(async () => {
  await browser?.close();
  await Promise.all([web, server].map((one) => one?.close()));
});

const history = async () => (await (await fetch(`${server.url}/api/nodevent/rooms/r/history`)).json()).publications.map(({ message }) => message);

/** Returns what the page learns: an error, or the status. */
const ATTEMPTS = {
  "fetch without reading": (url, body) => `fetch("${url}", { method: "POST", mode: "no-cors", body: ${body} }).then(({ type }) => type)`,
  "fetch with credentials": (url, body) => `fetch("${url}", { method: "POST", mode: "no-cors", credentials: "include", body: ${body} }).then(({ type }) => type)`,
  "fetch with JSON": (url, body) => `fetch("${url}", { method: "POST", headers: { "content-type": "application/json" }, body: ${body} }).then(({ status }) => status, String)`,
  "a beacon": (url, body) => `navigator.sendBeacon("${url}", ${body})`,
  "a form": (url, body) =>
    `{ const form = Object.assign(document.createElement("form"), { action: "${url}", method: "post", enctype: "text/plain", target: "sink" });
       const text = ${body};
       form.append(Object.assign(document.createElement("input"), { name: text.slice(0, -2), value: text.slice(-2) }));
       document.body.append(form); form.submit(); true }`,
};

for (const host of ["127.0.0.1", "page.test"]) {
  test(`a page of ${host} publishes nothing, whatever it tries`, async () => {
    const { page, context } = await open(browser, web.on(host) + "/");
    const rejected = await server.metric("nodevent_rejected_requests_total");
    for (const [how, attempt] of Object.entries(ATTEMPTS)) {
      const body = JSON.stringify(JSON.stringify({ room: "r", event: "e", message: how }));
      await page.evaluate(attempt(`${server.url}/api/nodevent/emit`, body));
    }
    // All have arrived, and a program's publication after them is the only one.
    await until(async () => (await server.metric("nodevent_rejected_requests_total")) >= rejected + Object.keys(ATTEMPTS).length - 1, "the attempts to arrive");
    await server.emit("r", "e", `program after ${host}`);
    assert.deepEqual((await history()).filter((message) => !message.startsWith("program")), []);
    assert.ok((await history()).includes(`program after ${host}`));
    await context.close();
  });
}
