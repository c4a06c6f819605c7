// @rails/actioncable of Rails 6.1 to 8.1, as they are in npm.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { publish, startServer, until, within } from "../socket_io/support/programs.js";
import { cableUrl, configuration, rails, turbo } from "./support/clients.js";

/** A subscription that records what happens to it. */
function subscribe(consumer, params) {
  const log = [];
  const subscription = consumer.subscriptions.create(params, {
    connected: () => log.push("connected"),
    disconnected: () => log.push("disconnected"),
    rejected: () => log.push("rejected"),
    received: (message) => log.push({ message }),
  });
  const has = (entry) => until(`${JSON.stringify(entry)} in ${JSON.stringify(log)}`, () =>
    log.some((one) => JSON.stringify(one) === JSON.stringify(entry)));
  return { subscription, log, has, received: (message) => has({ message }) };
}

let server;
before(async () => {
  server = await startServer(configuration());
});
after(() => server?.stop());

const broadcast = (room, message, { url } = server) => publish(url, { room, event: "broadcast", message });

for (const { version, library } of rails) {
  describe(`@rails/actioncable ${version}`, () => {
    let consumer;
    before(() => {
      consumer = library.createConsumer(cableUrl(server));
    });
    after(() => consumer?.disconnect());

    test("subscribes and receives messages in order", async () => {
      const posts = subscribe(consumer, turbo(`posts ${version}`));
      await posts.has("connected");
      const html = '<turbo-stream action="append" target="posts"><template>ünï & "co"</template></turbo-stream>';
      for (const message of [html, { n: 1 }, [2]]) await broadcast(`posts ${version}`, message);
      await posts.received([2]);
      assert.deepEqual(posts.log, ["connected", { message: html }, { message: { n: 1 } }, { message: [2] }]);
    });

    test("subscribes twice with one identifier, and each subscription is confirmed and receives", async () => {
      const [one, two] = [1, 2].map(() => subscribe(consumer, turbo(`twice ${version}`)));
      await Promise.all([one.has("connected"), two.has("connected")]);
      const late = subscribe(consumer, turbo(`twice ${version}`));
      await late.has("connected");
      await broadcast(`twice ${version}`, "m");
      for (const { log, received } of [one, two, late]) {
        await received("m");
        assert.equal(log.filter((entry) => entry.message === "m").length, 1);
      }
      one.subscription.unsubscribe();
      await broadcast(`twice ${version}`, "still there");
      await two.received("still there");
    });

    test("is in one stream with two identifiers", async () => {
      const one = subscribe(consumer, turbo(`both ${version}`));
      const two = subscribe(consumer, turbo(`both ${version}`, { page: "2" }));
      await Promise.all([one.has("connected"), two.has("connected")]);
      await broadcast(`both ${version}`, "m");
      await Promise.all([one.received("m"), two.received("m")]);
      two.subscription.unsubscribe();
      await broadcast(`both ${version}`, "n");
      await one.received("n");
      await subscribe(consumer, turbo(`barrier ${version}`)).has("connected");
      assert.ok(!two.log.some(({ message }) => message === "n"));
    });

    test("unsubscribes and subscribes again at once, and receives each message once", async () => {
      const first = subscribe(consumer, turbo(`quick ${version}`));
      await first.has("connected");
      // As Turbo does for a preview: within 5 ms.
      first.subscription.unsubscribe();
      const second = subscribe(consumer, turbo(`quick ${version}`));
      second.subscription.unsubscribe();
      const third = subscribe(consumer, turbo(`quick ${version}`));
      await third.has("connected");
      // It takes the confirmation of the preview for its own.
      await subscribe(consumer, turbo(`before ${version}`)).has("connected");
      await broadcast(`quick ${version}`, "m");
      await third.received("m");
      await subscribe(consumer, turbo(`after ${version}`)).has("connected");
      assert.deepEqual(third.log.filter((entry) => entry.message), [{ message: "m" }]);
    });

    test("is rejected by a channel in Ruby, and by a forged name", async () => {
      const forged = turbo("posts");
      forged.signed_stream_name = forged.signed_stream_name.replace(/.$/, (digit) => (digit === "0" ? "1" : "0"));
      for (const params of [{ channel: "ChatChannel", room: version }, forged]) await subscribe(consumer, params).has("rejected");
    });

    test("receives what was published since its page was rendered", async () => {
      const response = await fetch(`${server.url}/api/nodevent/emit`, {
        method: "POST",
        body: JSON.stringify([0, 1, 2, 3].map((message) => ({ room: `since ${version}`, event: "e", message: { message } }))),
      });
      const { positions } = await response.json();
      const page = subscribe(consumer, turbo(`since ${version}`, { nodevent_since: positions[0] }));
      await page.has("connected");
      assert.deepEqual(page.log, [1, 2, 3].map((message) => ({ message: { message } })).concat("connected"));
    });
  });
}

for (const signal of ["SIGTERM", "SIGKILL"]) {
  test(`all versions reconnect after ${signal} and a restart, and receive again`, async () => {
    let own = await startServer(configuration());
    const pages = rails.map(({ version, library }) => {
      const consumer = library.createConsumer(cableUrl(own));
      return { version, consumer, ...subscribe(consumer, turbo("posts")) };
    });
    try {
      await Promise.all(pages.map(({ has }) => has("connected")));
      await own.stop(signal);
      await Promise.all(pages.map(({ has }) => has("disconnected")));
      own = await startServer(configuration(), own.port);
      // The client waits for 6 to 18 s.
      await within("all reconnect", Promise.all(pages.map(({ log }) =>
        until("connected again", () => log.filter((entry) => entry === "connected").length > 1, 60_000))), 60_000);
      await broadcast("posts", "after the restart", own);
      await Promise.all(pages.map(({ received }) => received("after the restart")));
    } finally {
      for (const { consumer } of pages) consumer.disconnect();
      await own.stop();
    }
  });
}

test("a connection is kept by pings alone, for longer than the client waits for one", async () => {
  const consumers = rails.map(({ library }) => library.createConsumer(cableUrl(server)));
  const pages = consumers.map((consumer) => subscribe(consumer, turbo("quiet")));
  try {
    await Promise.all(pages.map(({ has }) => has("connected")));
    // Three times the stale threshold of the clients.
    await new Promise((resolve) => setTimeout(resolve, 18_000));
    for (const { log } of pages) assert.deepEqual(log, ["connected"]);
  } finally {
    for (const consumer of consumers) consumer.disconnect();
  }
});
