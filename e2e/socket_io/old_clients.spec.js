// What only the clients of Socket.IO 1 and 2 do: tokens in queries, and a main namespace that the server connects. X-02
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { clients, transports } from "./support/clients.js";
import { publish, startServer, within } from "./support/programs.js";

const secret = "a-secret-for-tokens-of-more-than-32-bytes";

/** A token of a user that is valid for a minute. */
function token(sub) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const input = `${encode({ alg: "HS256" })}.${encode({ sub, exp: Date.now() / 1000 + 60 })}`;
  return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
}

let server, closed;
before(async () => {
  const namespace = { history: "off", open: true, token: { secret, query: "token" } };
  const strict = { history: "off", token: { secret, query: "token", required: true } };
  [server, closed] = await Promise.all([
    startServer({ "/nodevent": namespace, "/other": namespace, "/strict": strict }),
    startServer({ "/nodevent": { history: "off", allow_eio3: false } }),
  ]);
});
after(() => Promise.all([server?.stop(), closed?.stop()]));

const next = (socket, event) => within(event, new Promise((resolve) => socket.once(event, (...args) => resolve(args))));

for (const { version, io } of clients.filter(({ old }) => old)) {
  for (const { name, transports: wanted } of transports) {
    describe(`socket.io-client ${version} over ${name}`, () => {
      // The client writes a query into the options that it gets.
      const options = () => ({ transports: wanted, forceNew: true, reconnection: false });

      test("the query of the connection identifies its user", async () => {
        const socket = io(`${server.url}/nodevent`, { ...options(), query: `token=${token("7")}` });
        const [{ user }] = await next(socket, "identified");
        assert.equal(user, "7");
        socket.disconnect();
      });

      test("the query of a namespace identifies its user, another one in each namespace (W-09)", async () => {
        const socket = io(`${server.url}/nodevent?token=${token("7")}`, options());
        const [{ user }] = await next(socket, "identified");
        const other = socket.io.socket("/other", { query: `token=${token("8")}` });
        const [{ user: second }] = await next(other, "identified");
        assert.deepEqual([user, second], ["7", "8"]);
        socket.disconnect();
        other.disconnect();
      });

      test("a rejected token is an error with its reason", async () => {
        const socket = io(`${server.url}/strict`, options());
        assert.deepEqual(await next(socket, "error"), ["Must provide token"]);
        socket.disconnect();
      });

      test("a client that uses the main namespace, which is not served, is notified", async () => {
        const socket = io(server.url, options());
        await next(socket, "connect");
        socket.emit("join", { room: "r" });
        assert.deepEqual(await next(socket, "error"), ["Invalid namespace"]);
        socket.disconnect();
      });

      test("text of all planes arrives in both directions", async () => {
        const room = "ünï☃😀";
        const socket = io(`${server.url}/nodevent`, options());
        await next(socket, "connect");
        const ack = new Promise((resolve) => socket.emit("join", { room }, (...args) => resolve(args)));
        assert.deepEqual(await within("join", ack), [null, true]);
        const received = next(socket, "event");
        const message = "Ã¼ ü ☃ 😀 \u2028 \u0000 \\";
        await publish(server.url, { room, event: "é", message });
        assert.deepEqual(await received, [{ room, event: "é", message }]);
        socket.disconnect();
      });

      test("a namespace that does not allow these clients rejects them", async () => {
        const socket = io(`${closed.url}/nodevent`, options());
        await next(socket, "connect_error");
        socket.disconnect();
      });
    });
  }

  test(`socket.io-client ${version} stays connected by its pings`, async () => {
    const ping = { interval: "300ms", timeout: "700ms" };
    const quick = await startServer({ "/nodevent": { history: "off" }, ping });
    try {
      for (const { transports: wanted } of transports) {
        const socket = io(`${quick.url}/nodevent`, { transports: wanted, forceNew: true, reconnection: false });
        await next(socket, "connect");
        let lost;
        socket.once("disconnect", (reason) => (lost = reason));
        let pongs = 0;
        const six = new Promise((resolve) => {
          socket.io.engine.on("pong", () => (pongs += 1) === 6 && resolve());
        });
        await within("six pongs, which take longer than interval and timeout", six);
        assert.equal(lost, undefined);
        socket.disconnect();
      }
    } finally {
      await quick.stop();
    }
  });
}
