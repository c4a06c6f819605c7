// Every stock client in Chromium, unmodified: @rails/actioncable of Rails 6.1 to 8.1, the element of @hotwired/turbo-rails, and
// @anycable/web with both protocols.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { publish, startServer } from "../socket_io/support/programs.js";
import { configuration, stamps, turbo } from "./support/clients.js";
import { append, clients, startPages } from "./support/pages.js";

let pages, server;
before(async () => {
  server = await startServer(configuration());
  pages = await startPages();
});
after(async () => {
  await pages?.stop();
  await server?.stop();
});

/** What a page may take to subscribe again: Turbo shows a preview for a moment. Milliseconds. */
const MOMENT = 5;

for (const client of clients) {
  describe(`${client.name} in Chromium`, () => {
    let page;
    before(async () => {
      page = await pages.page(client, server);
    });
    after(() => page?.close());

    const room = (of) => `${of} ${client.name}`;
    const broadcast = (of, text) => publish(server.url, { room: room(of), event: "broadcast", message: append(text) });
    /** A subscription, confirmed. The room has the same name. */
    const subscribe = async (name, params) => {
      await page.subscribe(name, turbo(room(name), params));
      await page.isConnected(name);
    };
    /** What is sent after this to a subscription that has ended would have arrived. */
    const barrier = (name) => subscribe(name);

    test("subscribes and receives messages in order", async () => {
      await subscribe("posts");
      for (const text of ["one", "ünï ☃ &amp; co", "three"]) await broadcast("posts", text);
      await page.received("posts", append("three"));
      assert.deepEqual(await page.texts("posts"), ["one", "ünï ☃ &amp; co", "three"]);
    });

    test("subscribes twice with one identifier, and each subscription receives each message once", async () => {
      await subscribe("twice");
      await page.subscribe("second", turbo(room("twice")));
      await page.isConnected("second");
      await broadcast("twice", "both");
      for (const name of ["twice", "second"]) await page.received(name, append("both"));
      await page.end("twice");
      await broadcast("twice", "still there");
      await page.received("second", append("still there"));
      assert.deepEqual(await page.texts("second"), ["both", "still there"]);
      assert.deepEqual(await page.texts("twice"), ["both"]);
    });

    test("unsubscribes, and receives nothing more", async () => {
      await subscribe("ended");
      await page.end("ended");
      await barrier("after the end");
      await broadcast("ended", "too late");
      await subscribe("later");
      await broadcast("later", "here");
      await page.received("later", append("here"));
      assert.deepEqual(await page.texts("ended"), []);
    });

    test(`unsubscribes and subscribes again within ${MOMENT} ms, and receives each message once`, async () => {
      await subscribe("quick");
      // A busy machine may interrupt the page: then it was not quick enough to show anything.
      let took = Infinity;
      for (let round = 1; took > MOMENT; round += 1) {
        took = await page.again("quick");
        await page.isConnected("quick");
        // The page takes the confirmation of the preview for its own, and the server may still have to subscribe it again.
        await barrier(`again ${round}`);
        await broadcast("quick", `round ${round}`);
        await page.received("quick", append(`round ${round}`));
        await barrier(`round ${round}`);
        assert.deepEqual(await page.texts("quick"), [`round ${round}`]);
      }
    });

    test("receives what was published since its page was rendered, in order and once", async () => {
      const texts = Array.from({ length: 50 }, (_, n) => `message ${n}`);
      const publications = ["rendered", ...texts].map((text) => ({ room: room("since"), event: "broadcast", message: append(text) }));
      const response = await fetch(`${server.url}/api/nodevent/emit`, { method: "POST", body: JSON.stringify(publications) });
      const { positions } = await response.json();
      await subscribe("since", stamps(positions[0]));
      await page.received("since", append(texts.at(-1)));
      await broadcast("since", "live");
      await page.received("since", append("live"));
      assert.deepEqual(await page.texts("since"), [...texts, "live"]);
    });
  });
}
