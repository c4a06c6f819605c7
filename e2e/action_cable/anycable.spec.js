// The clients of AnyCable, with both protocols.
import assert from "node:assert/strict";
import { createCable as createCore } from "@anycable/core";
import { after, before, describe, test } from "node:test";
import { publish, startServer, until, within } from "../socket_io/support/programs.js";
import { WebSocket, cableUrl, configuration, turbo } from "./support/clients.js";

// It reads the page when it is created.
globalThis.window = { location: { protocol: "http:", host: "127.0.0.1" } };
const { createCable: createWeb } = await import("@anycable/web");

const options = { websocketImplementation: WebSocket, logLevel: "error" };
const clients = [
  { name: "@anycable/core", create: (url, more) => createCore(url, { ...options, ...more }) },
  { name: "@anycable/web", create: (url, more) => createWeb(url, { ...options, monitor: undefined, ...more }) },
];

/** A subscription that records what happens to it. */
function subscribe(cable, params) {
  const log = [];
  const { channel: name, ...rest } = params;
  const channel = cable.subscribeTo(name, rest);
  for (const event of ["connect", "disconnect", "close"]) channel.on(event, () => log.push(event));
  channel.on("message", (message) => log.push({ message }));
  channel.on("info", ({ type }) => log.push(type));
  const has = (entry) => until(`${JSON.stringify(entry)} in ${JSON.stringify(log)}`, () =>
    log.some((one) => JSON.stringify(one) === JSON.stringify(entry)));
  return { channel, log, has, received: (message) => has({ message }) };
}

let server;
before(async () => {
  server = await startServer(configuration());
});
after(() => server?.stop());

const broadcast = (room, message, { url } = server) => publish(url, { room, event: "broadcast", message });

for (const { name, create } of clients) {
  for (const protocol of ["actioncable-v1-json", "actioncable-v1-ext-json"]) {
    describe(`${name} with ${protocol}`, () => {
      const stream = (of) => turbo(`${of} ${name} ${protocol}`);
      const room = (of) => `${of} ${name} ${protocol}`;

      test("subscribes, receives, unsubscribes and subscribes again", async () => {
        const cable = create(cableUrl(server), { protocol });
        try {
          const posts = subscribe(cable, stream("posts"));
          await posts.has("connect");
          for (const message of ["<turbo-stream></turbo-stream>", { n: 1 }]) await broadcast(room("posts"), message);
          await posts.received({ n: 1 });
          // A second subscription with the same identifier gets no second confirmation.
          const again = subscribe(cable, stream("posts"));
          await broadcast(room("posts"), { n: 2 });
          await Promise.all([posts.received({ n: 2 }), again.received({ n: 2 })]);
          posts.channel.disconnect();
          again.channel.disconnect();
          const last = subscribe(cable, stream("posts"));
          await last.has("connect");
          await broadcast(room("posts"), { n: 3 });
          await last.received({ n: 3 });
          assert.deepEqual(last.log.filter((entry) => entry.message), [{ message: { n: 3 } }]);
        } finally {
          cable.disconnect();
        }
      });

      test("is rejected by a channel in Ruby", async () => {
        const cable = create(cableUrl(server), { protocol });
        try {
          const chat = subscribe(cable, { channel: "ChatChannel" });
          await chat.has("close");
        } finally {
          cable.disconnect();
        }
      });
    });
  }

  test(`${name} with positions recovers what it missed while it was disconnected`, async () => {
    const cable = create(cableUrl(server), { protocol: "actioncable-v1-ext-json" });
    try {
      const room = `missed ${name}`;
      const posts = subscribe(cable, turbo(room));
      await posts.has("connect");
      await broadcast(room, { n: 1 });
      await posts.received({ n: 1 });
      // The network fails. The client comes back by itself.
      cable.transport.ws.terminate();
      // A client that continues its session does not notify its channels.
      await until("the channel is disconnected", () => posts.channel.state !== "connected");
      for (const n of [2, 3, 4]) await broadcast(room, { n });
      await within("history", posts.has("history_received"), 60_000);
      await broadcast(room, { n: 5 });
      await posts.received({ n: 5 });
      const received = posts.log.flatMap((entry) => (entry.message ? [entry.message.n] : []));
      assert.deepEqual(received, [1, 2, 3, 4, 5]);
    } finally {
      cable.disconnect();
    }
  });
}
