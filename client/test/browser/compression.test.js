// permessage-deflate between the real server and clients of independent origin: `ws`, and Chromium.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Server } from "../support/server.js";
import { record, until } from "../support/until.js";

const ACCEPTED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const news = (number) => [number, "news of the day ☃, ".repeat(300)];

const server = new Server({ deflate: true, "/plain": { protocol: "plain", open: true } });
let browser, web;

before(async () => {
  browser = await launch();
  web = await servePages({ "/": "<!doctype html><title>page</title>" }, { policy: "" });
  server.config.origins = [web.url];
  await server.start();
});

after(async () => {
  await browser?.close();
  await Promise.all([web?.close(), server.close()]);
});

/** Connects with `ws`, which fails on everything that RFC 7692 does not allow. */
async function member(options) {
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/ws/plain`, options);
  const lines = [];
  socket.on("message", (text) => lines.push(JSON.parse(text)));
  const next = async (what) => {
    await until(() => lines.length > 0, what);
    return lines.shift();
  };
  assert.equal((await next("the first line")).hello.version, 1);
  return { socket, next, send: (line) => socket.send(JSON.stringify(line)) };
}

test("ws receives compressed publications and sends compressed messages, however it offers the extension", async () => {
  const offers = [{ threshold: 0 }, { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true, clientMaxWindowBits: 10 }];
  for (const perMessageDeflate of [true, ...offers, { serverMaxWindowBits: 10 }, false]) {
    const { socket, next, send } = await member({ perMessageDeflate });
    const isAccepted = perMessageDeflate && perMessageDeflate.serverMaxWindowBits === undefined;
    assert.equal(socket.extensions, isAccepted ? "permessage-deflate" : "");
    // Longer than 1,024 bytes, from which on it compresses by default.
    const call = { ping: "x☃".repeat(2000) };
    send(call);
    assert.deepEqual(await next("the reply"), { pong: call.ping });
    send({ join: "r" });
    assert.equal((await next("the join")).joined, "r");
    const atFirst = await server.metric("nodevent_deflate_input_bytes_total");
    for (const number of [1, 2, 3]) {
      await server.emit("r", "e", news(number), "plain");
      assert.deepEqual((await next(`publication ${number}`)).message, news(number));
    }
    const compressed = (await server.metric("nodevent_deflate_input_bytes_total")) - atFirst;
    assert.equal(compressed > 0, isAccepted, `${compressed} bytes`);
    socket.close();
  }
});

test("a page in Chromium receives and sends compressed messages", async () => {
  const { page, context } = await open(browser, `${web.url}/`);
  await page.evaluate((url) => {
    window.lines = [];
    window.socket = new WebSocket(url);
    socket.onmessage = ({ data }) => lines.push(JSON.parse(data));
    socket.onclose = ({ code, reason }) => lines.push({ code, reason });
  }, `ws://127.0.0.1:${server.port}/ws/plain`);
  await holds(page, "lines.length === 1 && lines[0].hello");
  assert.equal(await page.evaluate("socket.extensions"), ACCEPTED);
  const inflated = () => server.metric("nodevent_inflate_output_bytes_total");
  const atFirst = await inflated();
  await page.evaluate(() => socket.send(JSON.stringify({ ping: "x☃".repeat(2000) })));
  await holds(page, "lines.length === 2 && lines[1].pong");
  assert.equal((await inflated()) - atFirst > 8000, true, "Chromium compresses what it sends");
  await page.evaluate(() => socket.send(JSON.stringify({ join: "r" })));
  await holds(page, "lines.length === 3 && lines[2].joined");
  for (const number of [1, 2, 3]) await server.emit("r", "e", news(number), "plain");
  await holds(page, "lines.length === 6");
  assert.deepEqual(await page.evaluate("lines.slice(3).map(({ message }) => message)"), [1, 2, 3].map(news));
  await context.close();
});

test("our client receives compressed publications over both transports", async () => {
  for (const transports of [["websocket"], ["polling", "websocket"]]) {
    const nodevent = connect({ url: server.url, WebSocket, transports });
    const received = [];
    const room = nodevent.room("r").join();
    room.on("e", (message) => received.push(message));
    const fired = record(room, "join");
    await until(() => fired.join.length > 0, "the join");
    await until(() => nodevent.socket.io.engine?.transport?.name === "websocket", "the upgrade");
    const atFirst = await server.metric("nodevent_deflate_input_bytes_total");
    for (const number of [1, 2, 3]) await server.emit("r", "e", news(number));
    await until(() => received.length === 3, "three publications");
    assert.deepEqual(received, [1, 2, 3].map(news));
    assert.equal((await server.metric("nodevent_deflate_input_bytes_total")) > atFirst, true);
    nodevent.close();
  }
});
