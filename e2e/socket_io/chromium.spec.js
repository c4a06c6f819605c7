// The scenarios in Chromium, for each version and transport, and the origins that the server accepts.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { clients, runs, transports } from "./support/clients.js";
import { expected } from "./support/expected.js";
import { runInPage, startBrowser } from "./support/page.js";
import { within, startEcho, startServer } from "./support/programs.js";
import { helpers, scenarios } from "./support/scenarios.js";

let browser, echo, server;
before(async () => {
  [browser, echo, server] = await Promise.all([startBrowser(clients), startEcho(), startServer({ "/nodevent": {} })]);
});
after(async () => {
  await browser?.stop();
  await Promise.all([echo?.stop(), server?.stop()]);
});

for (const client of clients) {
  const { version, old } = client;
  for (const { name, transports: wanted } of transports) {
    test(`socket.io-client ${version} over ${name} in Chromium (${old ? "X-02" : "X-01"})`, async (t) => {
      const page = await browser.page(version);
      for (const [scenario, run] of Object.entries(scenarios).filter(([scenario]) => runs(client, scenario))) {
        await t.test(scenario, async () => {
          const received = await within(scenario, runInPage(page, run, { old, url: echo.url, transports: wanted }, helpers));
          expected[scenario](received, name);
        });
      }
      await page.close();
    });
  }
}

describe("origins that are accepted or refused (N-21)", () => {
  const tryToConnect = ({ io, url, transports }) =>
    new Promise((resolve) => {
      const socket = io(`${url}/nodevent`, { transports, forceNew: true, reconnection: false });
      socket.once("connect", () => {
        socket.disconnect();
        resolve("accepted");
      });
      socket.once("connect_error", () => resolve("refused"));
    });

  for (const [host, verdict] of [["127.0.0.1", "accepted"], ["localhost", "accepted"], ["page.test", "refused"]]) {
    for (const { name, transports: wanted } of transports) {
      test(`a page of ${host} on another port is ${verdict} over ${name} by a server on 127.0.0.1`, async () => {
        const page = await browser.page("newest 4.x", host);
        const client = { url: server.url, transports: wanted };
        assert.equal(await within("a verdict", runInPage(page, tryToConnect, client, {})), verdict);
        await page.close();
      });
    }
  }
});
