// Long-polling payloads against the shared vectors, through the real transport and a real server
// that responds with exactly these bodies.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { PollingTransport } from "../../src/engine/polling.js";
import * as codec from "../../src/socket.io-compat/base64.js";
import { until } from "../support/until.js";

const vectors = JSON.parse(
  readFileSync(new URL("../../../protocol/vectors/engine_io.json", import.meta.url), "utf8"),
);

let http;
let url;
let respond; // (request, body, response) => void

before(async () => {
  http = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    respond(request, body, response);
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${http.address().port}/socket.io/`;
});

after(() => {
  http.closeAllConnections();
  http.close();
});

const asText = ({ type, data, base64 }) =>
  base64 === undefined
    ? ["open", "close", "ping", "pong", "message", "upgrade", "noop"].indexOf(type) + data
    : new Uint8Array(Buffer.from(base64, "base64"));

/** A transport whose first GET returns `body`; the next one waits. */
function polled(body, options = {}) {
  const received = { packets: [], closed: undefined };
  let gets = 0;
  respond = (request, _body, response) => {
    if (request.method === "GET" && gets++ === 0) response.end(body);
  };
  const transport = new PollingTransport({ url, codec, ...options }, "sid", {
    _onPacket: (packet) => received.packets.push(typeof packet === "string" ? packet : new Uint8Array(packet)),
    _onClose: (reason, details) => (received.closed = { reason, details }),
  });
  return { transport, received };
}

for (const { body, packets } of vectors.payloads) {
  test(`reads the payload ${JSON.stringify(body)}`, async () => {
    const { transport, received } = polled(body);
    await until(() => received.packets.length === packets.length);
    assert.deepEqual(received.packets, packets.map(asText));
    transport._close();
  });

  test(`writes the payload ${JSON.stringify(body)}`, async () => {
    const { transport } = polled("6");
    let posted;
    respond = (request, sent, response) => {
      if (request.method === "POST") posted = sent;
      if (request.method === "POST") response.end("ok");
    };
    transport._onHandshake({ sid: "sid" });
    transport._send(packets.map(asText));
    await until(() => posted !== undefined);
    assert.equal(posted, body);
    transport._close();
  });
}

test("every kind of binary data is written as base64", async () => {
  const four = new Uint8Array([9, 1, 2, 3, 4, 9]);
  const kinds = [four.slice(1, 5).buffer, four.subarray(1, 5), new DataView(four.buffer, 1, 4), new Blob([four.subarray(1, 5)])];
  for (const kind of kinds) assert.equal(await codec.encode(kind), "bAQIDBA==");
});

for (const { name, body } of vectors.malformed_payloads.filter((vector) => vector.body.startsWith("b"))) {
  test(`malformed payload: ${name} ends the transport`, async () => {
    const { received } = polled(body);
    await until(() => received.closed);
    assert.equal(received.closed.reason, "transport error");
  });
}

for (const { error, status, body } of vectors.errors) {
  test(`the error ${error} ends the transport, and its body has the reason`, async () => {
    const { transport, received } = polled("");
    respond = (_request, _body, response) => {
      response.statusCode = status;
      response.end(body);
    };
    transport._close();
    const failed = new PollingTransport({ url }, "sid", { _onPacket() {}, _onClose: (...args) => (received.closed = args) });
    await until(() => received.closed);
    assert.deepEqual(received.closed, ["transport error", { description: status, context: body }]);
    assert.equal(failed._writable, false);
  });
}

test("no request is larger than the server's limit, and no packet is lost or out of order", async () => {
  const { transport } = polled("6");
  const bodies = [];
  let atOnce = 0;
  respond = (request, sent, response) => {
    if (request.method !== "POST") return;
    assert.equal(++atOnce, 1, "one POST at a time");
    bodies.push(sent);
    setImmediate(() => {
      atOnce--;
      response.end("ok");
    });
  };
  transport._onHandshake({ sid: "sid", maxPayload: 20 });
  const queue = ["4aaaaaaa", "4bbbbbbb", "4ccc", "4éééééé", "4" + "d".repeat(30), "4e"];
  transport._handlers._onFlush = () => queue.length && transport._send(queue);
  transport._send(queue);
  await until(() => bodies.join("\x1e").includes("4e"));
  assert.deepEqual(bodies, ["4aaaaaaa\x1e4bbbbbbb", "4ccc\x1e4éééééé", "4" + "d".repeat(30), "4e"]);
  transport._close();
});
