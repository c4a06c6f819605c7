// The dialect `nodevent` as stock clients speak it, on each transport: rows of the contract that are about joining and
// leaving, and the script that is served.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { clients, transports } from "./support/clients.js";
import { publish, soon, startServer } from "./support/programs.js";

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
        const heard = [];
        const waiting = new Set();
        socket.on("event", (emission) => {
          heard.push(emission);
          for (const look of waiting) look();
        });
        await soon("connect", new Promise((resolve, reject) => {
          socket.once("connect", resolve);
          socket.once("connect_error", reject);
        }));
        const ask = (event, data) =>
          soon(event, new Promise((resolve) => socket.emit(event, data, (...answer) => resolve(answer))));
        /** Resolves with what was heard when `last` was; so whatever was said before it and not heard, was not sent. */
        const until = (last) =>
          soon(last, new Promise((resolve) => {
            const look = () => heard.some(({ message }) => message === last) && resolve(heard.map(({ message }) => message));
            waiting.add(look);
            look();
          }));
        return { socket, ask, until, close: () => socket.disconnect() };
      };
      const say = (url, room, message) => publish(url, { room, event: "e", message });

      test("joins, hears, leaves by object or by name, and hears no more (N-47)", async () => {
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

      test("leaving a room that was never joined is no error (N-48)", async () => {
        const member = await visit(open.url);
        assert.deepEqual(await member.ask("leave", { room: "never" }), [null]);
        assert.deepEqual(await member.ask("leave", "never"), [null]);
        member.close();
      });

      test("a join that fails leaves the membership as it was (N-49)", async () => {
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
        // Before 4.1 a client that comes back at once ends its new connection together with the old one.
        const closed = soon("close", new Promise((resolve) => member.socket.io.engine.once("close", resolve)));
        member.socket.disconnect();
        await closed;
        member.socket.connect();
        await soon("connect", new Promise((resolve) => member.socket.once("connect", resolve)));
        await member.ask("join", { room: "fence" });
        await say(open.url, "r", "to nobody");
        await say(open.url, "fence", "fence");
        assert.deepEqual(await member.until("fence"), ["first", "fence"]);
        member.close();
      });

      test("a room's name may be long, and no longer (N-52)", async () => {
        const member = await visit(open.url);
        assert.deepEqual(await member.ask("join", { room: "x".repeat(255) }), [null, true]);
        assert.deepEqual(await member.ask("join", { room: "x".repeat(256) }), ["Bad room", false]);
        member.close();
      });
    });
  }
}

test("the client is served at /socket.io/socket.io.js, and not again to who has it (N-20)", async () => {
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

test("the secret stands neither in what is served nor in the log (N-51)", async () => {
  const script = await (await fetch(`${secured.url}/api/nodevent`)).text();
  for (const text of [script, secured.lines.join("\n")]) assert.ok(!text.includes(secret));
});
