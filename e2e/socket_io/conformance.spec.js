// The echo application, as the official protocol test suites need it: times, limits, origins, and both modes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { within, startEcho } from "./support/programs.js";

const paths = { engine: "/engine.io/", socket: "/socket.io/" };

for (const mode of Object.keys(paths)) {
  test(`${mode}: the handshake has the times and limits of the suites, for any origin`, async () => {
    const echo = await startEcho({ mode, settings: {} });
    try {
      const headers = { origin: "https://anywhere.example" };
      const response = await fetch(`${echo.url}${paths[mode]}?EIO=4&transport=polling`, { headers });
      assert.equal(response.headers.get("access-control-allow-origin"), headers.origin);
      const text = await response.text();
      assert.equal(text[0], "0");
      const { pingInterval, pingTimeout, maxPayload, upgrades } = JSON.parse(text.slice(1));
      const expected = { pingInterval: 300, pingTimeout: 200, maxPayload: 1_000_000, upgrades: ["websocket"] };
      assert.deepEqual({ pingInterval, pingTimeout, maxPayload, upgrades }, expected);
    } finally {
      await echo.stop("SIGKILL");
    }
  });
}

test("engine: every message is sent back, text as text and binary as binary", async () => {
  const echo = await startEcho({ mode: "engine" });
  try {
    const url = `${echo.url}${paths.engine}?EIO=4&transport=polling`;
    const { sid } = JSON.parse((await (await fetch(url)).text()).slice(1));
    const session = `${url}&sid=${sid}`;
    const posted = await fetch(session, { method: "POST", body: "4h\u00e9llo\u001ebAQIDBA==" });
    assert.equal(await posted.text(), "ok");
    let received = [];
    const poll = async () => {
      while (received.length < 2) received = received.concat((await (await fetch(session)).text()).split("\u001e"));
    };
    await within("both are sent back", poll());
    assert.deepEqual(received, ["4h\u00e9llo", "bAQIDBA=="]);
  } finally {
    await echo.stop("SIGKILL");
  }
});
