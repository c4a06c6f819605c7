// Takes the screenshots of the console for docs/images: `node scripts/screenshots.js [FOLDER]`.
// A real server, a little traffic of a discussion board, light and dark, wide and narrow.

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";
import { connect } from "../src/index.js";
import { launch } from "../test/support/browser.js";
import { Server } from "../test/support/server.js";
import { until } from "../test/support/until.js";

const folder = process.argv[2] || fileURLToPath(new URL("../../docs/images", import.meta.url));
await mkdir(folder, { recursive: true });

const server = await new Server({ console: true }).start();
const browser = await launch();

const TALK = [
  ["Discussion_12", "comment_created", { id: 481, author: "Mira", body: "The tide tables are wrong by an hour again." }],
  ["Discussion_12", "update", { id: 12, title: "Sunday's crossing", comments_count: 9 }],
  ["Discussion", "create", { id: 31, title: "Spare oars, free to a good home" }],
  ["User_7", "notice", { text: "Jonas replied to you", at: "2026-03-01T09:12:44Z" }],
  ["Discussion_12", "typing", "Jonas"],
  ["Discussion_12", "comment_created", { id: 482, author: "Jonas", body: "Summer time. It is every year." }],
];

/** Other pages that connect and disconnect. */
const others = [];
function crowd(size) {
  while (others.length < size) others.push(connect({ url: server.url, WebSocket, forceNew: true }));
  while (others.length > size) others.pop().close();
}

/** The time span of the plot, so that the screenshot shows a full plot. Milliseconds. */
const PLOT_SPAN = 92_000;

async function traffic(page) {
  const began = performance.now();
  for (let second = 0; performance.now() - began < PLOT_SPAN; second++) {
    crowd(Math.round(34 + 9 * Math.sin(second / 7) + second / 4));
    const count = Math.round(6 + 5 * Math.sin(second / 2.6) + (second % 9 === 4 ? 13 : 0) + Math.random() * 3);
    const from = performance.now();
    for (let n = 0; n < count; n++) {
      const [room, event, message] = TALK[(second + n) % TALK.length];
      await until(() => performance.now() - from > (n * 940) / count);
      await server.publish({ room, event, message, sent: Date.now() });
    }
  }
  await page.evaluate("document.activeElement?.blur()");
}

async function shoot(name, options) {
  const context = await browser.newContext({ deviceScaleFactor: 2, ...options });
  const page = await context.newPage();
  await page.goto(server.url);
  await page.locator("#status[data-state=good]").waitFor();
  for (const room of ["Discussion_12", "Discussion", "User_7"]) {
    await page.fill("#join-room", room);
    await page.click("#join button");
  }
  await page.locator(".rooms [data-state=good]").nth(2).waitFor();
  await traffic(page);
  await page.locator("#stream details", { hasText: "Mira" }).nth(1).locator("summary").click();
  await page.mouse.move(0, 0);
  await page.evaluate("document.activeElement?.blur()");
  await page.screenshot({ path: `${folder}/${name}.png` });
  await context.close();
}

await shoot("console-light", { colorScheme: "light", viewport: { width: 1280, height: 1040 } });
await shoot("console-dark", { colorScheme: "dark", viewport: { width: 1280, height: 1040 } });
if (process.argv[2]) {
  await shoot("console-narrow", { colorScheme: "light", viewport: { width: 420, height: 900 } });
}

crowd(0);
await browser.close();
await server.close();
