// A server that stops, is killed, or disappears in the middle of a poll: the client fires disconnect, and reconnects
// as within as the server is up.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { clients, transports } from "./support/clients.js";
import { publish, within, startServer } from "./support/programs.js";

const configuration = { "/nodevent": { history: "off" } };

/** A client that reconnects quickly and joins its room on each connect. */
function member(io, url, wanted) {
  const socket = io(`${url}/nodevent`, {
    transports: wanted, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, timeout: 5_000,
  });
  const waiting = [];
  const joined = () => within("the room is joined", new Promise((resolve) => waiting.push(resolve)));
  socket.on("connect", () => {
    socket.emit("join", { room: "r" }, (...ack) => waiting.splice(0).forEach((resolve) => resolve(ack)));
  });
  return { socket, joined };
}

const once = (socket, event) => within(event, new Promise((resolve) => socket.once(event, (...args) => resolve(args))));

for (const { version, io } of clients) {
  for (const { name, transports: wanted } of transports) {
    describe(`socket.io-client ${version} over ${name}`, () => {
      for (const signal of ["SIGTERM", "SIGKILL"]) {
        test(`reconnects after ${signal} and a restart, and receives again`, async () => {
          let server = await startServer(configuration);
          const { socket, joined } = member(io, server.url, wanted);
          try {
            assert.deepEqual(await joined(), [null, true]);
            const gone = once(socket, "disconnect");
            const back = joined();
            await server.stop(signal);
            const [reason] = await gone;
            assert.ok(["transport close", "transport error"].includes(reason), reason);
            server = await startServer(configuration, server.port);
            assert.deepEqual(await back, [null, true]);
            const received = once(socket, "event");
            await publish(server.url, { room: "r", event: "e", message: "after the restart" });
            assert.deepEqual(await received, [{ room: "r", event: "e", message: "after the restart" }]);
          } finally {
            socket.disconnect();
            await server.stop();
          }
        });
      }
    });
  }

  test(`socket.io-client ${version} detects a server that disappears in the middle of a poll`, async () => {
    const server = await startServer(configuration);
    const { socket, joined } = member(io, server.url, ["polling"]);
    try {
      await joined();
      // The poll is pending: it returns the publication immediately, and the next poll waits.
      const received = once(socket, "event");
      await publish(server.url, { room: "r", event: "e", message: 1 });
      await received;
      const gone = once(socket, "disconnect");
      await server.stop("SIGKILL");
      assert.deepEqual((await gone).slice(0, 1), ["transport error"]);
      const [refused] = await once(socket.io, "reconnect_error");
      assert.ok(refused instanceof Error, "it retries, and no server refuses it");
    } finally {
      socket.disconnect();
    }
  });
}
