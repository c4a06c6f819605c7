// The events of a mailbox in protocol/vectors/mailboxes.json: what the page receives, and how many messages are unread.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Client } from "../../src/index.js";
import { Emitter } from "../../src/emitter.js";

const vectors = JSON.parse(readFileSync(new URL("../../../protocol/vectors/mailboxes.json", import.meta.url)));

/** A socket whose events the test fires. */
class FakeSocket extends Emitter {
  sent = [];

  emit(...args) {
    this.sent.push(args);
  }
}

for (const [index, { events, delivered, unread }] of vectors.pages.entries()) {
  test(`events of vector ${index}`, () => {
    const socket = new FakeSocket();
    const { inbox } = new Client().setSocket(socket);
    const messages = [];
    inbox.on("e", (message) => messages.push(message));
    assert.equal(socket.sent[0][0], "mailbox");
    for (const [name, data] of events) socket._fire(name, data);
    assert.deepEqual([messages, inbox.unread], [delivered, unread]);
  });
}
