// @rails/actioncable of Rails 6.1 to 8.1 in Chromium, from a page of another port, and one of another origin.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startBrowser } from "../socket_io/support/page.js";
import { publish, startServer, within } from "../socket_io/support/programs.js";
import { cableUrl, configuration, rails, turbo } from "./support/clients.js";

let browser, server;
before(async () => {
  [browser, server] = await Promise.all([startBrowser(rails), startServer(configuration())]);
});
after(async () => {
  await browser?.stop();
  await server?.stop();
});

/** Runs in the page: subscribes, and keeps what happens in `window.log`. */
const subscribe = ([url, params]) => {
  window.consumer ??= window.ActionCable.createConsumer(url);
  window.log ??= [];
  window.subscription = window.consumer.subscriptions.create(params, {
    connected: () => window.log.push("connected"),
    disconnected: () => window.log.push("disconnected"),
    rejected: () => window.log.push("rejected"),
    received: (message) => window.log.push({ message }),
  });
};

/** Runs in the page: as Turbo does for a preview, which is replaced within a moment. */
const subscribeAgain = ([url, params]) => {
  window.subscription.unsubscribe();
  const preview = window.consumer.subscriptions.create(params, {});
  preview.unsubscribe();
  window.log.length = 0;
  window.subscription = window.consumer.subscriptions.create(params, {
    connected: () => window.log.push("connected"),
    received: (message) => window.log.push({ message }),
  });
  return url;
};

/** Runs in the page: resolves when the server has executed all commands that the page has sent. */
const barrier = (params) => new Promise((resolve) => {
  window.consumer.subscriptions.create(params, { connected: () => resolve() });
});

for (const { version } of rails) {
  test(`@rails/actioncable ${version} in Chromium subscribes, receives, and subscribes again at once`, async () => {
    const page = await browser.page(version);
    const has = (text) => within(text, page.waitForFunction((wanted) => JSON.stringify(window.log).includes(wanted), text));
    const broadcast = (message) => publish(server.url, { room: version, event: "broadcast", message });
    const target = [cableUrl(server), turbo(version)];
    await page.evaluate(subscribe, target);
    await has("connected");
    await broadcast("one");
    await has('{"message":"one"}');
    await page.evaluate(subscribeAgain, target);
    await has("connected");
    // The page takes the confirmation of the preview for its own, and the server may still have to subscribe it again.
    await within("the barrier", page.evaluate(barrier, turbo(`again ${version}`)));
    await broadcast("two");
    await has('{"message":"two"}');
    assert.deepEqual((await page.evaluate(() => window.log)).filter((entry) => entry.message), [{ message: "two" }]);
    await page.close();
  });
}

test("a page of a foreign origin does not connect", async () => {
  const page = await browser.page("8.1", "page.test");
  const verdict = await within("a verdict", page.evaluate((url) => new Promise((resolve) => {
    const socket = new WebSocket(url, ["actioncable-v1-json", "actioncable-unsupported"]);
    socket.onopen = () => resolve("accepted");
    socket.onerror = () => resolve("refused");
  }), cableUrl(server)));
  assert.equal(verdict, "refused");
  await page.close();
});
