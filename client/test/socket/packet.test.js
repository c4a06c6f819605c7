// Socket.IO packets against the shared vectors. The vectors describe the server's side; the cases
// that a client treats differently are listed below, by name.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as binary from "../../src/socket.io-compat/binary.js";
import * as packet from "../../src/socket/packet.js";

const read = (name) => JSON.parse(readFileSync(new URL(`../../../protocol/vectors/${name}`, import.meta.url), "utf8"));
const vectors = read("socket_io.json");
const TYPES = ["connect", "disconnect", "event", "ack", "connect_error"];
const bytes = (base64) => new Uint8Array(Buffer.from(base64, "base64"));

/** Decodes messages like the compat manager does. */
function decodeAll(frames) {
  let partial;
  let parts = [];
  const done = [];
  for (const frame of frames) {
    if (typeof frame === "string") {
      if (partial) throw new Error("attachments missing");
      partial = binary.decode(frame);
      parts = [];
    } else if (partial) parts.push(bytes(frame.base64));
    else throw new Error("attachment of nothing");
    if (parts.length < (partial.attachments ?? 0)) continue;
    done.push({ ...partial, data: binary.restore(partial.data, parts) });
    partial = undefined;
  }
  return done;
}

/** Only a server strips the query of a namespace; it never sends one. */
const sentByBrowsersOnly = (name) => /query string/.test(name);

for (const { name, frames, packet: expected } of vectors.decoded.filter((vector) => !sentByBrowsersOnly(vector.name))) {
  test(`decoded: ${name}`, () => {
    const [got] = decodeAll(frames);
    assert.equal(TYPES[got.type], expected.type);
    assert.equal(got.nsp, expected.namespace);
    assert.equal(got.id, expected.id);
    const text = expected.args ?? expected.auth;
    const data = text === undefined ? undefined : JSON.parse(text);
    // An ack without arguments has no data; its callback gets no arguments in both cases.
    if (expected.type === "ack") got.data ??= [];
    assert.deepEqual(got.data, binary.restore(data, (expected.attachments ?? []).map(bytes)));
  });
}

for (const { name, frames } of vectors.malformed.filter((vector) => !vector.name.includes("which only a server says"))) {
  test(`malformed: ${name}`, () => {
    assert.throws(() => decodeAll(frames));
  });
}

test("connect_error has a message, as an object or as a string", () => {
  assert.deepEqual(packet.decode('4{"message":"x"}').data, { message: "x" });
  assert.equal(packet.decode('4/a,"x"').data, "x");
  assert.throws(() => packet.decode("4"));
  assert.throws(() => packet.decode("4[]"));
});

for (const vector of vectors.encoded) {
  test(`reads what the server writes: ${vector.text}`, () => {
    const got = binary.decode(vector.text);
    assert.equal(TYPES[got.type], vector.type.replace("binary_", ""));
    assert.equal(got.nsp, vector.namespace);
    assert.equal(got.id, vector.id);
    if (vector.args) assert.deepEqual(got.data, JSON.parse(vector.args));
    if (vector.sid) assert.equal(got.data.sid, vector.sid);
    if (vector.message) assert.equal(got.data.message, vector.message);
  });
}

test("decode returns the packet that encode was given", () => {
  const packets = [
    { type: 0, nsp: "/" },
    { type: 0, nsp: "/nodevent", data: { token: "x" } },
    { type: 1, nsp: "/nodevent" },
    { type: 2, nsp: "/", data: ["e", null, { a: [1, "ü\u2028"] }] },
    { type: 2, nsp: "/a/b", id: 0, data: ["4", 5] },
    { type: 3, nsp: "/", id: 12, data: [] },
  ];
  for (const one of packets) {
    const { id, data, ...rest } = packet.decode(packet.encode(one));
    assert.deepEqual({ ...rest, ...(id !== undefined && { id }), ...(data !== undefined && { data }) }, one);
  }
});

test("binary parts are extracted and restored; the message itself is not changed", () => {
  const message = { a: new Uint8Array([1, 2]), list: [new ArrayBuffer(3), "x"], date: new Date(0), none: null };
  const [text, ...parts] = binary.encode({ type: 2, nsp: "/n", id: 7, data: ["e", message] });
  assert.equal(
    text,
    '52-/n,7["e",{"a":{"_placeholder":true,"num":0},"list":[{"_placeholder":true,"num":1},"x"],"date":"1970-01-01T00:00:00.000Z","none":null}]',
  );
  assert.equal(parts[0], message.a);
  assert.equal(parts[1], message.list[0]);
  const back = binary.restore(binary.decode(text).data, parts);
  assert.equal(back[1].a, message.a);
  assert.equal(back[1].list[0], message.list[0]);
});

test("an own __proto__ from the network stays a property", () => {
  const { data } = binary.decode('51-["e",{"__proto__":{"x":{"_placeholder":true,"num":0}}}]');
  const [, message] = binary.restore(data, [new ArrayBuffer(1)]);
  assert.equal(Object.getPrototypeOf(message), Object.prototype);
  assert.equal(message.x, undefined);
});
