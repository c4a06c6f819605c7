// The dialect `nodevent` with stock clients, on each transport: the contract's rows about joining and leaving, and the
// served script.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { clients, transports } from "./support/clients.js";
import { publish, within, startServer } from "./support/programs.js";

const secret = "a secret of more than sixteen bytes";
const key = (room, expires = Date.now() + 60_000) =>
  `${createHash("sha256").update(`${room}${expires}${secret}`).digest("hex")}:${expires}`;

let open, secured;
before(async () => {
  const namespace = { history: "off" };
  [open, secured] = await Promise.all([
    startServer({ "/nodevent": namespace }),
    startServer({ "/nodevent": { ...namespace, secret } }),
  ]);
});
after(() => Promise.all([open?.stop(), secured?.stop()]));

for (const { version, io } of clients) {
  for (const { name, transports: wanted } of transports) {
    describe(`socket.io-client ${version} over ${name} (R-15, T-47)`, () => {
      const visit = async (url) => {
        const socket = io(`${url}/nodevent`, { transports: wanted, forceNew: true, reconnection: false });
        const received = [];
        const waiting = new Set();
        socket.on("event", (publication) => {
          received.push(publication);
          for (const look of waiting) look();
        });
        await within("connect", new Promise((resolve, reject) => {
          socket.once("connect", resolve);
          socket.once("connect_error", reject);
        }));
        const ask = (event, data) =>
          within(event, new Promise((resolve) => socket.emit(event, data, (...ack) => resolve(ack))));
        /** Resolves when `last` is received, with all that was received before it. Anything missing was not sent. */
        const until = (last) =>
          within(last, new Promise((resolve) => {
            const look = () => received.some(({ message }) => message === last) && resolve(received.map(({ message }) => message));
            waiting.add(look);
            look();
          }));
        return { socket, ask, until, close: () => socket.disconnect() };
      };
      const say = (url, room, message) => publish(url, { room, event: "e", message });

      test("joins, receives, leaves by object or by name, and receives no more (N-47)", async () => {
        const member = await visit(open.url);
        for (const room of ["a", "b", "fence"]) assert.deepEqual(await member.ask("join", { room }), [null, true]);
        await say(open.url, "a", "to a");
        await member.until("to a");
        assert.deepEqual(await member.ask("leave", "a"), [null]);
        assert.deepEqual(await member.ask("leave", { room: "b" }), [null]);
        await say(open.url, "a", "late");
        await say(open.url, "b", "late");
        await say(open.url, "fence", "fence");
        assert.deepEqual(await member.until("fence"), ["to a", "fence"]);
        member.close();
      });

      test("leaving a room that was never joined is not an error (N-48)", async () => {
        const member = await visit(open.url);
        assert.deepEqual(await member.ask("leave", { room: "never" }), [null]);
        assert.deepEqual(await member.ask("leave", "never"), [null]);
        member.close();
      });

      test("a refused join does not change the membership (N-49)", async () => {
        const member = await visit(secured.url);
        assert.deepEqual(await member.ask("join", { room: "r", key: key("r") }), [null, true]);
        assert.deepEqual(await member.ask("join", { room: "r", key: key("another") }), ["Bad key", false]);
        assert.deepEqual(await member.ask("join", { room: "r" }), ["Must provide key", false]);
        await say(secured.url, "r", "still a member");
        assert.deepEqual(await member.until("still a member"), ["still a member"]);
        member.close();
      });

      test("memberships end with the connection (N-50)", async () => {
        const member = await visit(open.url);
        await member.ask("join", { room: "r" });
        await say(open.url, "r", "first");
        await member.until("first");
        // Before 4.1, a client that reconnects immediately closes its new connection together with the old one.
        const closed = within("close", new Promise((resolve) => member.socket.io.engine.once("close", resolve)));
        member.socket.disconnect();
        await closed;
        member.socket.connect();
        await within("connect", new Promise((resolve) => member.socket.once("connect", resolve)));
        await member.ask("join", { room: "fence" });
        await say(open.url, "r", "to an empty room");
        await say(open.url, "fence", "fence");
        assert.deepEqual(await member.until("fence"), ["first", "fence"]);
        member.close();
      });

      test("a room's name has a maximum length (N-52)", async () => {
        const member = await visit(open.url);
        assert.deepEqual(await member.ask("join", { room: "x".repeat(255) }), [null, true]);
        assert.deepEqual(await member.ask("join", { room: "x".repeat(256) }), ["Bad room", false]);
        member.close();
      });
    });
  }
}

test("the client is served at /socket.io/socket.io.js, and a browser's cached copy is confirmed (N-20)", async () => {
  const first = await fetch(`${open.url}/socket.io/socket.io.js`);
  assert.equal(first.status, 200);
  assert.match(first.headers.get("content-type"), /javascript/);
  assert.match(await first.text(), /io/);
  const tag = first.headers.get("etag");
  assert.ok(tag);
  const second = await fetch(`${open.url}/socket.io/socket.io.js`, { headers: { "If-None-Match": tag } });
  assert.equal(second.status, 304);
  assert.equal(await second.text(), "");
});

test("the secret is neither in served files nor in the log (N-51)", async () => {
  const script = await (await fetch(`${secured.url}/api/nodevent`)).text();
  for (const text of [script, secured.lines.join("\n")]) assert.ok(!text.includes(secret));
});
