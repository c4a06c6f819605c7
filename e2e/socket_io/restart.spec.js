// A server that stops, is killed, or goes away in the middle of a poll: the client is told, and is back by itself when
// the server is. X-01
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { clients, transports } from "./support/clients.js";
import { publish, soon, startServer } from "./support/programs.js";

const configuration = { "/nodevent": { history: "off" } };

/** A client that comes back quickly, and joins its room each time it does. */
function member(io, url, wanted) {
  const socket = io(`${url}/nodevent`, {
    transports: wanted, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, timeout: 5_000,
  });
  const waiting = [];
  const joined = () => soon("the room is joined", new Promise((resolve) => waiting.push(resolve)));
  socket.on("connect", () => {
    socket.emit("join", { room: "r" }, (...answer) => waiting.splice(0).forEach((tell) => tell(answer)));
  });
  return { socket, joined };
}

const once = (socket, event) => soon(event, new Promise((resolve) => socket.once(event, (...args) => resolve(args))));

for (const { version, io } of clients) {
  for (const { name, transports: wanted } of transports) {
    describe(`socket.io-client ${version} over ${name}`, () => {
      for (const signal of ["SIGTERM", "SIGKILL"]) {
        test(`comes back after ${signal} and a restart, and hears again`, async () => {
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
            const heard = once(socket, "event");
            await publish(server.url, { room: "r", event: "e", message: "after the restart" });
            assert.deepEqual(await heard, [{ room: "r", event: "e", message: "after the restart" }]);
          } finally {
            socket.disconnect();
            await server.stop();
          }
        });
      }
    });
  }

  test(`socket.io-client ${version} notices a server that goes away in the middle of a poll`, async () => {
    const server = await startServer(configuration);
    const { socket, joined } = member(io, server.url, ["polling"]);
    try {
      await joined();
      // The poll is under way: what is published comes at once, and the next one waits.
      const heard = once(socket, "event");
      await publish(server.url, { room: "r", event: "e", message: 1 });
      await heard;
      const gone = once(socket, "disconnect");
      await server.stop("SIGKILL");
      assert.deepEqual((await gone).slice(0, 1), ["transport error"]);
      const [refused] = await once(socket.io, "reconnect_error");
      assert.ok(refused instanceof Error, "it tries, and is refused by nobody");
    } finally {
      socket.disconnect();
    }
  });
}
