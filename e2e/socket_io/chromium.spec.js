// The same in Chromium: each version and each transport, and which pages are let in.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { clients, transports } from "./support/clients.js";
import { expected } from "./support/expected.js";
import { runInPage, startBrowser } from "./support/page.js";
import { soon, startEcho, startServer } from "./support/programs.js";
import { helpers, scenarios } from "./support/scenarios.js";

let browser, echo, server;
before(async () => {
  [browser, echo, server] = await Promise.all([startBrowser(clients), startEcho(), startServer({ "/nodevent": {} })]);
});
after(async () => {
  await browser?.stop();
  await Promise.all([echo?.stop(), server?.stop()]);
});

for (const { version } of clients) {
  for (const { name, transports: wanted } of transports) {
    test(`socket.io-client ${version} over ${name} in Chromium (X-01)`, async (t) => {
      const page = await browser.page(version);
      for (const [scenario, run] of Object.entries(scenarios)) {
        await t.test(scenario, async () => {
          const heard = await soon(scenario, runInPage(page, run, { url: echo.url, transports: wanted }, helpers));
          expected[scenario](heard, name);
        });
      }
      await page.close();
    });
  }
}

describe("pages that are let in and pages that are not (N-21)", () => {
  const knock = ({ io, url, transports }) =>
    new Promise((resolve) => {
      const socket = io(`${url}/nodevent`, { transports, forceNew: true, reconnection: false });
      socket.once("connect", () => {
        socket.disconnect();
        resolve("let in");
      });
      socket.once("connect_error", () => resolve("refused"));
    });

  for (const [host, verdict] of [["127.0.0.1", "let in"], ["localhost", "refused"]]) {
    for (const { name, transports: wanted } of transports) {
      test(`a page of ${host} on another port is ${verdict} over ${name} by a server on 127.0.0.1`, async () => {
        const page = await browser.page("newest 4.x", host);
        const client = { url: server.url, transports: wanted };
        assert.equal(await soon("a verdict", runInPage(page, knock, client, {})), verdict);
        await page.close();
      });
    }
  }
});
