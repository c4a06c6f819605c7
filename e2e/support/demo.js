// Runs the demo for the scripts that take pictures of it, and opens its pages.
//
// Owns: the process of bin/demo and its database. Knows nothing about what is shown.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const images = join(root, "docs", "images");

/** The demo uses its reader's own fonts. A server has none worth a picture; these are like those of a desktop. */
const FONTS = ':root { --text: "Inter", sans-serif; --display: "Charis SIL", serif }';

/** bin/demo with a database of its own. Resolves as soon as it has printed the board's address. */
export async function startDemo() {
  const folder = await mkdtemp(join(tmpdir(), "nodevent-pictures-"));
  const env = { ...process.env, DEMO_DATABASE: join(folder, "demo.sqlite3"), DEMO_LOGS: folder };
  const demo = spawn(join(root, "bin", "demo"), { env, stdio: ["ignore", "pipe", "inherit"] });
  const stop = async () => {
    if (demo.exitCode === null && demo.kill("SIGTERM")) await once(demo, "exit");
    await rm(folder, { recursive: true, force: true });
  };
  for await (const line of createInterface({ input: demo.stdout })) {
    const [, url] = /Discussion board:\s+(\S+)/.exec(line) ?? [];
    if (url) return { url, stop };
  }
  await stop();
  throw new Error("bin/demo ended without an address");
}

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
}

/** A window of a visitor with this name, connected. `options` are those of a browser context. */
export async function openWindow(browser, url, name, options) {
  const context = await browser.newContext({ bypassCSP: true, ...options });
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
