// Takes the screenshots of the demo for docs/images/, reproducibly: `node e2e/screenshots.js` from a checkout
// where bin/demo works. They show the windows of two users just after one of them wrote something. The demo
// uses the reader's own fonts; on a server, install two like those of a desktop: `apt-get install fonts-inter
// fonts-sil-charis`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../", import.meta.url));
const images = join(root, "docs", "images");
const FONTS = ':root { --text: "Inter", sans-serif; --display: "Charis SIL", serif }';
const WINDOW = { width: 1120, height: 880 };

/** Starts bin/demo with its own database; resolves as soon as it prints the board's URL. */
async function startDemo() {
  const folder = await mkdtemp(join(tmpdir(), "nodevent-pictures-"));
  const env = { ...process.env, DEMO_DATABASE: join(folder, "demo.sqlite3"), DEMO_LOGS: folder };
  const demo = spawn(join(root, "bin", "demo"), { env, stdio: ["ignore", "pipe", "inherit"] });
  const stop = async () => {
    if (demo.exitCode === null && demo.kill("SIGTERM")) await once(demo, "exit");
    await rm(folder, { recursive: true, force: true });
  };
  for await (const line of createInterface({ input: demo.stdout })) {
    const [, url] = /board is open:\s+(\S+)/.exec(line) ?? [];
    if (url) return { url, stop };
  }
  await stop();
  throw new Error("bin/demo ended without printing its URL");
}

async function openWindow(browser, scheme, url, name) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: WINDOW, deviceScaleFactor: 1.5, bypassCSP: true });
  const page = await context.newPage();
  await page.goto(url);
  await page.click(".me > summary");
  await page.fill("[name='visitor[name]']", name);
  await page.click(".me button");
  await page.waitForFunction((text) => document.getElementById("my-name").textContent === text, name);
  await page.reload();
  await page.waitForSelector("#signal[data-state=live]");
  await page.addStyleTag({ content: FONTS });
  return page;
}

/** Combines two screenshots as overlapping windows on a transparent background. */
async function compose(browser, scheme, back, front, path) {
  const page = await browser.newPage({ viewport: { width: 1400, height: 1000 }, deviceScaleFactor: 1.25 });
  const line = scheme === "dark" ? "#2c3a34" : "#d3dad2";
  const window = (png, place) =>
    `<img src="data:image/png;base64,${png.toString("base64")}" style="position:absolute;${place};width:${WINDOW.width * 0.85}px;
      border:1px solid ${line};border-radius:14px;box-shadow:0 18px 50px rgb(0 0 0/.28)">`;
  await page.setContent(`<body style="margin:0;background:transparent">${window(back, "left:24px;top:24px")}${window(front, "right:24px;bottom:40px")}`);
  await page.screenshot({ path, omitBackground: true });
  await page.close();
}

const demo = await startDemo();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  await mkdir(images, { recursive: true });
  for (const [scheme, discussion, writer, text] of [
    ["light", 6, "Ines Duarte", "The tram bell at the corner. Two rings: my father was on it."],
    ["dark", 2, "Omar Haddad", "Italo Calvino, Invisible Cities. One city for each station."],
  ]) {
    const list = await openWindow(browser, scheme, demo.url, "Kira Holm");
    const thread = await openWindow(browser, scheme, `${demo.url}/discussions/${discussion}`, writer);
    await thread.fill(".compose textarea", text);
    await thread.click(".compose button");
    await list.waitForSelector(".news.arrived");
    await thread.locator(".comment .prose", { hasText: text }).waitFor();
    await list.waitForFunction(() => document.querySelector(".discussion.changed, .discussion.arrived"));
    await thread.evaluate(() => scrollTo({ top: 0, behavior: "instant" }));
    await Promise.all([list, thread].map((page) => page.waitForTimeout(450))); // the middle of the animation
    const [back, front] = await Promise.all([list.screenshot(), thread.screenshot()]);
    await compose(browser, scheme, back, front, join(images, `demo-${scheme}.png`));
    await Promise.all([list, thread].map((page) => page.context().close()));
  }
} finally {
  await browser.close();
  await demo.stop();
}
