// Publications that exclude this page, from a real server: live, and after a lost connection.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { Server } from "../support/server.js";
import { record, until } from "../support/until.js";

const server = new Server();
const hash = (id) => createHash("sha256").update(id).digest("hex").slice(0, 16);

before(() => server.ensure());
after(() => server.close());

for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
  test(`a page does not receive what excludes it, live or in a recovery, over ${transports}`, async () => {
    const nodevent = connect({ url: server.url, WebSocket, transports, reconnectionDelay: 20, reconnectionDelayMax: 50 });
    const name = `except ${transports}`;
    const room = nodevent.room(name);
    const { update } = record(room, "update");
    await new Promise((resolve) => room.join(resolve));
    const publish = (message, page) => server.publish({ room: name, event: "update", message, ...(page && { except: hash(page) }) });
    await publish(1);
    await publish(2, nodevent.pageId);
    await publish(3, "another page");
    await until(() => update.length === 2);
    nodevent.socket.disconnect();
    await publish(4, nodevent.pageId);
    await publish(5);
    nodevent.socket.connect();
    await until(() => update.length === 3);
    await publish(6, nodevent.pageId);
    await publish(7);
    await until(() => update.length === 4);
    assert.deepEqual(update, [[1], [3], [5], [7]]);
    nodevent.close();
  });
}
