// The contract of SocketIO Web Service with every stock client and both engines: sites that authorize, messages to groups
// and to users, batches, callbacks, resync. Ids of docs/requirements.md are in the names.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { clients } from "./support/clients.js";
import { freePort, startServer as start, until, within } from "./support/programs.js";
import { Page, callback, delivered, send, shown, startRedis, startSite, stored } from "./support/site.js";

/** Starts a server, and waits until what is published reaches it. */
async function startServer(configuration, port) {
  const server = await start(configuration, port);
  await until("the server is ready", async () => (await fetch(`${server.url}/readyz`)).ok);
  return server;
}

let number = 0;
/** A user room that no other test uses. */
const newRoom = (prefix = "user_") => `${prefix}${process.pid}x${++number}`;

const [newest] = clients;
let site, redis, nowhere;

/** The configuration of a site. */
const of = (name, settings = {}, auth = {}) => ({
  dialect: "web_service",
  auth: { url: `${site.url}/rooms/${name}`, scheme: "Bearer", ...auth },
  publish_key: "54321",
  user_room_prefix: "user_",
  ...settings,
});

const sites = (redisUrl) => {
  const engine = redisUrl ? { redis: { url: redisUrl } } : {};
  return {
    "/newsite": of("newsite", engine),
    "/other": of("other", { ...engine, user_room_prefix: "member_" }, { scheme: "Token" }),
    "/short": of("short", { ...engine, mailbox: { age: "1s" } }),
    "/forever": of("forever", { ...engine, mailbox: { age: 0 } }),
    "/later": of("later", { ...engine, event_prefix: "_", public_room: "all" }),
    "/plain": of("plain", { ...engine, user_room_prefix: undefined }),
    "/small": of("small", { ...engine, mailbox: { count: 5 } }),
    "/slow": of("slow", engine, { timeout: "1s" }),
    "/seen": of("seen", { ...engine, updateUserUrl: `${site.url}/seen/:id?from=live` }, { scheme: "Token" }),
    "/unseen": of("unseen", { ...engine, update_user_url: `http://127.0.0.1:${nowhere}/unseen/:id` }),
    "/down": of("down", engine, { url: `http://127.0.0.1:${nowhere}/rooms` }),
  };
};

before(async () => {
  nowhere = await freePort();
  [site, redis] = await Promise.all([startSite(), startRedis()]);
});
after(() => {
  Page.closeAll();
  return Promise.all([site?.stop(), redis?.stop()]);
});

for (const engine of ["memory", "Redis"]) {
  describe(`on ${engine}`, () => {
    let server;
    before(async () => {
      server = await startServer(sites(engine === "Redis" && redis.url));
    });
    after(() => server?.stop());

    for (const client of clients) {
      describe(`socket.io-client ${client.version}`, () => {
        const pages = [];
        const page = (name, token, options) => {
          const one = new Page(client, server.url, name, token, options);
          pages.push(one);
          return one;
        };
        const open = (name, token, options) => page(name, token, options).connected();
        const to = (rooms, event, args, options) => send(server.url, "newsite", { rooms, event, args }, options);
        /** Waits until nothing is stored for a user. */
        const empty = (user, name = "newsite") => until("nothing is stored", async () => (await stored(server.url, name, user)) === 0);
        after(() => pages.forEach((one) => one.close()));

        test("a group receives the arguments without a callback (W-01, W-16, W-18, W-20)", async () => {
          const room = newRoom("staff");
          const [one, two] = await Promise.all([open("newsite", room), open("newsite", `x.${room}`)]);
          await to(room, "e", [[1, 2], 3, { a: null }]);
          await to([room, "empty"], "e", 7);
          await to([room, "x"], "e");
          for (const member of [one, two]) {
            assert.deepEqual(await member.events(3), [["e", [1, 2], 3, { a: null }], ["e", 7], ["e"]]);
          }
        });

        test("a form is as good as JSON (W-02)", async () => {
          const room = newRoom("staff");
          const member = await open("newsite", room);
          const body = `rooms[]=${room}&event=e&args[0][x]=1&args[1]=a+b%26`;
          const headers = { "content-type": "application/x-www-form-urlencoded" };
          const response = await fetch(`${server.url}/send?site=newsite&apiKey=54321`, { method: "POST", headers, body });
          assert.deepEqual([response.status, await response.text()], [200, "OK"]);
          assert.deepEqual(await member.events(1), [["e", { x: "1" }, "a b&"]]);
        });

        test("sites are isolated, and each has its own url, scheme and prefix (W-06, W-07, W-08)", async () => {
          const room = newRoom("staff");
          const [one, two] = await Promise.all([open("newsite", `${room}.mine`), open("other", `${room}.theirs`)]);
          const called = (part) => site.requests.filter(({ authorization }) => authorization.endsWith(part));
          assert.deepEqual(called(`${room}.mine`).map(({ path, authorization }) => [path, authorization]), [
            ["/rooms/newsite", `Bearer ${room}.mine`],
          ]);
          assert.deepEqual(called(`${room}.theirs`).map(({ path, authorization }) => [path, authorization]), [
            ["/rooms/other", `Token ${room}.theirs`],
          ]);
          await send(server.url, "other", { rooms: room, event: "e", args: ["other"] });
          await to(room, "e", ["newsite"]);
          assert.deepEqual(await one.events(1), [["e", "newsite"]]);
          assert.deepEqual(await two.events(1), [["e", "other"]]);
          const member = newRoom("member_");
          const user = await open("other", member);
          await send(server.url, "other", { rooms: member, event: "e" });
          assert.deepEqual(delivered(await user.events(1)), [["e"]]);
          callback(user.received[0])();
        });

        test("clients are in the rooms of the response only (W-10)", async () => {
          const room = newRoom("staff");
          const member = await open("newsite", room);
          member.socket.emit("join", { room: "secret" });
          member.socket.emit("join", "secret");
          await to("secret", "e", ["not for you"]);
          await to(room, "e", ["for you"]);
          assert.deepEqual(await member.events(1), [["e", "for you"]]);
          // The joins have arrived by now. No room has the name of a connection.
          await to("secret", "e", ["not for you"]);
          for (const id of [member.socket.id, member.socket.io.engine.id].filter(Boolean)) {
            await to([id, `/newsite#${id}`], "e", ["not for you"]);
          }
          await to(room, "e", ["for you, too"]);
          assert.deepEqual(await member.events(2), [["e", "for you"], ["e", "for you, too"]]);
        });

        test("errors have their old texts (W-11, W-12, W-13, W-14, W-15)", async () => {
          const cases = [
            ["newsite", "401", "Authentication error"],
            ["newsite", undefined, "Authentication error"],
            ["newsite", "undefined", "Authentication error"],
            ["newsite", "500", "Auth 500 error"],
            ["newsite", "403", "Auth 403 error"],
            ["newsite", "302", "Auth 302 error"],
            ["newsite", "object", "Auth error: the response is not a list of rooms"],
            ["newsite", "text", "Auth error: the response is not a list of rooms"],
            ["slow", "hang", "Auth error: no response in time"],
            ["down", "a", "Auth error: the site cannot be reached"],
            ["unknown", "a", "Invalid namespace"],
          ];
          for (const [name, token, text] of cases) {
            const rejected = page(name, token, { reconnection: false });
            assert.equal(await rejected.error(), text, `${name} ${token}`);
            rejected.close();
          }
          assert.ok(!site.requests.some(({ authorization }) => /undefined|null/.test(authorization)));
          // None of that keeps another client from connecting and receiving, and no redirect was followed.
          assert.ok(!site.requests.some(({ path }) => path === "/elsewhere"));
          const room = newRoom("staff");
          const member = await open("newsite", room);
          await to(room, "e", ["after the errors"]);
          assert.deepEqual(await member.events(1), [["e", "after the errors"]]);
        });

        test("what a user does not acknowledge comes again in one batch, in order (W-17, W-21, W-22, W-23, W-24, W-25)", async () => {
          const user = newRoom();
          let one = await open("newsite", user);
          await to(user, "e", ["acknowledged"]);
          assert.deepEqual(delivered(await one.events(1)), [["e", "acknowledged"]]);
          callback(one.received[0])();
          await empty(user);
          await to(user, "b", [1]);
          await to(user, "a", [2, [3]]);
          await to(user, "b");
          assert.deepEqual(shown(await one.events(4)).slice(1), [["b", 1, "callback"], ["a", 2, [3], "callback"], ["b", "callback"]]);
          one.close();
          const batch = ["batch", [["b", 1], ["a", 2, [3]], ["b"]], "callback"];
          for (let times = 0; times < 2; times++) {
            one = await open("newsite", user);
            assert.deepEqual(shown(await one.events(1)), [batch]);
            one.close();
          }
          one = await open("newsite", user);
          callback((await one.events(1))[0])();
          await empty(user);
          one.close();
          one = await open("newsite", user);
          await to(user, "e", ["nothing before"]);
          assert.deepEqual(delivered(await one.events(1)), [["e", "nothing before"]]);
          callback(one.received[0])();
        });

        test("a message between a batch and its callback survives (W-26)", async () => {
          const user = newRoom();
          const one = await open("newsite", user);
          await to(user, "e", ["early"]);
          await one.events(1);
          one.close();
          const two = await open("newsite", user);
          await two.events(1);
          await to(user, "e", ["late"]);
          await two.events(2);
          callback(two.received[0])();
          await until("the batch is removed", async () => (await stored(server.url, "newsite", user)) === 1);
          two.close();
          const three = await open("newsite", user);
          assert.deepEqual(shown(await three.events(1)), [["batch", [["e", "late"]], "callback"]]);
          callback(three.received[0])();
        });

        test("a user in two addressed rooms receives one copy, with a callback (W-19)", async () => {
          const [user, other, group] = [newRoom(), newRoom(), newRoom("staff")];
          const [both, one, member] = await Promise.all([
            open("newsite", `${user}.${group}`), open("newsite", other), open("newsite", `${group}.x`),
          ]);
          await to([user, other, group], "e", ["once"]);
          await to(group, "e", ["marker"]);
          assert.deepEqual(shown(await member.events(2)), [["e", "once"], ["e", "marker"]]);
          const received = shown(await both.events(2));
          assert.equal(received.length, 2);
          assert.ok(received.some((args) => args.at(-1) === "callback" && args[1] === "once"), JSON.stringify(received));
          assert.ok(received.some((args) => args.length === 2 && args[1] === "marker"), JSON.stringify(received));
          assert.deepEqual(shown(await one.events(1)), [["e", "once", "callback"]]);
        });

        test("an acknowledgement out of order causes a resync and clears everything (W-32)", async () => {
          const user = newRoom();
          let one = await open("newsite", user);
          for (const event of ["e", "a", "e"]) await to(user, event, [], { resync: true });
          await one.events(3);
          callback(one.received[2])();
          assert.deepEqual((await one.events(4))[3], ["resync"]);
          await empty(user);
          one.close();
          one = await open("newsite", user);
          await to(user, "e", ["nothing before"]);
          assert.deepEqual(delivered(await one.events(1)), [["e", "nothing before"]]);
        });

        test("acknowledgements in order, or without resync, cause none (W-33, W-34)", async () => {
          const user = newRoom();
          const one = await open("newsite", user);
          for (const resync of [true, false, undefined]) {
            for (let index = 0; index < 3; index++) await to(user, "e", [index], { resync });
          }
          await one.events(9);
          one.received.slice(0, 3).forEach((args) => callback(args)());
          [5, 4, 3, 8, 7, 6].forEach((index) => callback(one.received[index])());
          await empty(user);
          await to(user, "a", ["marker"]);
          assert.deepEqual(shown(await one.events(10)).at(-1), ["a", "marker", "callback"]);
          assert.ok(!one.received.some(([event]) => event === "resync"));
        });

        test("all tabs of a user receive the message, and the first callback removes it (W-35)", async () => {
          const user = newRoom();
          const [one, two] = await Promise.all([open("newsite", user), open("newsite", user)]);
          await to(user, "e", ["for both"]);
          for (const tab of [one, two]) assert.deepEqual(shown(await tab.events(1)), [["e", "for both", "callback"]]);
          callback(two.received[0])();
          await empty(user);
          callback(one.received[0])();
          await to(user, "e", ["next"]);
          for (const tab of [one, two]) assert.deepEqual(shown(await tab.events(2))[1], ["e", "next", "callback"]);
        });

        test("a tab that closes does not start the time of the user (W-27, W-35)", async () => {
          const user = newRoom();
          const [one, two] = await Promise.all([open("short", user), open("short", user)]);
          one.close();
          await new Promise((resolve) => setTimeout(resolve, 2_500));
          await send(server.url, "short", { rooms: user, event: "e", args: ["still here"] });
          assert.deepEqual(shown(await two.events(1)), [["e", "still here", "callback"]]);
        });

        test("messages are stored within client_ttl and dropped after it (W-27, W-28, W-31)", async () => {
          const [user, late] = [newRoom(), newRoom()];
          const [one, two] = await Promise.all([open("newsite", user), open("short", late)]);
          [one, two].forEach((gone) => gone.close());
          await to(user, "e", ["while offline"]);
          const back = await open("newsite", user);
          assert.deepEqual(shown(await back.events(1)), [["batch", [["e", "while offline"]], "callback"]]);
          await until("a message is dropped", async () => {
            await send(server.url, "short", { rooms: late, event: "e", args: ["too late"] });
            return (await stored(server.url, "short", late)) === 0;
          });
          await to("user_never_seen", "e", ["for no user"]);
          assert.equal(await stored(server.url, "newsite", "user_never_seen"), 0);
        });

        test("client_ttl 0 keeps messages until they are acknowledged (W-30)", async () => {
          const user = newRoom();
          await send(server.url, "forever", { rooms: user, event: "e", args: ["before the first visit"] });
          const one = await open("forever", user);
          assert.deepEqual(shown(await one.events(1)), [["batch", [["e", "before the first visit"]], "callback"]]);
        });

        test("without a prefix all rooms are groups (W-43)", async () => {
          const room = newRoom();
          const one = await open("plain", room);
          await send(server.url, "plain", { rooms: room, event: "e", args: [1] });
          assert.deepEqual(await one.events(1), [["e", 1]]);
        });

        test("names that are prefixes of others, or patterns, have queues of their own (W-55)", async () => {
          const user = newRoom();
          const names = [user, `${user}2`, `${user}*`, `${user}[1]?`];
          const all = await Promise.all(names.map((name) => open("newsite", name)));
          for (const [index, name] of names.entries()) await to(name, "e", [index]);
          for (const [index, one] of all.entries()) {
            assert.deepEqual(shown(await one.events(1)), [["e", index, "callback"]]);
            one.close();
          }
          for (const [index, name] of names.entries()) {
            const back = await open("newsite", name);
            assert.deepEqual(shown(await back.events(1)), [["batch", [["e", index]], "callback"]]);
          }
        });

        test("a queue is bounded, and the oldest message is dropped first (W-53)", async () => {
          const user = newRoom();
          (await open("small", user)).close();
          for (let index = 0; index < 8; index++) await send(server.url, "small", { rooms: user, event: "e", args: [index] });
          const back = await open("small", user);
          assert.deepEqual(shown(await back.events(1)), [["batch", [3, 4, 5, 6, 7].map((index) => ["e", index]), "callback"]]);
        });

        test("underscore names, a public room and meta are options of a site (W-46, W-48, W-50)", async () => {
          const user = newRoom();
          const events = ["e", "batch", "_batch", "resync", "_resync"];
          const one = await open("later", user, { events, query: { meta: `m-${user}` } });
          assert.ok(site.requests.some(({ meta }) => meta === `m-${user}`));
          const visitor = await open("later", undefined, { events });
          await send(server.url, "later", { rooms: "all", event: "e", args: ["public"] });
          for (const member of [one, visitor]) assert.deepEqual(await member.events(1), [["e", "public"]]);
          await send(server.url, "later", { rooms: user, event: "e", args: [1] }, { resync: true });
          await send(server.url, "later", { rooms: user, event: "e", args: [2] }, { resync: true });
          await one.events(3);
          one.close();
          const two = await open("later", user, { events });
          assert.deepEqual(shown(await two.events(1)), [["_batch", [["e", 1], ["e", 2]], "callback"]]);
          await send(server.url, "later", { rooms: user, event: "e", args: [3] }, { resync: true });
          callback((await two.events(2))[1])();
          assert.deepEqual(shown(await two.events(3))[2], ["_resync"]);
        });

        test("each device of a user has a queue of its own (W-36)", async () => {
          const user = newRoom();
          const on = (deviceId) => open("newsite", user, { query: { deviceId } });
          const [phone, tablet, none] = await Promise.all([on("phone"), on('ta"b\\let é'), open("newsite", user)]);
          await to(user, "e", [1]);
          for (const device of [phone, tablet, none]) assert.deepEqual(shown(await device.events(1)), [["e", 1, "callback"]]);
          // The first callback removes the message of its device only.
          callback(phone.received[0])();
          await to(user, "e", [2]);
          assert.deepEqual(shown(await phone.events(2))[1], ["e", 2, "callback"]);
          callback(phone.received[1])();
          await Promise.all([tablet.events(2), none.events(2)]);
          [phone, tablet].forEach((device) => device.close());
          await to(user, "e", [3]);
          callback((await none.events(3))[2])();
          const missed = [["e", 1], ["e", 2], ["e", 3]];
          await until("the phone has no more than what it has missed", async () => {
            const again = await on("phone");
            const [batch] = shown(await again.events(1));
            again.close();
            return JSON.stringify(batch) === JSON.stringify(["batch", [["e", 3]], "callback"]);
          });
          const again = await on('ta"b\\let é');
          assert.deepEqual(shown(await again.events(1)), [["batch", missed, "callback"]]);
          callback(again.received[0])();
          // Two tabs of one device share its queue.
          const tab = await on('ta"b\\let é');
          await to(user, "e", [4]);
          for (const one of [again, tab]) assert.deepEqual(shown(await one.events(one === tab ? 1 : 2)).at(-1), ["e", 4, "callback"]);
          // Queues of devices end with client_ttl, too.
          const gone = newRoom();
          (await open("short", gone, { query: { deviceId: "phone" } })).close();
          await until("nothing is stored for a device that is gone", async () => {
            await send(server.url, "short", { rooms: gone, event: "e", args: ["too late"] });
            const back = await open("short", gone, { query: { deviceId: "phone" } });
            await send(server.url, "short", { rooms: gone, event: "e", args: ["back"] });
            const [first] = delivered(await back.events(1));
            back.close();
            await new Promise((resolve) => setTimeout(resolve, 1_500));
            return first[1] === "back";
          });
        });

        test("a device whose name is not one is rejected with the reason (W-36)", async () => {
          const one = page("newsite", newRoom(), { query: { deviceId: "x".repeat(129) } });
          assert.match(await one.error(), /^Auth error: deviceId is not a text without control characters of 1 to 128 bytes$/);
          one.close();
        });

        test("the site is notified when a user connects and disconnects (W-49)", async () => {
          const user = newRoom();
          const updates = () => site.updates.filter(({ authorization }) => authorization.includes(user));
          const before = Date.now();
          const one = await open("seen", `${user}.staff`);
          await until("the first update", () => updates().length === 1);
          one.close();
          await until("the second update", () => updates().length === 2);
          const id = user.slice("user_".length);
          for (const { path, authorization, body } of updates()) {
            assert.deepEqual([path, authorization, body.id], [`/seen/${id}?from=live`, `Token ${user}.staff`, id]);
          }
          const [{ body: { user: first } }, { body: { user: second } }] = updates();
          assert.deepEqual([Object.keys(first), Object.keys(second)], [["last_connected"], ["last_disconnected"]]);
          const times = [first.last_connected, second.last_disconnected].map((text) => Date.parse(text));
          assert.ok(before - 1000 <= times[0] && times[0] <= times[1] && times[1] <= Date.now() + 1000, String(times));
          // A site that cannot be reached keeps no client from its messages, and clients without a user cause no request.
          const [unseen, group] = await Promise.all([open("unseen", user), open("seen", newRoom("staff"))]);
          await send(server.url, "unseen", { rooms: user, event: "e", args: [1] });
          assert.deepEqual(shown(await unseen.events(1)), [["e", 1, "callback"]]);
          group.close();
          await until("the failure is logged", () => server.lines.some((line) => line.includes("the site was not notified of a user")));
          assert.ok(!site.updates.some(({ authorization }) => authorization.includes("staff") && !authorization.includes("user_")));
          assert.ok(!server.lines.some((line) => line.includes(user)), "neither user nor token is in the log");
        });

        test("a page is in two sites over one connection, each with its own token (W-09)", async () => {
          const [mine, theirs] = [`${newRoom("staff")}`, `${newRoom("staff")}`];
          const one = await open("newsite", mine);
          const options = client.old ? { query: `token=${theirs}` } : { auth: { token: theirs } };
          const socket = one.socket.io.socket("/other", options);
          const received = [];
          socket.on("e", (...args) => received.push(args));
          await within("the second site", new Promise((resolve, reject) => {
            socket.on("connect", resolve);
            socket.on(client.old ? "error" : "connect_error", reject);
          }));
          await send(server.url, "other", { rooms: theirs, event: "e", args: ["second"] });
          await until("the message", () => received.length === 1);
          assert.ok(!site.requests.some(({ path, authorization }) => path === "/rooms/other" && authorization.includes(mine)));
          assert.ok(!site.requests.some(({ path, authorization }) => path === "/rooms/newsite" && authorization.includes(theirs)));
        });

        test("over polling it is the same (W-17, W-22)", async () => {
          const user = newRoom();
          const one = await open("newsite", user, { transports: ["polling"] });
          await to(user, "e", ["é ☃"]);
          assert.deepEqual(shown(await one.events(1)), [["e", "é ☃", "callback"]]);
          one.close();
          const two = await open("newsite", user, { transports: ["polling"] });
          callback((await two.events(1))[0])();
          await empty(user);
        });
      });
    }

    test("a token in the query of a shared connection is for its first site only (W-09)", async () => {
      const mine = newRoom("staff");
      const one = await new Page(newest, server.url, "newsite", mine).connected();
      const socket = one.socket.io.socket("/other", {});
      const error = await within("error", new Promise((resolve) => socket.on("connect_error", resolve)));
      assert.equal(error.message, "Authentication error");
      assert.ok(!site.requests.some(({ path, authorization }) => path === "/rooms/other" && authorization.includes(mine)));
      one.close();
    });

    test("requests that are not messages have the responses of the old service (W-03, W-04, W-05, W-44, W-45, W-47, W-54)", async () => {
      const post = async (query, body, headers = { "content-type": "application/json" }) => {
        const response = await fetch(`${server.url}/send?${query}`, { method: "POST", headers, body });
        return [response.status, await response.text()];
      };
      const good = JSON.stringify({ rooms: "a", event: "e" });
      const member = await new Page(newest, server.url, "newsite", "a").connected();
      for (const query of ["", "site=newsite", "apiKey=54321", "site=&apiKey=54321"]) {
        assert.deepEqual(await post(query, good), [400, "Missing query param 'site' or 'apiKey'."]);
      }
      for (const query of ["site=newsite&apiKey=5432", "site=constructor&apiKey=54321", "site=__proto__&apiKey=54321"]) {
        assert.deepEqual(await post(query, good), [401, "ApiKey invalid."]);
      }
      const header = { "content-type": "application/json", "x-api-key": "54321" };
      assert.deepEqual(await post("site=newsite", good, header), [200, "OK"]);
      assert.deepEqual(await post("site=newsite", good, { ...header, "x-api-key": "5432" }), [401, "ApiKey invalid."]);
      for (const body of ["", "{", "[]", '{"event":"e"}', '{"rooms":"a"}', '{"rooms":"a","event":"disconnect"}', '{"rooms":"a","event":"connect"}']) {
        const [status] = await post("site=newsite&apiKey=54321", body);
        assert.equal(status, 400, body);
      }
      assert.equal((await post("site=newsite&apiKey=54321&resync=maybe", good))[0], 400);
      assert.equal((await fetch(`${server.url}/send?site=newsite&apiKey=54321`)).status, 405);
      const health = await fetch(`${server.url}/healthcheck`);
      assert.deepEqual([health.status, await health.text()], [200, "ok"]);
      assert.ok(!server.lines.some((line) => /(?<!\d)54321?(?!\d)/.test(line)), "no key in the log");
      // Of all these, the two that were accepted have arrived: the header's, and this one.
      await send(server.url, "newsite", { rooms: "a", event: "e", args: ["accepted"] });
      assert.deepEqual(await member.events(2), [["e"], ["e", "accepted"]]);
      member.close();
    });
  });
}

describe("several servers on one Redis", () => {
  const known = (user) => until(`${user} is known`, async () => (await redis.command("--scan", "--pattern", `*${user}*`)).length > 0);

  test("deliver live to each other, and queues survive a restart (W-37)", async () => {
    const [one, other] = await Promise.all([startServer(sites(redis.url)), startServer(sites(redis.url))]);
    let again;
    try {
      const [user, group] = [newRoom(), newRoom("staff")];
      const page = await new Page(newest, other.url, "newsite", `${user}.${group}`).connected();
      await known(user);
      await send(one.url, "newsite", { rooms: [user, group], event: "e", args: ["from the other"] });
      assert.deepEqual(shown(await page.events(1)), [["e", "from the other", "callback"]]);
      await other.stop("SIGKILL");
      await send(one.url, "newsite", { rooms: user, event: "e", args: ["while it is down"] });
      again = await startServer(sites(redis.url), other.port);
      const batch = ["batch", [["e", "from the other"], ["e", "while it is down"]], "callback"];
      assert.deepEqual(shown(await page.events(2))[1], batch);
      callback(page.received[1])();
      await until("nothing is stored", async () => (await stored(one.url, "newsite", user)) === 0);
      await send(one.url, "newsite", { rooms: group, event: "e", args: ["live again"] });
      assert.deepEqual((await page.events(3))[2], ["e", "live again"]);
      page.close();
    } finally {
      await Promise.all([one.stop(), other.stop(), again?.stop()]);
    }
  });

  test("a message reaches the devices on every server, and their queues survive a restart (W-36, W-37)", async () => {
    const [one, other] = await Promise.all([startServer(sites(redis.url)), startServer(sites(redis.url))]);
    let again;
    try {
      const user = newRoom();
      const on = (url, deviceId) => new Page(newest, url, "newsite", user, { query: { deviceId } }).connected();
      const [phone, tablet] = await Promise.all([on(one.url, "phone"), on(other.url, "tablet")]);
      await until("Redis knows both devices", async () => {
        const keys = await redis.command("--scan", "--pattern", `*${user}*device:*:state`);
        return keys.length === 2;
      });
      await send(one.url, "newsite", { rooms: user, event: "e", args: [1] });
      for (const device of [phone, tablet]) assert.deepEqual(shown(await device.events(1)), [["e", 1, "callback"]]);
      callback(phone.received[0])();
      await other.stop("SIGKILL");
      await send(one.url, "newsite", { rooms: user, event: "e", args: [2] });
      again = await startServer(sites(redis.url), other.port);
      assert.deepEqual(shown(await tablet.events(2))[1], ["batch", [["e", 1], ["e", 2]], "callback"]);
      assert.deepEqual(shown(await phone.events(2))[1], ["e", 2, "callback"]);
      // Too many devices: the one that was seen least recently is forgotten.
      const many = Array.from({ length: 33 }, (_, number) => `device ${number}`);
      for (const device of many) (await on(one.url, device)).close();
      await until("32 devices are known", async () => {
        const [key] = await redis.command("--scan", "--pattern", `*${user}*:devices`);
        return Number((await redis.command("ZCARD", key))[0]) === 32;
      });
      for (const key of await redis.command("--scan", "--pattern", `*${user}*`)) {
        assert.ok(Number((await redis.command("TTL", key))[0]) > 0, key);
      }
      [phone, tablet].forEach((device) => device.close());
    } finally {
      await Promise.all([one.stop(), other.stop(), again?.stop()]);
    }
  });

  test("every key in Redis expires, unless client_ttl is 0 (W-29, W-30)", async () => {
    const server = await startServer(sites(redis.url));
    try {
      const [user, kept] = [newRoom(), newRoom()];
      const page = await new Page(newest, server.url, "newsite", user).connected();
      page.close();
      await send(server.url, "newsite", { rooms: user, event: "e" });
      await send(server.url, "forever", { rooms: kept, event: "e" });
      const ttls = async (name) => {
        const keys = await redis.command("--scan", "--pattern", `*${name}*`);
        assert.ok(keys.length > 0);
        return Promise.all(keys.map(async (key) => Number((await redis.command("TTL", key))[0])));
      };
      for (const ttl of await ttls(user)) assert.ok(ttl > 0 && ttl <= 2 * 3600, String(ttl));
      assert.ok((await ttls(kept)).includes(-1));
      for (const [name, one] of [["newsite", user], ["forever", kept]]) {
        const back = await new Page(newest, server.url, name, one).connected();
        assert.deepEqual(shown(await back.events(1)), [["batch", [["e"]], "callback"]]);
        back.close();
      }
    } finally {
      await server.stop();
    }
  });

  for (const host of ["127.0.0.1", "::1"]) {
    test(`a site at localhost is found on ${host} (W-57)`, async () => {
      const own = await startSite(host);
      const auth = { url: `http://localhost:${own.port}/rooms`, scheme: "Bearer" };
      const server = await startServer({ "/newsite": { ...of("newsite"), auth } });
      try {
        const page = await new Page(newest, server.url, "newsite", "staff").connected();
        page.close();
        assert.equal(own.requests.length, 1);
      } finally {
        await Promise.all([server.stop(), own.stop()]);
      }
    });
  }
});
