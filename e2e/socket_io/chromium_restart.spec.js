// A page whose server stops, is killed, or disappears in the middle of a poll fires disconnect and reconnects.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { clients, transports } from "./support/clients.js";
import { startBrowser } from "./support/page.js";
import { publish, within, startServer } from "./support/programs.js";

const configuration = { "/nodevent": { history: "off" } };

let browser;
before(async () => {
  browser = await startBrowser(clients);
});
after(() => browser?.stop());

/** In the page: a client that reconnects quickly, joins its room each time, and records its events. */
function member([url, transports]) {
  window.happened = [];
  const socket = window.io(`${url}/nodevent`, { transports, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, timeout: 5_000 });
  socket.on("connect", () => socket.emit("join", { room: "r" }, (error, ok) => window.happened.push(["joined", error, ok])));
  socket.on("event", ({ message }) => window.happened.push(["received", message]));
  socket.on("disconnect", (reason) => window.happened.push(["disconnected", reason]));
}

/** Waits until the newest recorded event is of `kind`; resolves with it. */
async function last(page, kind) {
  const handle = await within(kind, page.waitForFunction((kind) => window.happened.at(-1)?.[0] === kind && window.happened.at(-1), kind));
  return handle.jsonValue();
}

for (const { version } of clients) {
  for (const { name, transports: wanted } of transports) {
    describe(`socket.io-client ${version} over ${name} in Chromium`, () => {
      for (const signal of ["SIGTERM", "SIGKILL"]) {
        test(`reconnects after ${signal} and a restart, and receives again`, async () => {
          let server = await startServer(configuration);
          const page = await browser.page(version);
          try {
            await page.evaluate(member, [server.url, wanted]);
            assert.deepEqual(await last(page, "joined"), ["joined", null, true]);
            // Over long-polling a poll is pending from here on: the server's next response ends it.
            await publish(server.url, { room: "r", event: "e", message: "before" });
            await last(page, "received");
            await server.stop(signal);
            const [, reason] = await last(page, "disconnected");
            assert.ok(["transport close", "transport error"].includes(reason), reason);
            server = await startServer(configuration, server.port);
            assert.deepEqual(await last(page, "joined"), ["joined", null, true]);
            await publish(server.url, { room: "r", event: "e", message: "after" });
            assert.deepEqual(await last(page, "received"), ["received", "after"]);
          } finally {
            await page.close();
            await server.stop();
          }
        });
      }
    });
  }
}
