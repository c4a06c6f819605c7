// `NoDevent.call()`: requests to the application over the connection, on the real server and with a real application.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, afterEach, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { Server } from "../support/server.js";
import { until } from "../support/until.js";

let server, application;
const requests = [];
const open = [];

before(async () => {
  application = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    requests.push({ method: request.method, url: request.url, headers: request.headers, body });
    if (request.url === "/slow") return;
    response.writeHead(request.url === "/missing" ? 404 : 201, { "Content-Type": "text/plain", "Set-Cookie": "a=secret" });
    response.end("saved");
  });
  await new Promise((resolve) => application.listen(0, "127.0.0.1", () => resolve()));
  const url = `http://127.0.0.1:${application.address().port}`;
  server = await new Server({
    "/calls": { open: true, calls: { url, secret: "a-secret-for-calls-of-more-than-32-bytes", timeout: "5s" } },
  }).start();
});

after(() => {
  application.closeAllConnections();
  application.close();
  return server.close();
});

afterEach(() => {
  requests.splice(0);
  for (const controller of open.splice(0)) controller.close();
});

function start(namespace = "/calls", options = {}) {
  const nodevent = connect({ url: server.url, namespace, WebSocket, reconnectionDelay: 20, reconnectionDelayMax: 50, ...options });
  open.push(nodevent);
  return nodevent;
}

test("a call resolves to the application's response, whatever its status", async () => {
  for (const transports of [["websocket"], ["polling"]]) {
    const nodevent = start("/calls", { transports });
    // Before the connection is there: it waits.
    const response = await nodevent.call("POST", "/comments?draft=1", { text: "hello" });
    assert.deepEqual([response.status, response.body, response.headers["content-type"]], [201, "saved", "text/plain"]);
    assert.equal(response.headers["set-cookie"], undefined);
    assert.equal((await nodevent.call("GET", "/missing")).status, 404);
    const [post, get] = requests.splice(0);
    assert.deepEqual([post.method, post.url, post.body, post.headers["content-type"]], ["POST", "/comments?draft=1", '{"text":"hello"}', "application/json"]);
    assert.deepEqual([get.method, get.url, get.body], ["GET", "/missing", ""]);
    assert.match(post.headers["x-nodevent-signature"], /^t=\d+,v1=[0-9a-f]{64}$/);
  }
});

test("a call without a response rejects with a status", async () => {
  const nodevent = start();
  await assert.rejects(nodevent.call("GET", "//evil.example/"), { message: "bad path", status: 400 });
  await assert.rejects(nodevent.call("TRACE", "/"), { message: "method not allowed", status: 405 });
  await assert.rejects(start("/nodevent").call("GET", "/"), { message: "calls are not configured", status: 501 });
  assert.equal(requests.length, 0);
});

test("a call whose connection is lost rejects, because the application may have received it", async () => {
  const nodevent = start();
  const call = nodevent.call("POST", "/slow", {});
  await until(() => requests.length === 1);
  nodevent.socket.disconnect();
  await assert.rejects(call, { message: "No response", status: 0 });
  nodevent.down();
  await assert.rejects(nodevent.call("GET", "/"), { message: "No response", status: 0 });
});
