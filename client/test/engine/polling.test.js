// Long-polling payloads against the shared vectors, through the real transport and a real server
// that answers with exactly these bodies.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { PollingTransport } from "../../src/engine/polling.js";
import * as codec from "../../src/stock/base64.js";
import { until } from "../support/until.js";

const vectors = JSON.parse(
  readFileSync(new URL("../../../protocol/vectors/engine_io.json", import.meta.url), "utf8"),
);

let http;
let url;
let answer; // (request, body, response) => void

before(async () => {
  http = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    answer(request, body, response);
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

/** A transport whose first GET is answered with `body`; the next one waits. */
function polled(body, options = {}) {
  const heard = { packets: [], closed: undefined };
  let gets = 0;
  answer = (request, _body, response) => {
    if (request.method === "GET" && gets++ === 0) response.end(body);
  };
  const transport = new PollingTransport({ url, codec, ...options }, "sid", {
    _packet: (packet) => heard.packets.push(typeof packet === "string" ? packet : new Uint8Array(packet)),
    _closed: (reason, details) => (heard.closed = { reason, details }),
  });
  return { transport, heard };
}

for (const { body, packets } of vectors.payloads) {
  test(`the payload ${JSON.stringify(body)} is read`, async () => {
    const { transport, heard } = polled(body);
    await until(() => heard.packets.length === packets.length);
    assert.deepEqual(heard.packets, packets.map(asText));
    transport._close();
  });

  test(`the payload ${JSON.stringify(body)} is written`, async () => {
    const { transport } = polled("6");
    let posted;
    answer = (request, sent, response) => {
      if (request.method === "POST") posted = sent;
      if (request.method === "POST") response.end("ok");
    };
    transport._opened({ sid: "sid" });
    transport._send(packets.map(asText));
    await until(() => posted !== undefined);
    assert.equal(posted, body);
    transport._close();
  });
}

test("binary data of every kind is written as base64", async () => {
  const four = new Uint8Array([9, 1, 2, 3, 4, 9]);
  const kinds = [four.slice(1, 5).buffer, four.subarray(1, 5), new DataView(four.buffer, 1, 4), new Blob([four.subarray(1, 5)])];
  for (const kind of kinds) assert.equal(await codec.encode(kind), "bAQIDBA==");
});

for (const { name, body } of vectors.malformed_payloads.filter((vector) => vector.body.startsWith("b"))) {
  test(`malformed payload: ${name} ends the transport`, async () => {
    const { heard } = polled(body);
    await until(() => heard.closed);
    assert.equal(heard.closed.reason, "transport error");
  });
}

for (const { error, status, body } of vectors.errors) {
  test(`the error ${error} ends the transport, and its body says why`, async () => {
    const { transport, heard } = polled("");
    answer = (_request, _body, response) => {
      response.statusCode = status;
      response.end(body);
    };
    transport._close();
    const failed = new PollingTransport({ url }, "sid", { _packet() {}, _closed: (...args) => (heard.closed = args) });
    await until(() => heard.closed);
    assert.deepEqual(heard.closed, ["transport error", { description: status, context: body }]);
    assert.equal(failed._writable, false);
  });
}

test("no request is larger than the server takes, and none is lost or out of order", async () => {
  const { transport } = polled("6");
  const bodies = [];
  let atOnce = 0;
  answer = (request, sent, response) => {
    if (request.method !== "POST") return;
    assert.equal(++atOnce, 1, "one POST at a time");
    bodies.push(sent);
    setImmediate(() => {
      atOnce--;
      response.end("ok");
    });
  };
  transport._opened({ sid: "sid", maxPayload: 20 });
  const queue = ["4aaaaaaa", "4bbbbbbb", "4ccc", "4éééééé", "4" + "d".repeat(30), "4e"];
  transport._ears._flushed = () => queue.length && transport._send(queue);
  transport._send(queue);
  await until(() => bodies.join("\x1e").includes("4e"));
  assert.deepEqual(bodies, ["4aaaaaaa\x1e4bbbbbbb", "4ccc\x1e4éééééé", "4" + "d".repeat(30), "4e"]);
  transport._close();
});
