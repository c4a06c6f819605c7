// A foreign publisher and a foreign client: redis-cli publishes, the stock socket.io-client receives, and only the
// server is ours. Runs for each transport.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { connect, startRedis, startServer } from "./support/server.js";

for (const transport of ["websocket", "polling"]) {
  describe(`redis-cli publish to socket.io-client over ${transport}`, () => {
    let redis, server;
    const clients = [];

    before(async () => {
      redis = await startRedis();
      server = await startServer({ "/nodevent": { redis: { url: redis.url } } });
    });
    afterEach(() => clients.splice(0).forEach((client) => client.close()));
    after(async () => {
      await server?.stop();
      await redis?.stop();
    });

    const member = async (room) => {
      const client = await connect(server.url, "/nodevent", transport);
      clients.push(client);
      if (room !== undefined) assert.deepEqual((await client.join(room)).slice(0, 2), [null, true]);
      return client;
    };
    const publish = (payload) => redis.cli("publish", "/nodevent", payload);

    test("a publication reaches the members of its room unchanged (N-23)", async () => {
      const client = await member("r");
      assert.equal(await publish('{"room":"r","event":"e","message":1}'), "1");
      const [[publication, ...rest]] = await client.until("the publication", (received) => received.length === 1);
      assert.deepEqual(publication, { room: "r", event: "e", message: 1 });
      assert.deepEqual(rest, []);
    });

    test("unknown members are kept, an absent message stays absent, and text is unchanged (N-24, N-32)", async () => {
      const client = await member("r");
      const message = { text: "ünï☃\u2028 </script>", nested: [1, [null, { deep: false }]] };
      await publish(JSON.stringify({ room: "r", event: "e", message, extra: "kept" }));
      await publish('{"event":"e2","room":"r"}');
      const received = await client.until("both publications", ({ length }) => length === 2);
      assert.deepEqual(received[0][0], { room: "r", event: "e", message, extra: "kept" });
      assert.deepEqual(received[1][0], { event: "e2", room: "r" });
    });

    test("clients outside the room receive nothing (N-25)", async () => {
      const [inside, elsewhere, nowhere] = [await member("r"), await member("other"), await member()];
      await publish('{"room":"r","event":"e","message":"for r"}');
      await publish('{"room":"other","event":"e","message":"for other"}');
      await inside.until("the publication", ({ length }) => length === 1);
      await elsewhere.until("its own publication", ({ length }) => length === 1);
      assert.equal(elsewhere.received[0][0].message, "for other");
      assert.deepEqual((await nowhere.join("late"))[0], null); // still nothing after a round trip
      assert.deepEqual(nowhere.received, []);
    });

    test("invalid publications are skipped, and each of the next 60 arrives in order (N-26, N-27, N-28, N-31)", async () => {
      const [client, unjoined] = [await member("r"), await member()];
      const malformed = [
        "not json", "{room: 'r', event: 'e', message: 1}", "null", "[]", '"text"', "17", "true", "{}", "",
        '{"event":"e","message":1}', '{"room":null,"event":"e"}', '{"room":"","event":"e"}', '{"room":"r"', '{"room":{},"event":"e"}',
      ];
      for (const payload of malformed) await publish(payload);
      for (let n = 0; n < 60; n += 1) await publish(JSON.stringify({ room: "r", event: "e", message: n }));
      const received = await client.until("60 publications", ({ length }) => length >= 60);
      assert.deepEqual(received.map(([{ message }]) => message), Array.from({ length: 60 }, (_, n) => n));
      assert.deepEqual(unjoined.received, []);
    });

    test("joining twice is one delivery (N-33)", async () => {
      const client = await member("r");
      assert.deepEqual((await client.join("r")).slice(0, 2), [null, true]);
      await publish('{"room":"r","event":"e","message":"once"}');
      await publish('{"room":"r","event":"e","message":"fence"}');
      const received = await client.until("the fence", (all) => all.some(([{ message }]) => message === "fence"));
      assert.deepEqual(received.map(([{ message }]) => message), ["once", "fence"]);
    });

    test("leaving ends delivery and is acknowledged (N-46)", async () => {
      const [client, witness] = [await member("r"), await member("r")];
      await client.join("fence");
      assert.deepEqual(await client.leave("r"), [null]);
      await publish('{"room":"r","event":"e","message":"after"}');
      await publish('{"room":"fence","event":"e","message":"fence"}');
      await witness.until("the publication", ({ length }) => length === 1);
      const received = await client.until("the fence", ({ length }) => length > 0);
      assert.deepEqual(received.map(([{ room }]) => room), ["fence"]);
    });

    test("room 42 is room \"42\" (N-29)", async () => {
      const [number, text] = [await member(42), await member("42")];
      await publish('{"room":"42","event":"e","message":"text"}');
      await publish('{"room":42,"event":"e","message":"number"}');
      for (const client of [number, text]) {
        const received = await client.until("both", ({ length }) => length === 2);
        assert.deepEqual(received.map(([{ message }]) => message), ["text", "number"]);
      }
    });

    test("a publication over HTTP reaches it too", async () => {
      const client = await member("r");
      const response = await fetch(`${server.url}/api/nodevent/emit`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: '{"room":"r","event":"e","message":"by HTTP"}',
      });
      assert.equal(response.status, 200);
      assert.equal((await response.json()).accepted, 1);
      const [[publication]] = await client.until("the publication", ({ length }) => length === 1);
      assert.equal(publication.message, "by HTTP");
    });
  });
}
