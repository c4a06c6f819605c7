// Somebody else's publisher and somebody else's client: redis-cli on one side, the stock socket.io-client on
// the other, and between them only the server. Once for each transport.
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

    test("an emission reaches who joined its room, exactly as it was published (N-23)", async () => {
      const client = await member("r");
      assert.equal(await publish('{"room":"r","event":"e","message":1}'), "1");
      const [[emission, ...rest]] = await client.until("the emission", (heard) => heard.length === 1);
      assert.deepEqual(emission, { room: "r", event: "e", message: 1 });
      assert.deepEqual(rest, []);
    });

    test("unknown members pass, an absent message stays absent, and text is not touched (N-24, N-32)", async () => {
      const client = await member("r");
      const message = { text: "ünï☃\u2028 </script>", nested: [1, [null, { deep: false }]] };
      await publish(JSON.stringify({ room: "r", event: "e", message, extra: "kept" }));
      await publish('{"event":"e2","room":"r"}');
      const heard = await client.until("both emissions", ({ length }) => length === 2);
      assert.deepEqual(heard[0][0], { room: "r", event: "e", message, extra: "kept" });
      assert.deepEqual(heard[1][0], { event: "e2", room: "r" });
    });

    test("who is not in the room hears nothing (N-25)", async () => {
      const [inside, elsewhere, nowhere] = [await member("r"), await member("other"), await member()];
      await publish('{"room":"r","event":"e","message":"for r"}');
      await publish('{"room":"other","event":"e","message":"for other"}');
      await inside.until("the emission", ({ length }) => length === 1);
      await elsewhere.until("its own emission", ({ length }) => length === 1);
      assert.equal(elsewhere.heard[0][0].message, "for other");
      assert.deepEqual((await nowhere.join("late"))[0], null); // a round trip later there is still nothing
      assert.deepEqual(nowhere.heard, []);
    });

    test("what is no emission is skipped, and each of the next 60 arrives in order (N-26, N-27, N-28, N-31)", async () => {
      const [client, unjoined] = [await member("r"), await member()];
      const malformed = [
        "not json", "{room: 'r', event: 'e', message: 1}", "null", "[]", '"text"', "17", "true", "{}", "",
        '{"event":"e","message":1}', '{"room":null,"event":"e"}', '{"room":"","event":"e"}', '{"room":"r"', '{"room":{},"event":"e"}',
      ];
      for (const payload of malformed) await publish(payload);
      for (let n = 0; n < 60; n += 1) await publish(JSON.stringify({ room: "r", event: "e", message: n }));
      const heard = await client.until("60 emissions", ({ length }) => length >= 60);
      assert.deepEqual(heard.map(([{ message }]) => message), Array.from({ length: 60 }, (_, n) => n));
      assert.deepEqual(unjoined.heard, []);
    });

    test("joining twice is one delivery (N-33)", async () => {
      const client = await member("r");
      assert.deepEqual((await client.join("r")).slice(0, 2), [null, true]);
      await publish('{"room":"r","event":"e","message":"once"}');
      await publish('{"room":"r","event":"e","message":"fence"}');
      const heard = await client.until("the fence", (all) => all.some(([{ message }]) => message === "fence"));
      assert.deepEqual(heard.map(([{ message }]) => message), ["once", "fence"]);
    });

    test("leaving ends delivery, and says so (N-46)", async () => {
      const [client, witness] = [await member("r"), await member("r")];
      await client.join("fence");
      assert.deepEqual(await client.leave("r"), [null]);
      await publish('{"room":"r","event":"e","message":"after"}');
      await publish('{"room":"fence","event":"e","message":"fence"}');
      await witness.until("the emission", ({ length }) => length === 1);
      const heard = await client.until("the fence", ({ length }) => length > 0);
      assert.deepEqual(heard.map(([{ room }]) => room), ["fence"]);
    });

    test("room 42 is room \"42\" (N-29)", async () => {
      const [number, text] = [await member(42), await member("42")];
      await publish('{"room":"42","event":"e","message":"text"}');
      await publish('{"room":42,"event":"e","message":"number"}');
      for (const client of [number, text]) {
        const heard = await client.until("both", ({ length }) => length === 2);
        assert.deepEqual(heard.map(([{ message }]) => message), ["text", "number"]);
      }
    });

    test("an emission published over HTTP reaches it too", async () => {
      const client = await member("r");
      const answer = await fetch(`${server.url}/api/nodevent/emit`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: '{"room":"r","event":"e","message":"by HTTP"}',
      });
      assert.equal(answer.status, 200);
      assert.equal((await answer.json()).accepted, 1);
      const [[emission]] = await client.until("the emission", ({ length }) => length === 1);
      assert.equal(emission.message, "by HTTP");
    });
  });
}
