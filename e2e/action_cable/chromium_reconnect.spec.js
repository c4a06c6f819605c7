// Every stock client in Chromium loses its connection: the network fails, the server is killed, it stops, or it is replaced by
// another one while it closes its connections over the drain timeout.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { publish, startServer, until } from "../socket_io/support/programs.js";
import { startRedis } from "../support/server.js";
import { configuration, stamps, turbo } from "./support/clients.js";
import { append, clients, startPages } from "./support/pages.js";

let pages;
before(async () => {
  pages = await startPages();
});
after(() => pages?.stop());

const emit = (server, text) => publish(server.url, { room: "posts", event: "broadcast", message: append(text) });

/** The position after a first message. */
async function position(server) {
  const body = JSON.stringify({ room: "posts", event: "broadcast", message: append("rendered") });
  const response = await fetch(`${server.url}/api/nodevent/emit`, { method: "POST", body });
  return (await response.json()).positions[0];
}

/** A page of each client, subscribed: since a position, or from now on. */
async function subscribed(server, since) {
  return Promise.all(clients.map(async (client) => {
    const page = await pages.page(client, server);
    await page.subscribe("posts", turbo("posts", since && stamps(since)));
    await page.isConnected("posts");
    return { client, page };
  }));
}

const forEach = (all, action) => Promise.all(all.map(({ client, page }) => action(page, client)));

describe("all stock clients in Chromium", () => {
  test("connect again after their network has failed, and receive each message once, in order", async () => {
    const server = await startServer(configuration());
    const all = await subscribed(server, await position(server));
    try {
      await emit(server, "before");
      await forEach(all, (page) => page.received("posts", append("before")));
      await forEach(all, (page) => page.confirmed());
      await forEach(all, (page) => page.cut());
      await forEach(all, (page) => page.isConnected("posts", false));
      for (const n of [1, 2, 3]) await emit(server, `meanwhile ${n}`);
      await forEach(all, (page) => page.restore());
      await forEach(all, (page) => page.isConnected("posts"));
      await emit(server, "after");
      await forEach(all, async (page, client) => {
        await page.received("posts", append("after"));
        assert.deepEqual(await page.texts("posts"), ["before", "meanwhile 1", "meanwhile 2", "meanwhile 3", "after"], client.name);
      });
    } finally {
      await forEach(all, (page) => page.close());
      await server.stop();
    }
  });

  for (const signal of ["SIGTERM", "SIGKILL"]) {
    test(`connect again after ${signal} and a restart of the server, and receive again`, async () => {
      let server = await startServer(configuration());
      const all = await subscribed(server);
      try {
        await server.stop(signal);
        await forEach(all, (page) => page.isConnected("posts", false));
        server = await startServer(configuration(), server.port);
        await forEach(all, (page) => page.isConnected("posts"));
        await emit(server, "after the restart");
        await forEach(all, async (page, { name }) => {
          await page.received("posts", append("after the restart"));
          assert.deepEqual(await page.texts("posts"), ["after the restart"], name);
        });
      } finally {
        await forEach(all, (page) => page.close());
        await server.stop();
      }
    });
  }

  test("are sent to another server while theirs drains, and miss nothing with Redis", async () => {
    const redis = await startRedis();
    const served = configuration();
    const drained = { "/nodevent": { ...served["/nodevent"], redis: redis.url }, drain_timeout: "4s" };
    const old = await startServer(drained);
    const all = await subscribed(old, await position(old));
    let next;
    try {
      await emit(old, "before");
      await forEach(all, (page) => page.received("posts", append("before")));
      await forEach(all, (page) => page.confirmed());
      const stopped = old.stop("SIGTERM");
      // It does not listen any more, and has not closed its connections yet.
      await until("the old server has stopped listening", () => fetch(`${old.url}/healthz`).then(() => false, () => true));
      next = await startServer(drained, old.port);
      await emit(next, "while the old server drains");
      await forEach(all, (page) => page.isConnected("posts", false));
      await stopped;
      await forEach(all, (page) => page.isConnected("posts"));
      await emit(next, "after");
      await forEach(all, async (page, client) => {
        await page.received("posts", append("after"));
        // What arrives within the last second before the connection is closed may come again.
        assert.deepEqual([...new Set(await page.texts("posts"))], ["before", "while the old server drains", "after"], client.name);
        const reasons = page.frames.filter((frame) => frame.includes('"type":"disconnect"')).map((frame) => JSON.parse(frame));
        assert.deepEqual(reasons, [{ type: "disconnect", reason: "server_restart", reconnect: true }], client.name);
      });
    } finally {
      await forEach(all, (page) => page.close());
      await (next ?? old).stop();
      await redis.stop();
    }
  });
});
