// The server is killed and started again twenty times while an application goes on publishing.
// The application publishes through a second server on the same Redis, as one of several instances;
// the pages are all on the one that dies. Nothing may be missed, nothing heard twice.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { startRedis } from "../support/redis.js";
import { Server } from "../support/server.js";
import { record, until } from "../support/until.js";

const RESTARTS = 20;

let redis;
let mortal;
let other;
const pages = [];

before(async () => {
  redis = await startRedis();
  const config = { "/nodevent": { redis: { host: "127.0.0.1", port: redis.port }, history: { size: 100_000, age: "10m" } } };
  mortal = await new Server(config).start();
  other = await new Server(config).start();
});

after(async () => {
  for (const { nodevent } of pages) nodevent.close();
  await mortal?.close();
  await other?.close();
  await redis?.stop();
});

test("killed and restarted twenty times under traffic: nothing missed, nothing twice", async () => {
  for (const transports of [["websocket"], ["polling"], ["websocket", "polling"], ["polling", "websocket"]]) {
    const nodevent = connect({ url: mortal.url, WebSocket, transports, reconnectionDelay: 20, reconnectionDelayMax: 100 });
    const room = nodevent.room("busy");
    const numbers = [];
    room.on("n", (n) => numbers.push(n));
    const said = record(room, "gap");
    await new Promise((resolve, reject) => room.join((err) => (err ? reject(new Error(err)) : resolve())));
    pages.push({ nodevent, room, numbers, said, transports });
  }

  let published = 0;
  const application = { runs: true };
  const traffic = (async () => {
    while (application.runs) await other.emit("busy", "n", published++);
  })();

  for (let n = 0; n < RESTARTS; n++) {
    const from = published;
    await until(() => published > from + 20, "traffic");
    await mortal.stop("SIGKILL");
    await mortal.start();
    await until(() => pages.every(({ room }) => room.joined), "all pages to be back");
  }
  application.runs = false;
  await traffic;

  for (const { numbers, said, transports } of pages) {
    await until(
      () => numbers.length >= published,
      () => {
        const missing = Array.from({ length: published }, (_, n) => n).filter((n) => !numbers.includes(n));
        return `over ${transports}: of ${published} emissions ${missing.length} are missing, from ${missing[0]} to ${missing.at(-1)}; gaps told: ${said.gap.join()}`;
      },
    );
    assert.deepEqual(numbers, Array.from({ length: published }, (_, n) => n), transports.join());
    assert.deepEqual(said.gap, []);
  }
});
