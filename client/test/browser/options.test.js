// Every documented option of `connect`, in Chromium, from a page of another origin than the server.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Relay } from "../support/proxy.js";
import { Server } from "../support/server.js";

const OPTIONS = {
  url: "({ url }) => ({ url })",
  namespace: '({ url }) => ({ url, namespace: "/protected" })',
  key: '({ url }) => ({ url, key: () => "k:4102444800000" })',
  keyUrl: '({ url }) => ({ url, keyUrl: "/keys" })',
  auth: '({ url }) => ({ url, auth: (send) => send({ token: "t" }) })',
  token: '({ url }) => ({ url, token: "t" })',
  path: '({ url }) => ({ url, path: "/socket.io/" })',
  transports: '({ url }) => ({ url, transports: ["polling"] })',
  upgrade: '({ url }) => ({ url, transports: ["polling", "websocket"], upgrade: false })',
  query: '({ url }) => ({ url, query: { a: "1" } })',
  timeout: "({ url }) => ({ url, timeout: 5000 })",
  reconnection: "({ url }) => ({ url, reconnection: false })",
  reconnectionAttempts: "({ url }) => ({ url, reconnectionAttempts: 3 })",
  reconnectionDelay: "({ url }) => ({ url, reconnectionDelay: 10 })",
  reconnectionDelayMax: "({ url }) => ({ url, reconnectionDelayMax: 100 })",
  randomizationFactor: "({ url }) => ({ url, randomizationFactor: 0 })",
  withCredentials: '({ url }) => ({ url, transports: ["polling"], withCredentials: true })',
  WebSocket: "({ url }) => ({ url, WebSocket: class extends WebSocket {} })",
};

let browser;
let web;
let server;
let relay;

before(async () => {
  browser = await launch();
  web = await servePages({
    "/": '<!doctype html><script type="module" src="/page.js"></script>',
    "/page.js": 'import { connect } from "/dist/nodevent.mjs"; window.connect = connect; window.ready = true;',
    "/keys": (_request, response) => response.setHeader("content-type", "application/json").end('{"key": "k:4102444800000"}'),
  });
  server = await new Server({ origins: [web.on("page.test")] }).start();
  relay = await new Relay(() => server.port).start();
});

after(async () => {
  await browser?.close();
  await Promise.all([web, relay, server].map((one) => one?.close()));
});

test("every option in the types is tested here", () => {
  const types = readFileSync(new URL("../../types/nodevent.d.ts", import.meta.url), "utf8");
  const members = ["export interface ConnectionOptions", "export interface ConnectOptions extends ConnectionOptions"].flatMap((declaration) => {
    const body = types.split(declaration + " {")[1].split("\n}")[0];
    return [...body.matchAll(/^  (\w+)[?]?:/gm)].map(([, name]) => name);
  });
  assert.deepEqual(new Set(Object.keys(OPTIONS)), new Set(members));
});

for (const [name, options] of Object.entries(OPTIONS)) {
  test(`the option ${name} works across origins`, async () => {
    relay.heads.length = 0;
    const { page, context, complaints } = await open(browser, web.on("page.test") + "/");
    await holds(page, "window.ready");
    await page.evaluate(`window.nodevent = connect((${options})({ url: "http://nodevent.test:${relay.port}" })); undefined`);
    await holds(page, "nodevent.connected()");
    const result = await page.evaluate("new Promise((resolve) => nodevent.room('r').join(resolve))");
    assert.equal(result, name === "namespace" ? "Must provide key" : null);
    if (name === "query") assert.match(relay.heads[0], /[?&]a=1&/);
    assert.deepEqual(complaints.filter((line) => !line.includes("Must provide key")), []);
    await context.close();
  });
}
