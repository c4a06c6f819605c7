// Connection state recovery with the stock client: it keeps its `pid` and the last offset, and says whether it was recovered.
// T-36, T-47
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { io } from "socket.io-client";
import { transports } from "./support/clients.js";
import { publish, startServer, until, within } from "./support/programs.js";
import { Turted } from "./support/turted_client.js";

const password = "IamAllowed2PUSH!!!";
const recovery = { connection_state_recovery: { secret: "a-secret-that-seals-the-states-of-clients" } };
const turted = { "/": { dialect: "turted", turted: { ident: "accept_all", join: "open", push: { password } }, ...recovery } };

const connected = (socket) => within("connect", new Promise((resolve) => socket.once("connect", resolve)));
const disconnected = (socket) => within("disconnect", new Promise((resolve) => socket.once("disconnect", resolve)));

async function push(url, event, targets) {
  const body = JSON.stringify({ event, targets, payload: { event }, auth: { password } });
  const response = await fetch(`${url}/push/`, { method: "POST", body });
  assert.deepEqual([response.status, await response.text()], [200, "OK"]);
}

for (const { name, transports: wanted } of transports) {
  describe(`connection state recovery over ${name}`, () => {
    const options = { transports: wanted, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };

    test("a lost connection is recovered, and missed events arrive once and in order", async () => {
      const server = await startServer({ "/nodevent": { open: true, ...recovery } });
      const socket = io(`${server.url}/nodevent`, { ...options, reconnection: false });
      try {
        const received = [];
        socket.on("event", ({ message }) => received.push(message));
        await connected(socket);
        assert.equal(socket.recovered, false);
        for (const room of ["r", "other"]) await within("the join", socket.emitWithAck("join", { room }));
        await publish(server.url, { room: "r", event: "e", message: 0 });
        await until("the first event", () => received.length === 1);
        for (const round of [1, 2]) {
          const gone = disconnected(socket);
          socket.io.engine.close();
          await gone;
          for (let number = 1; number <= 5; number += 1) {
            await publish(server.url, { room: "r", event: "e", message: 10 * round + number });
          }
          socket.connect();
          await connected(socket);
          assert.equal(socket.recovered, true);
          await publish(server.url, { room: "other", event: "e", message: 10 * round + 6 });
          await until("the live event", () => received.includes(10 * round + 6));
        }
        assert.deepEqual(received, [0, 11, 12, 13, 14, 15, 16, 21, 22, 23, 24, 25, 26]);
        // A page that disconnects has ended its connection.
        socket.disconnect();
        socket.connect();
        await connected(socket);
        assert.equal(socket.recovered, false);
      } finally {
        socket.disconnect();
        await server.stop();
      }
    });

    test("a page of TURTED has its user and channels again after a restart of the server", async () => {
      let server = await startServer(turted);
      const page = new Turted(server.url, io, options);
      try {
        const received = [];
        for (const event of ["before", "user", "channel", "all"]) page.on(event, (payload) => received.push(payload.event));
        page.ident({ username: "xosofox" });
        page.join("chat");
        await until("both replies", () => page.replies.length === 2);
        await push(server.url, "before", { users: "xosofox", channels: "chat" });
        await until("the first event", () => received.length === 1);
        const gone = disconnected(page.socket);
        const back = gone.then(() => connected(page.socket));
        await server.stop("SIGKILL");
        server = await startServer(turted, server.port);
        await back;
        // The page itself does nothing.
        await push(server.url, "user", { users: "xosofox" });
        await push(server.url, "channel", { channels: ["chat"] });
        await push(server.url, "all", { users: "xosofox", channels: "chat", broadcast: true });
        await until("all events", () => received.length === 4);
        assert.deepEqual(received, ["before", "user", "channel", "all"]);
        assert.equal(page.replies.length, 2);
      } finally {
        page.socket.disconnect();
        await server.stop();
      }
    });
  });
}
