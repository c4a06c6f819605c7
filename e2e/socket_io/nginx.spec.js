// Stock clients of SocketIO Web Service through nginx, which is in front of two servers as the guide configures it. The
// clients of Socket.IO 1 and 2 speak Engine.IO 3. Ids of docs/requirements.md are in the names.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { clients, transports } from "./support/clients.js";
import { startNginx } from "./support/nginx.js";
import { freePort, startServer, until, within } from "./support/programs.js";
import { Page, callback, delivered, send, shown, startRedis, startSite, stored } from "./support/site.js";

let site, redis, servers, nginx;
let number = 0;
const newRoom = (prefix) => `${prefix}${process.pid}x${++number}`;

/** Starts a server, and waits until what is published reaches it. */
async function start() {
  const admin = await freePort();
  const server = await startServer({
    admin: { port: admin },
    trusted_proxies: ["127.0.0.1"],
    "/shop": {
      dialect: "web_service",
      redis: { url: redis.url },
      auth: { url: `${site.url}/rooms/shop`, scheme: "Bearer" },
      publish_key: "54321",
      user_room_prefix: "user_",
    },
  });
  await until("the server is ready", async () => (await fetch(`${server.url}/readyz`)).ok);
  const connections = async () => {
    const text = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
    return Number(/^nodevent_connections (\d+)$/m.exec(text)[1]);
  };
  return { ...server, connections };
}

before(async () => {
  [site, redis] = await Promise.all([startSite(), startRedis()]);
  servers = await Promise.all([start(), start()]);
  nginx = await startNginx(servers.map(({ port }) => port));
});
after(async () => {
  Page.closeAll();
  await Promise.all([nginx?.stop(), ...(servers ?? []).map((server) => server.stop()), site?.stop()]);
  await redis?.stop();
});

/** The name of the transport that a page uses. */
const transport = (page) => page.socket.io.engine.transport.name;

for (const client of clients) {
  for (const { name, transports: wanted } of transports) {
    describe(`socket.io-client ${client.version} over ${name} through nginx`, () => {
      const open = (token) => new Page(client, nginx.url, "shop", token, { transports: wanted }).connected();
      const expected = name === "polling" ? "polling" : "websocket";

      test("a page receives what the site sends through either server and through nginx (W-37, W-56)", async () => {
        const [room, user] = [newRoom("staff"), newRoom("user_")];
        const page = await open(`${room}.${user}`);
        await until(`the transport is ${expected}`, () => transport(page) === expected);
        const urls = [servers[0].url, servers[1].url, nginx.url];
        for (const [index, url] of urls.entries()) {
          // Each waits for the one before: a room and a mailbox have no common order.
          await send(url, "shop", { rooms: room, event: "e", args: [index] });
          await page.events(2 * index + 1);
          await send(url, "shop", { rooms: user, event: "e", args: [`to the user ${index}`] });
          await page.events(2 * index + 2);
        }
        const all = urls.flatMap((_, index) => [["e", index], ["e", `to the user ${index}`, "callback"]]);
        assert.deepEqual(shown(page.received), all);
        assert.equal(transport(page), expected);
        page.received.filter((args) => typeof callback(args) === "function").forEach((args) => callback(args)());
        await until("nothing is stored", async () => (await stored(servers[1].url, "shop", user)) === 0);
        page.close();
      });

      test("a message waits for a user who is not connected (W-27, W-56)", async () => {
        const user = newRoom("user_");
        const page = await open(user);
        page.close();
        for (const [index, { url }] of servers.entries()) {
          await send(url, "shop", { rooms: user, event: "e", args: [index] });
        }
        const back = await open(user);
        assert.deepEqual(shown(await back.events(1)), [["batch", [["e", 0], ["e", 1]], "callback"]]);
        back.close();
      });
    });
  }
}

test("pages move to the other server when theirs stops, and miss nothing (W-37, W-56)", async () => {
  const pages = await Promise.all(clients.flatMap((client) => transports.map(async ({ transports: wanted }) => {
    const user = newRoom("user_");
    return { user, page: await new Page(client, nginx.url, "shop", user, { transports: wanted }).connected() };
  })));
  // nginx chooses the server by the address, so all pages are on one.
  const counts = await Promise.all(servers.map(({ connections }) => connections()));
  const [theirs, others] = counts[0] > 0 ? servers : servers.toReversed();
  assert.equal(await others.connections(), 0);
  const connect = (page) => new Promise((resolve) => page.socket.once("connect", resolve));
  const back = pages.map(({ page, user }) => within(`${user} is back`, connect(page)));
  await theirs.stop();
  for (const { user } of pages) await send(others.url, "shop", { rooms: user, event: "e", args: ["while it moves"] });
  await Promise.all(back);
  assert.equal(await others.connections(), pages.length);
  for (const { user, page } of pages) {
    await send(nginx.url, "shop", { rooms: user, event: "e", args: ["there"] });
    await until("both messages", () => delivered(page.received).length >= 2);
    const messages = delivered(page.received).map(([, text]) => text);
    assert.deepEqual(messages, ["while it moves", "there"]);
  }
});
