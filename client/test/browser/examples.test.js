// The two integrations of docs/examples in a browser: they are short, and they work as documented.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { holds, launch, open, servePages } from "../support/browser.js";
import { Server, keyFor } from "../support/server.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const server = new Server();
let browser;
let web;

/** Bundles a page's script like an application would. */
async function bundle(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root, loader: "js" },
    bundle: true,
    write: false,
    format: "iife",
    nodePaths: [`${root}/node_modules`],
    alias: { nodevent: `${root}/dist/nodevent.mjs` },
    define: { "process.env.NODE_ENV": '"development"' },
    logLevel: "warning",
  });
  return outputFiles[0].text;
}

before(async () => {
  await server.start();
  browser = await launch();
  web = await servePages({});
});

after(async () => {
  await browser?.close();
  await web?.close();
  await server.close();
});

test("each is shorter than 40 lines", () => {
  for (const name of ["room_controller.js", "use_room.js"]) {
    const lines = readFileSync(`${root}/../docs/examples/${name}`, "utf8").trimEnd().split("\n").length;
    assert.ok(lines < 40, `${name}: ${lines}`);
  }
});

test("the Stimulus controller dispatches the room's events on the element, and leaves with the last element", async () => {
  web.pages["/stimulus.js"] = await bundle(`
    import { Application, Controller } from "@hotwired/stimulus";
    import RoomController from "../docs/examples/room_controller.js";
    window.received = [];
    const application = Application.start();
    application.register("room", RoomController);
    application.register("list", class extends Controller {
      append({ detail }) { received.push(detail.text); }
    });`);
  const element = (id) => `<ul id="${id}" data-controller="room list" data-room-name-value="Discussion_12"
    data-room-key-value="${keyFor("Discussion_12")}" data-action="room:created->list#append"></ul>`;
  web.pages["/stimulus"] = `<!doctype html><script src="${server.url}/api/protected"></script>
    ${element("one")}${element("two")}<script src="/stimulus.js"></script>`;
  const { page, context, complaints } = await open(browser, `${web.url}/stimulus`);
  await holds(page, 'document.querySelectorAll("[data-room-joined]").length === 2');
  await server.emit("Discussion_12", "created", { text: "hello" }, "protected");
  await holds(page, "received.length === 2");
  await page.evaluate('document.getElementById("one").remove()');
  await server.emit("Discussion_12", "created", { text: "again" }, "protected");
  await holds(page, "received.length === 3");
  assert.deepEqual(await page.evaluate("received"), ["hello", "hello", "again"]);
  await page.evaluate('document.getElementById("two").remove()');
  await holds(page, 'NoDevent.room("Discussion_12").joined === false');
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the React hook receives the room's events, follows a change of its name, and leaves", async () => {
  web.pages["/react.js"] = await bundle(`
    import { StrictMode, createElement, useState } from "react";
    import { createRoot } from "react-dom/client";
    import { connect } from "nodevent";
    import { useRoom } from "../docs/examples/use_room.js";
    window.nodevent = connect({ url: ${JSON.stringify(server.url)} });
    function Discussion({ name }) {
      const [texts, setTexts] = useState([]);
      const { joined } = useRoom(nodevent, name, { created: ({ text }) => setTexts((all) => [...all, text]) });
      return createElement("p", { className: joined ? "joined" : "" }, name + ":" + texts.join());
    }
    const root = createRoot(document.getElementById("root"));
    window.show = (name) => root.render(createElement(StrictMode, null, name && createElement(Discussion, { name })));
    show("A");`);
  web.pages["/react"] = '<!doctype html><div id="root"></div><script src="/react.js"></script>';
  const { page, context, complaints } = await open(browser, `${web.url}/react`);
  const text = (wanted) => holds(page, `document.querySelector("p")?.textContent === ${JSON.stringify(wanted)}`);
  await holds(page, 'document.querySelector("p.joined") !== null');
  for (const event of ["constructor", "__proto__", "toString", "unheard"]) await server.emit("A", event, { text: event });
  await server.emit("A", "created", { text: "one" });
  await text("A:one");
  await page.evaluate('show("B")');
  await holds(page, 'nodevent.room("B").joined && !nodevent.room("A").joined');
  await server.publish([
    { room: "A", event: "created", message: { text: "no" } },
    { room: "B", event: "created", message: { text: "two" } },
  ]);
  await text("B:one,two");
  await page.evaluate("show(null)");
  await holds(page, '!nodevent.room("B").joined');
  assert.deepEqual(complaints, []);
  await context.close();
});
