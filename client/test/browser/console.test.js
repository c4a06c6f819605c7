// The console page in a browser, in front of the real server: rows N-22, R-01, R-10, R-11, R-12.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { launch, open } from "../support/browser.js";
import { startFront } from "../support/front.js";
import { Server, keyFor } from "../support/server.js";
import { startSocketIoServer } from "../support/socket-io-server.js";
import { until } from "../support/until.js";

// A page publishes only with a key.
const PUBLISH_KEY = "a-publish-key-of-the-console";
const server = new Server({ console: true, "/nodevent": { publish_key: PUBLISH_KEY } });
const HOSTILE = `<img src=x onerror="window.harmed = 1"><script>window.harmed = 2</script>`;
let browser;
let page;
let context;
let complaints;

before(async () => {
  await server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server.close();
});

afterEach(() => context?.close());

async function start(path = "/", host = "127.0.0.1", state = "connected") {
  ({ page, context, complaints } = await open(browser, `http://${host}:${server.port}${path}`));
  await status(state);
  if (await page.locator("#emit-key").isVisible()) {
    await page.fill("#emit-key", PUBLISH_KEY);
    await page.locator("#emit-key").blur();
  }
}

const text = (selector) => page.locator(selector).first().textContent();
const status = (wanted) => until(async () => (await text("#status")) === `Connection Status : ${wanted}`, `status ${wanted}`);
const rows = () => page.locator("#stream details").count();
const stateOf = (room) => page.locator(".rooms li", { hasText: room }).locator(".state").textContent();

async function join(room, key = "") {
  await page.fill("#join-room", room);
  await page.fill("#join-key", key);
  await page.click("#join button");
}

async function joined(room, key) {
  await join(room, key);
  await until(async () => (await stateOf(room)) === "joined", `${room} joined`);
}

test("N-22 R-01 the page is served, connects, joins, emits and receives, shows latency, and leaves the console empty", async () => {
  await start();
  await joined("theroom");
  assert.equal(await page.inputValue("#emit-room"), "theroom");
  await page.fill("#emit-message", '{"text": "hello"}');
  await page.click("#emit button");
  await until(async () => (await rows()) === 1);
  const row = page.locator("#stream details").first();
  assert.equal(await row.locator(".room").textContent(), "theroom");
  assert.equal(await row.locator(".event").textContent(), "update");
  assert.equal(await row.locator("code").textContent(), '{"text":"hello"}');
  assert.match(await row.locator(".latency").textContent(), /^\d+ ms$/);
  assert.match(await row.locator("time").textContent(), /^\d\d:\d\d:\d\d\.\d{3}$/);
  assert.match(await text("#emit-result"), /^1 emitted in [\d.]+ ms$/);
  assert.match(await text("#transport"), /websocket/);
  await until(async () => (await text("#connections")) === "1", "the server's connections");
  await until(async () => /^[\d.]+ ms$/.test(await text("#roundtrip")), "a round trip");
  assert.deepEqual(complaints, []);
});

/** The values of a curve of the plot, second by second: inverts the plot's arithmetic. */
const curve = (id, top) =>
  page.evaluate(
    ([name, value]) =>
      [...(document.getElementById(name).getAttribute("d") ?? "").matchAll(/[ML][\d.]+ ([\d.]+)/g)].map(([, y]) => ((98 - y) / 94) * value),
    [id, top],
  );

test("the plot draws the events of each second, and the connections of each second", async (t) => {
  await start();
  await joined("theroom");
  const connections = async (wanted) => {
    await until(async () => (await text("#connections")) === String(wanted), `${wanted} connections`);
    await until(() => page.evaluate(`document.getElementById("plot").ariaLabel.endsWith(", ${wanted} connections")`));
  };
  await connections(1);
  const others = [1, 2].map(() => connect({ url: server.url, WebSocket }));
  t.after(() => others.forEach((other) => other.close()));
  await page.fill("#emit-times", "12");
  await page.click("#emit button");
  await connections(3);
  const most = () => page.evaluate('parseInt(document.getElementById("ceiling").textContent)');
  const events = async () => (await curve("line", await most())).reduce((sum, value) => sum + value, 0);
  await until(async () => Math.abs((await events()) - 12) < 0.1, "twelve events in the plot");
  // Three connections now are 3 of 3.75, and the single one at the start is 1 of 3.75.
  const crowd = (await curve("crowd", 3.75)).map((value) => Math.round(value * 100) / 100);
  assert.ok(crowd.includes(1), crowd.join());
  assert.equal(crowd.at(-1), 3);
  for (const other of others) other.close();
  await connections(1);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const [ground, ...strokes] = await page.evaluate(`[getComputedStyle(document.querySelector(".scope")).backgroundColor,
      ...["line", "crowd"].map((id) => getComputedStyle(document.getElementById(id)).stroke)]`);
    assert.equal(new Set([ground, "none", ...strokes]).size, 4, `${colorScheme}: ${ground}, ${strokes}`);
  }
});

test("N-22 the console is served if no namespace has a secret, otherwise only if it is enabled", async () => {
  for (const [config, expected] of [
    [{}, 404],
    [{ "/protected": {} }, 200],
    [{ console: true }, 200],
    [{ "/protected": {}, console: false }, 404],
  ]) {
    const other = await new Server(config).start();
    const response = await fetch(other.url);
    assert.equal(response.status, expected, JSON.stringify(config));
    await other.close();
  }
});

test("an event of another publisher arrives; a row opens to the whole message", async () => {
  await start();
  await joined("theroom");
  await server.emit("theroom", "created", { a: [1, { b: null }] });
  await server.publish({ room: "theroom", event: "bare" });
  await until(async () => (await rows()) === 2);
  const [bare, created] = [page.locator("#stream details").nth(0), page.locator("#stream details").nth(1)];
  assert.equal(await bare.locator("code").textContent(), "no message");
  assert.equal(await bare.locator(".latency").textContent(), "–");
  await created.locator("summary").click();
  assert.deepEqual(JSON.parse(await created.locator("pre").textContent()), { a: [1, { b: null }] });
  assert.equal(await page.locator(".rooms .received").textContent(), "2");
});

test("a room of a secured namespace needs a key; without one the page shows the refusal", async () => {
  await start("/#/protected");
  assert.equal(await page.inputValue("#namespace"), "/protected");
  await join("theroom");
  await until(async () => (await stateOf("theroom")) === "Must provide key");
  await join("theroom", "bad:4102444800000");
  await until(async () => (await stateOf("theroom")) === "Bad key");
  await joined("theroom", keyFor("theroom"));
  await page.click('[aria-label="Leave theroom"]');
  assert.equal(await page.locator(".rooms li").count(), 0);
});

test("R-10 the status says connected, reconnecting, connected; rooms are joined again", async () => {
  await start();
  await joined("theroom");
  await server.stop();
  await status("reconnecting");
  await server.start();
  await status("connected");
  await until(async () => (await stateOf("theroom")) === "joined");
  await server.emit("theroom", "again", 1);
  await until(async () => (await text("#stream .event")) === "again");
  // The server lost its history, so the page gets a gap.
  assert.deepEqual(await page.locator("#stream .event").allTextContents(), ["again", "gap"]);
});

test("an unknown namespace is refused, and the page shows it", async () => {
  await start();
  await page.fill("#namespace", "nowhere");
  await page.press("#namespace", "Enter");
  await status("refused: Invalid namespace");
  await page.click("#toggle");
  await status("disconnected");
  await page.fill("#namespace", "/nodevent");
  await page.click("#toggle");
  await status("connected");
});

test("the transport can be chosen", async () => {
  await start();
  await page.selectOption("#transports", "polling");
  await until(async () => (await text("#transport")) === "polling");
  await status("connected");
});

test("R-11 data from the network is shown as text", async () => {
  await start();
  await joined(HOSTILE);
  await server.emit(HOSTILE, HOSTILE, HOSTILE);
  await server.emit(HOSTILE, "__proto__", { html: HOSTILE, constructor: HOSTILE });
  await until(async () => (await rows()) === 2);
  const row = page.locator("#stream details").nth(1);
  for (const part of [".room", ".event", "code"]) assert.equal(await row.locator(part).textContent(), HOSTILE);
  await row.locator("summary").click();
  assert.equal(await page.locator("img").count(), 0);
  assert.equal(await page.evaluate("window.harmed"), undefined);
  assert.deepEqual(complaints, []);
});

for (const colorScheme of ["light", "dark"]) {
  test(`R-11 hostile names stay text and do not change the layout, ${colorScheme}`, async () => {
    const names = [HOSTILE, "__proto__", "x".repeat(255), "a b\u2028c", "\u202Eright to left", '" onfocus="window.harmed = 3'];
    await start(`/#/${encodeURIComponent(HOSTILE)}`, "127.0.0.1", "refused: Invalid namespace");
    assert.equal(await page.inputValue("#namespace"), `/${HOSTILE}`);
    await page.emulateMedia({ colorScheme });
    await page.fill("#namespace", "/nodevent");
    await page.press("#namespace", "Enter");
    await status("connected");
    for (const name of names) await join(name, HOSTILE);
    await until(async () => (await page.locator(".rooms [data-state=good]").count()) === names.length);
    assert.deepEqual(await page.locator(".rooms b").allTextContents(), names);
    assert.deepEqual(
      await page.locator(".rooms button").evaluateAll((all) => all.map((one) => one.ariaLabel)),
      names.map((name) => `Leave ${name}`),
    );
    assert.deepEqual(await page.locator("#joined option").evaluateAll((all) => all.map((one) => one.value)), names);
    await server.publish(names.map((name) => ({ room: name, event: name, message: { [name]: name } })));
    await until(async () => (await rows()) === names.length);
    for (const part of [".room", ".event"]) assert.deepEqual((await page.locator(`#stream ${part}`).allTextContents()).toReversed(), names);
    for (let n = 0; n < names.length; n++) {
      const row = page.locator("#stream details").nth(n);
      await row.locator("summary").click();
      assert.deepEqual(JSON.parse(await row.locator("pre").textContent()), JSON.parse(await row.locator("code").textContent()));
    }
    await page.fill("#filter", HOSTILE);
    await until(async () => (await page.locator("#stream details:visible").count()) === 1);
    // No text became an element, no script ran, and the page is not wider than its window.
    assert.equal(await page.locator("img, script:not([src]), [onfocus], [onerror]").count(), 0);
    assert.equal(await page.evaluate("window.harmed"), undefined);
    assert.equal(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), true);
    assert.deepEqual(complaints, [`NoDevent: namespace ${JSON.stringify("/" + HOSTILE)} refused: Invalid namespace. Check the script's URL and the server's configuration.`]);
  });
}

test("an undecodable namespace in the URL is ignored", async () => {
  await start("/#%");
  assert.equal(await page.inputValue("#namespace"), "/nodevent");
  assert.deepEqual(complaints, []);
});

test("R-12 the page connects to its own origin, whatever host name it was opened with", async () => {
  await start("/", "nodevent.test");
  await joined("theroom");
  await server.emit("theroom", "e", 1);
  await until(async () => (await rows()) === 1);
});

test("the form says that a page publishes only with a key, and sends nothing without one", async () => {
  await start();
  assert.match(await text("#emit-key-hint"), /only with a key: the publish_key of the namespace/);
  const requests = [];
  page.on("request", (request) => requests.push(request.method()));
  await page.fill("#emit-room", "theroom");
  await page.fill("#emit-key", "");
  await page.click("#emit button");
  assert.match(await text("#emit-result"), /only with a key\. Enter the publish_key/);
  assert.equal(await page.evaluate("document.activeElement.id"), "emit-key");
  assert.ok(!requests.includes("POST"));
  await page.fill("#emit-key", "a-wrong-key");
  await page.click("#emit button");
  await until(async () => /missing or wrong/.test(await text("#emit-result")));
  await page.fill("#emit-key", PUBLISH_KEY);
  await page.click("#emit button");
  await until(async () => (await text("#emit-result")).startsWith("1 emitted"));
});

test("a message that cannot be emitted shows the reason at its field", async () => {
  await start();
  await page.fill("#emit-room", "theroom");
  await page.fill("#emit-message", "hello");
  await page.click("#emit button");
  assert.match(await text("#emit-result"), /not JSON .*double quotes/);
  assert.equal(await page.getAttribute("#emit-message", "aria-invalid"), "true");
  assert.equal(await page.evaluate("document.activeElement.id"), "emit-message");
  await page.fill("#emit-message", "1");
  await page.evaluate('document.querySelector("#emit-room").removeAttribute("maxlength")');
  await page.fill("#emit-room", "x".repeat(255) + "ü");
  await page.click("#emit button");
  await until(async () => /: /.test(await text("#emit-result")));
  assert.equal(await page.getAttribute("#emit-result", "data-state"), "bad");
});

test("a thousand events at a time are received and counted, the newest five hundred are shown; pause, filter and clear", async () => {
  await start();
  await joined("theroom");
  await page.fill("#emit-times", "1000");
  await page.click("#emit button");
  await until(async () => (await text("#count")) === "1000");
  await until(async () => (await rows()) === 500);
  await page.keyboard.press("Escape");
  await page.locator("h1").click();
  await page.keyboard.press("p");
  await server.emit("theroom", "needle", 1);
  await until(async () => (await text("#pause")) === "Resume (1)");
  await page.keyboard.press("p");
  await until(async () => (await page.locator("#stream .event").first().textContent()) === "needle");
  await page.fill("#filter", "needle");
  await until(async () => (await page.locator("#stream details:visible").count()) === 1);
  await page.click("#clear");
  assert.equal(await rows(), 0);
});

test("the whole page works with the keyboard, and the focus is visible", async () => {
  await start();
  await page.keyboard.press("j");
  await page.keyboard.type("theroom");
  await page.keyboard.press("Enter");
  await until(async () => (await stateOf("theroom")) === "joined");
  await page.keyboard.press("Escape");
  await page.keyboard.press("e");
  assert.equal(await page.evaluate("document.activeElement.id"), "emit-room");
  await page.keyboard.press("Enter");
  await until(async () => (await rows()) === 1);
  // From the filter with Tab alone: pause, clear, the list, its first row.
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  const ring = 'getComputedStyle(document.activeElement).outlineStyle';
  for (const wanted of ["pause", "clear", "stream", "SUMMARY"]) {
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate("document.activeElement.id || document.activeElement.tagName"), wanted);
    assert.equal(await page.evaluate(ring), "solid", wanted);
  }
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#stream details[open]").count(), 1);
});

test("Tab goes through the page in reading order, and Enter activates the focused control", async () => {
  await start();
  await joined("theroom");
  await server.emit("theroom", "e", 1);
  await until(async () => (await rows()) === 1);
  await page.click("h1"); // the start of the Tab order
  const focused = [];
  const about = 'document.activeElement.id || document.activeElement.ariaLabel || document.activeElement.textContent || document.activeElement.tagName';
  for (const wanted of [
    ["namespace", "transports", "toggle", "join-room", "join-key", "Join", "Leave theroom"],
    ["emit-room", "emit-event", "emit-message", "emit-times", "emit-key", "Emit", "filter", "pause", "clear", "stream"],
  ].flat()) {
    await page.keyboard.press("Tab");
    focused.push(await page.evaluate(about));
    assert.equal(focused.at(-1), wanted, focused.join());
    assert.equal(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle"), "solid", wanted);
  }
  // Back to the Leave button: it moves the focus to the room field.
  const reach = async (wanted, key) => {
    for (let n = 0; n < 20 && (await page.evaluate(about)) !== wanted; n++) await page.keyboard.press(key);
    assert.equal(await page.evaluate(about), wanted);
  };
  await reach("Emit", "Shift+Tab");
  await page.keyboard.press("Enter");
  await until(async () => (await rows()) === 2);
  await reach("Leave theroom", "Shift+Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator(".rooms li").count(), 0);
  assert.equal(await page.evaluate("document.activeElement.id"), "join-room");
  await reach("toggle", "Shift+Tab");
  await page.keyboard.press("Enter");
  await status("disconnected");
  await page.keyboard.press("Enter");
  await status("connected");
  await reach("pause", "Tab");
  await page.keyboard.press("Space");
  assert.equal(await page.getAttribute("#pause", "aria-pressed"), "true");
});

test("every control has a name", async () => {
  await start();
  await joined("theroom");
  const nameless = await page.evaluate(`[...document.querySelectorAll("input, select, textarea, button")].filter((one) =>
    !(one.ariaLabel || one.labels?.[0]?.textContent.trim() || one.textContent.trim())).map((one) => one.outerHTML)`);
  assert.deepEqual(nameless, []);
});

for (const colorScheme of ["light", "dark"]) {
  test(`all text has a contrast of at least 4.5 to 1, ${colorScheme}`, async () => {
    await start();
    await page.emulateMedia({ colorScheme });
    for (const room of ["Discussion_12", "User_7", "theroom", "another"]) await joined(room);
    await server.publish(["Discussion_12", "User_7", "theroom", "another"].map((room) => ({ room, event: "e", message: 1 })));
    await until(async () => (await rows()) === 4);
    const weak = await page.evaluate(() => {
      const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      const rgb = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
      };
      const light = ([r, g, b]) => {
        const [lr, lg, lb] = [r, g, b].map((one) => (one / 255 <= 0.04045 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * lr + 0.7152 * lg + 0.0722 * lb;
      };
      const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
          const color = rgb(getComputedStyle(one).backgroundColor);
          if (color[3] === 255) return color;
        }
        return [255, 255, 255];
      };
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      const found = [];
      while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
        const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground(element))].toSorted((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) found.push([ratio.toFixed(2), element.tagName, element.className, walker.currentNode.textContent.slice(0, 30)]);
      }
      return found;
    });
    assert.deepEqual(weak, []);
  });
}

test("R-10 R-11 a notifications namespace: channels, their format, subscribed on every connect", async () => {
  let old = await startSocketIoServer();
  const { port } = old;
  const subscribed = [];
  const serve = ({ io }) =>
    io.on("connection", (socket) => {
      socket.emit("message", { text: "Welcome!" });
      socket.on("subscribe", ({ channel }) => subscribed.push(channel) && socket.join(channel));
    });
  serve(old);
  const earlier = await startFront(() => port, () => ({ namespaces: [{ name: "/", dialect: "notifications" }] }));
  ({ page, context, complaints } = await open(browser, earlier.url));
  await status("connected");
  await until(() => subscribed.length === 1);
  old.io.to("notif").emit("message", { text: HOSTILE, channel: "notif" });
  await until(async () => (await rows()) === 2);
  const lines = await page.locator("#stream code").allTextContents();
  assert.deepEqual(lines, [`Channel:notif, ${HOSTILE}`, "Welcome!"]);
  assert.equal(await page.evaluate("window.harmed"), undefined);
  assert.equal(await page.locator("#emit-section").isVisible(), false);
  await old.stop();
  await status("reconnecting");
  old = await startSocketIoServer({ port });
  serve(old);
  await status("connected");
  await until(() => subscribed.length === 2);
  assert.deepEqual(subscribed, ["notif", "notif"]);
  await context.close();
  await earlier.close();
  await old.stop();
});

test("the page works without console.json", async () => {
  await start();
  await page.route("**/console.json", (route) => route.fulfill({ status: 404, body: "" }));
  await page.reload();
  await status("connected");
  await joined("theroom");
  assert.equal(await text("#connections"), "–");
});

test("N-22 in an application, a room of a secured namespace needs no key of the user, and the form no publish key", async (t) => {
  const about = async () => ({ ...(await (await fetch(`${server.url}/console.json`)).json()), application: true });
  const application = await startFront(() => server.port, about);
  t.after(() => application.close());
  ({ page, context, complaints } = await open(browser, `${application.url}/#/protected`));
  const asked = [];
  await page.route("**/console/key?*", async (route) => {
    const { room } = route.request().postDataJSON();
    asked.push([new URL(route.request().url()).search, room]);
    await route.fulfill(room === "closed" ? { status: 403, json: { error: "no" } } : { json: { key: keyFor(room) } });
  });
  await page.route("**/console/emit?*", async (route) => {
    await server.publish(route.request().postDataJSON(), "protected");
    await route.fulfill({ json: { accepted: 1 } });
  });
  await status("connected");
  await joined("theroom");
  assert.deepEqual(asked, [["?namespace=%2Fprotected", "theroom"]]);
  await page.click("#emit button");
  await until(async () => (await rows()) === 1);
  assert.match(await text("#emit-result"), /^1 emitted in/);
  assert.deepEqual(complaints, []);
  await join("closed");
  await until(async () => /403/.test(await stateOf("closed")), "the refusal");
  // A key that the user enters has precedence.
  await joined("own", keyFor("own"));
  assert.equal(asked.length, 2);
});
