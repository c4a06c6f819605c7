// How the script is loaded: the page never waits for it, and it finds its server in every way a page can
// load it. In a real browser, with the script that the real server serves.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Relay } from "../support/proxy.js";
import { Server, TOKEN_SECRET, tokenFor } from "../support/server.js";
import { until } from "../support/until.js";

const root = new URL("../..", import.meta.url).pathname;
const queue = readFileSync(`${root}/dist/queue.js`, "utf8");

let browser;
let loose; // a page server without a policy
let strict;
let server;
let decoy; // another server, to which no page may connect

before(async () => {
  browser = await launch();
  [loose, strict] = [await servePages({}, { policy: "" }), await servePages({})];
  server = await new Server({ origins: ["*"] }).start();
  decoy = await new Server({ origins: ["*"] }).start();
});

after(async () => {
  await browser?.close();
  await Promise.all([loose, strict, server, decoy].map((one) => one?.close()));
});

const src = (namespace = "nodevent", { url } = server) => `${url}/api/${namespace}`;

async function pageOf(body, web = loose) {
  web.pages["/"] = `<!doctype html><meta charset="utf-8">${body}`;
  return open(browser, web.url + "/");
}

const url = (page) => page.evaluate("NoDevent.socket?.io.opts.url");

// === the page does not wait ===

/** What a page's own script does with `NoDevent` before the server's script has loaded. */
const USE = `
  window.received = [];
  window.early = NoDevent.room("r");
  const remove = early.on("removed", () => received.push("removed"));
  window.chained = early.setKey("k:1").join((err) => received.push(["join", err]));
  early.on("e", (message) => received.push(message));
  window.removeAny = early.onAny((event) => received.push("any " + event));
  NoDevent.on("connect", () => received.push("connect"));
  remove();
  window.before = [NoDevent.connected(), early.id, early.joined, early.position, early === NoDevent.room("r"), Nodevent === NoDevent];`;

for (const [how, head, web] of [
  ["inline", `<script>${queue}</script>`, () => loose],
  ["as a file under a strict policy", '<script src="/dist/queue.js"></script>', () => strict],
]) {
  test(`with the queue ${how} a page is complete and usable while the server hangs`, async () => {
    server.child.kill("SIGSTOP");
    let opened;
    try {
      web().pages["/use.js"] = USE;
      web().pages["/"] = `<!doctype html><meta charset="utf-8">${head}<script src="${src()}" async></script><script src="/use.js"></script><p id="end">end</p>`;
      const context = await browser.newContext();
      const page = await context.newPage();
      const begun = performance.now();
      await page.goto(web().url + "/", { waitUntil: "domcontentloaded" });
      assert.equal(await page.locator("#end").textContent(), "end");
      assert.ok(performance.now() - begun < 3000, "the page waited for the server");
      assert.deepEqual(await page.evaluate("before"), [false, "r", false, undefined, true, true]);
      assert.deepEqual(await page.evaluate("received"), []);
      opened = { context, page };
    } finally {
      server.child.kill("SIGCONT");
    }
    const { context, page } = opened;
    await holds(page, "received.some((one) => one[0] === 'join')");
    assert.deepEqual(await page.evaluate("received"), ["connect", ["join", null]]);
    await server.emit("r", "removed");
    await server.emit("r", "e", 1);
    await holds(page, "received.includes(1)");
    assert.deepEqual(await page.evaluate("received.slice(2)"), ["any removed", "any e", 1]);
    // The objects from the queue are as good as the real ones.
    assert.deepEqual(await page.evaluate("[early.joined, early.getKey(), NoDevent.room('r').joined, NoDevent instanceof NoDeventController]"), [true, "k:1", true, true]);
    await page.evaluate("removeAny(); early.leave((err) => received.push(['left', err ?? null])) && undefined");
    await holds(page, "received.at(-1)[0] === 'left'");
    assert.equal(await page.evaluate("NoDevent.room('r').joined"), false);
    await context.close();
  });
}

test("a call in the queue that throws is reported, and the others run", async () => {
  const { page, context, complaints } = await pageOf(
    `<script>${queue}</script><script>window.received = []; NoDevent.room(""); NoDevent.room("r").on("e", 5); NoDevent.room("r").join((err) => received.push(err))</script><script src="${src()}" async></script>`,
  );
  await holds(page, "received.length === 1");
  await until(() => complaints.length === 2);
  assert.match(complaints.join(), /must be text or a number.*must be a function/s);
  await context.close();
});

test("the user and the mailbox work through the queue", async () => {
  const people = await new Server({ origins: ["*"], "/people": { token: { secret: TOKEN_SECRET }, mailbox: { unknown: "keep" } } }).start();
  try {
    const body = JSON.stringify({ user: "7", event: "mention", message: "hello" });
    assert.equal((await fetch(`${people.url}/api/people/notify`, { method: "POST", body })).status, 200);
    const { page, context, complaints } = await pageOf(
      `<meta name="nodevent-token" content="${tokenFor({ sub: "7" })}"><script>${queue}</script><script>
        window.early = [NoDevent.user.id, NoDevent.inbox.unread, NoDevent.inbox.messages.length];
        window.users = [];
        window.messages = [];
        NoDevent.on("user-changed", (user) => users.push(user));
        NoDevent.inbox.on("mention", (message) => messages.push(message));
        NoDevent.inbox.onChange((unread) => (window.unread = unread));
      </script><script src="${src("people", people)}" async></script>`,
    );
    await holds(page, "messages.length === 1 && unread === 1");
    assert.deepEqual(await page.evaluate("[early, users, messages, NoDevent.user.id, NoDevent.inbox.messages.length]"), [[undefined, 0, 0], ["7"], ["hello"], "7", 1]);
    assert.deepEqual(complaints, []);
    await context.close();
  } finally {
    await people.close();
  }
});

test("room data and further connections work through the queue", async () => {
  const { page, context } = await pageOf(
    `<script>${queue}</script><script>
      window.room = NoDevent.room("r");
      window.same = NoDevent.room({ room: "r", key: "k:4102444800000", position: "x:1" }) === room;
      room.join();
      window.other = NoDevent.connect({ url: "${server.url}", namespace: "/protected" });
      window.refusals = [];
      other.room("r").join((err) => refusals.push(err));
    </script><script src="${src()}" async></script>`,
  );
  await holds(page, "room.joined === true && refusals.length === 1");
  assert.deepEqual(await page.evaluate("[same, room.getKey(), refusals[0], other.socket.nsp]"), [true, "k:4102444800000", "Must provide key", "/protected"]);
  await context.close();
});

test("the queue leaves a NoDevent that exists, and an element named NoDevent does not prevent it", async () => {
  const { page, context } = await pageOf(
    `<img name="NoDevent"><script>${queue}</script><script>window.first = NoDevent;</script><script>${queue}</script><script>window.same = first === NoDevent</script><script src="${src()}"></script><script>window.real = NoDevent</script><script>${queue}</script>`,
  );
  assert.deepEqual(await page.evaluate("[same, typeof first.room, real === NoDevent]"), [true, "function", true]);
  await context.close();
});

for (const [what, markup] of [
  ["a form with an input named room", '<form id="NoDevent"><input name="room"><input name="pageId" value="x"></form>'],
  ["a form with an object named room", '<form id="NoDevent"><object name="room"></object></form>'],
  ["a frame of another origin", () => `<iframe name="NoDevent" src="${loose.on("page.test")}/frame"></iframe>`],
]) {
  test(`${what} instead of NoDevent prevents neither the queue, nor the element, nor the script`, async () => {
    loose.pages["/frame"] = "a frame";
    const body = typeof markup === "function" ? markup() : markup;
    for (const scripts of [
      `<script src="/dist/queue.js"></script><script src="${src()}" async></script>`,
      `<script src="/dist/nodevent-room.js"></script><script src="${src()}" async></script>`,
      `<script src="${src()}"></script>`,
    ]) {
      const wait = body.startsWith("<iframe") ? '<script src="/wait.js"></script>' : "";
      // The frame has another origin by then.
      loose.pages["/wait.js"] = (_request, response) => setTimeout(() => response.end(), 300);
      const { page, context, complaints } = await pageOf(`${body}${wait}${scripts}<script>window.room = NoDevent.room("r").join(); window.id = NoDevent.pageId</script>`);
      await holds(page, "room.joined === true");
      assert.deepEqual(await page.evaluate("[typeof id, id.length > 10]"), ["string", true]);
      assert.deepEqual(complaints, []);
      await context.close();
    }
  });
}

/** Runs the body while the server accepts connections and does not respond. */
async function whileHanging(body) {
  server.child.kill("SIGSTOP");
  try {
    return await body();
  } finally {
    server.child.kill("SIGCONT");
  }
}

test("with Turbo Drive and a policy of nonces, pages are complete while the server hangs, and all of their calls run afterwards", async () => {
  const nonce = "of-the-session"; // as in Rails' initializer, where the nonce is the session's id
  const { outputFiles } = await build({ stdin: { contents: 'import * as Turbo from "@hotwired/turbo"; window.Turbo = Turbo;', resolveDir: root }, bundle: true, write: false, format: "iife" });
  const app = await servePages({ "/app.js": outputFiles[0].text }, { policy: "" });
  for (const n of [1, 2, 3])
    app.pages[`/${n}`] = (_request, response) => {
      response.setHeader("content-security-policy", `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; connect-src 'self' ${server.url} ${server.url.replace("http", "ws")}`);
      response.end(`<!doctype html><html><head><meta charset="utf-8"><meta name="csp-nonce" content="${nonce}">
        <script nonce="${nonce}">${queue}</script><script src="${src()}" nonce="${nonce}" async data-nodevent></script>
        <script src="/app.js" nonce="${nonce}"></script></head><body><h1>${n}</h1><script nonce="${nonce}">
          window.received ??= [];
          NoDevent.room("page ${n}").on("e", (message) => received.push([${n}, message])).join((err) => received.push([${n}, err]));
        </script></body></html>`);
    };
  const context = await browser.newContext();
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await whileHanging(async () => {
    const begun = performance.now();
    await page.goto(app.url + "/1", { waitUntil: "domcontentloaded" });
    for (const n of [2, 3, 2]) {
      await page.evaluate(`Turbo.visit("/${n}") && undefined`);
      await holds(page, `document.querySelector("h1").textContent === "${n}" && !document.documentElement.hasAttribute("data-turbo-preview")`);
    }
    assert.ok(performance.now() - begun < 5000, "a page waited for the server");
    assert.deepEqual(await page.evaluate("[received, NoDevent.connected()]"), [[], false]);
  });
  await holds(page, "received.length >= 4");
  assert.equal(await page.evaluate("document.querySelectorAll('script[data-nodevent]').length"), 1);
  for (const n of [1, 3]) await server.emit(`page ${n}`, "e", "after");
  await holds(page, "received.filter(([, message]) => message === 'after').length === 2");
  const received = await page.evaluate("received");
  assert.deepEqual(received.slice(0, 2), [[1, null], [2, null]], "in the order of the calls");
  assert.deepEqual(received.slice(-2), [[1, "after"], [3, "after"]]);
  assert.deepEqual(complaints, []);
  await context.close();
  await app.close();
});

test("a script that could not be loaded is loaded again, and the recorded calls run", async () => {
  const late = await new Relay(() => server.port).start();
  late.mode = "closed";
  const address = `http://127.0.0.1:${late.port}/api/nodevent`;
  loose.pages["/keys"] = (_request, response) => response.setHeader("content-type", "application/json").end('{"key": null}');
  const { page, context, complaints } = await pageOf(
    `<script>${queue}</script><script src="${address}" async data-nodevent data-nodevent-key-url="/keys"></script><script>window.received = []; NoDevent.room("r").on("e", (message) => received.push(message)).join((err) => received.push(err))</script>`,
  );
  const ours = () => complaints.filter((line) => line.startsWith("NoDevent"));
  await until(() => ours().length);
  assert.deepEqual(ours(), [`NoDevent: ${address} cannot be loaded. Start the server, and allow it in script-src. Retrying.`]);
  await until(() => complaints.filter((line) => line.includes("ERR_")).length >= 2);
  late.mode = "open";
  await holds(page, "received.length === 1");
  await server.emit("r", "e", 1);
  await holds(page, "received.length === 2");
  assert.deepEqual(await page.evaluate("received"), [null, 1]);
  assert.equal(ours().length, 1, "one line, however many attempts");
  await context.close();
  await late.close();
});

test("under 'strict-dynamic' the blocked script of an attacker is not loaded again, and the page's own is", async () => {
  const late = await new Relay(() => server.port).start();
  const app = await servePages({ "/attack.js": "window.attacked = true" }, { policy: "" });
  const tag = () => `<script src="http://127.0.0.1:${late.port}/api/nodevent" nonce="n" async data-nodevent></script>`;
  const attack = '<script data-nodevent src="/attack.js"></script>';
  for (const [what, head] of [
    ["the queue inline", `<script nonce="n">${queue}</script>${tag()}`],
    ["the queue as a file", `<script nonce="n" src="/dist/queue.js"></script>${tag()}`],
    ["the queue twice", `<script nonce="n">${queue}</script>${tag()}<script nonce="n">${queue}</script>`],
    ["the element too", `<script nonce="n">${queue}</script>${tag()}<script nonce="n" src="/dist/nodevent-room.js"></script>`],
    ["the element without the queue", `<script nonce="n" src="/dist/nodevent-room.js"></script>`],
    ["an image named currentScript", `<img name="currentScript"><script nonce="n">${queue}</script>${tag()}`],
  ]) {
    const reloads = head.includes("/api/nodevent");
    late.mode = "closed";
    app.pages["/"] = (_request, response) => {
      response.setHeader("content-security-policy", "script-src 'nonce-n' 'strict-dynamic'; object-src 'none'; base-uri 'none'");
      response.end(`<!doctype html><meta charset="utf-8">${head}<p>A comment: ${attack}</p>`);
    };
    const { page, context, complaints } = await open(browser, app.url + "/");
    await until(() => complaints.some((line) => line.includes("Content Security Policy")), "the policy blocks the script");
    // Longer than the delay after a second failure.
    const end = performance.now() + 2500;
    await until(() => performance.now() > end);
    assert.equal(await page.evaluate("window.attacked"), undefined, what);
    late.mode = "open";
    if (reloads) await holds(page, "NoDevent.connected() === true");
    assert.equal(await page.evaluate("window.attacked"), undefined, what);
    await context.close();
  }
  await Promise.all([late, app].map((one) => one.close()));
});

test("the id of the page is known at once, and stays the same", async () => {
  const { page, context } = await pageOf(`<script>${queue}</script><script>window.early = NoDevent.pageId</script><script src="${src()}" async></script>`);
  await holds(page, "NoDevent.connected()");
  assert.deepEqual(await page.evaluate("[typeof early, early.length > 10, early === NoDevent.pageId]"), ["string", true, true]);
  await context.close();
});

test("an async tag without the queue works for pages that wait for it", async () => {
  const { page, context } = await pageOf(`<script>window.loaded = 0</script><script src="${src()}" async onload="loaded = NoDevent.room('r').join()"></script>`);
  await holds(page, "window.loaded.joined");
  await context.close();
});

// === the right server ===

/** A module of the application whose URL looks like that of our script. */
const other = () => {
  loose.pages["/api/app.js"] = "window.app = true";
  return '<script type="module" src="/api/app.js"></script>';
};

for (const [how, body] of [
  ["a module tag", () => `<script type="module" src="${src()}"></script>`],
  ["a module tag next to another module whose URL contains /api/", () => `${other()}<script type="module" src="${src()}"></script>`],
  ["import()", () => `${other()}<script>import("${src()}")</script>`],
  ["import() in a module", () => `${other()}<script type="module">await import("${src()}")</script>`],
  ["an import statement", () => `<script type="module">import "${src()}"</script>`],
  ["an importmap pin", () => `<script type="importmap">{"imports": {"nodevent-script": "${src()}"}}</script>${other()}<script type="module">import "nodevent-script"</script>`],
  ["a script element that was created by a script", () => `<script>document.head.append(Object.assign(document.createElement("script"), { src: "${src()}" }))</script>`],
  ["a loader that activates script tags later, like Rocket Loader", () => `<script type="f00-text/javascript" src="${src()}"></script><script>
      addEventListener("DOMContentLoaded", () => {
        const inert = document.querySelector("[type^=f00]");
        const script = document.createElement("script");
        for (const { name, value } of inert.attributes) if (name !== "type") script.setAttribute(name, value);
        inert.replaceWith(script);
      })</script>`],
  ["a tag below a query and a fragment", () => `<script src="${src()}?v=1#/api/x"></script>`],
]) {
  test(`loaded by ${how}, it connects to the server of its URL`, async () => {
    const { page, context, complaints } = await pageOf(body());
    await holds(page, "window.NoDevent?.connected()");
    assert.equal(await url(page), `${server.url}/socket.io/`);
    assert.equal(await page.evaluate("NoDevent.socket.nsp"), "/nodevent");
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

for (const [how, clobber] of [
  ["an image", () => `<img name="currentScript" src="${src("nodevent", decoy)}">`],
  ["a form with controls", () => `<form name="currentScript"><input name="src" value="${src("nodevent", decoy)}"></form>`],
  ["an embedded object", () => `<embed name="currentScript" src="${src("nodevent", decoy)}" type="text/plain">`],
  ["images that hide the functions of the document", () => `<img name="querySelectorAll"><img name="querySelector"><img name="scripts" src="${src("nodevent", decoy)}">`],
]) {
  for (const kind of ["text/javascript", "module"]) {
    test(`${how} with the name of a property does not choose the server, ${kind}`, async () => {
      const { page, context } = await pageOf(`${clobber()}<script type="${kind}" src="${src()}"></script>`);
      await holds(page, "window.NoDevent?.connected()");
      assert.equal(await url(page), `${server.url}/socket.io/`);
      await context.close();
    });
  }
}

test("in a bundle it cannot know the server, and logs once what to write", async () => {
  const { outputFiles } = await build({ stdin: { contents: 'import "./dist/nodevent.js"', resolveDir: root }, bundle: true, write: false, format: "iife" });
  for (const path of ["/assets/application.js", "/api/assets/application.js"]) {
    loose.pages[path] = outputFiles[0].text;
    const { page, context, complaints } = await pageOf(`<script src="${path}"></script>`);
    assert.equal(await page.evaluate("NoDevent.socket === undefined"), true);
    assert.deepEqual(complaints, [], "nothing before it is used");
    await page.evaluate("NoDevent.room('a').join(); NoDevent.room('b').join(); undefined");
    await until(() => complaints.length);
    assert.equal(complaints.length, 1);
    assert.match(complaints[0], /^NoDevent: cannot find the server .*<script src="https:\/\/SERVER\/api\/NAMESPACE">.*NoDevent\.connect/);
    await context.close();
  }
});

test("evaluated, it cannot know the server, and logs once what to write", async () => {
  loose.pages["/api/loader.js"] = `fetch("${src()}").then((response) => response.text()).then((text) => (0, eval)(text)).then(() => NoDevent.room("r").join())`;
  const { page, context, complaints } = await pageOf('<script src="/api/loader.js"></script>');
  await until(() => complaints.length);
  assert.match(complaints[0], /^NoDevent: cannot find the server/);
  assert.equal(complaints.length, 1);
  assert.equal(await url(page), undefined);
  await context.close();
});
