// Pages in Chromium, served from an origin of their own.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

/** Starts Chromium. It resolves `page.test` to this machine. */
export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP page.test 127.0.0.1"],
  });
}

/** Starts Chromium and a site that serves an empty page and the clients' scripts. */
export async function startBrowser(clients) {
  const scripts = new Map();
  for (const { version, script } of clients) scripts.set(`/${encodeURIComponent(version)}.js`, await readFile(script));
  const site = createServer((request, response) => {
    const script = scripts.get(request.url);
    response.setHeader("content-type", script ? "text/javascript" : "text/html");
    response.end(script ?? "<!doctype html><title>a page</title>");
  }).listen(0);
  await once(site, "listening");
  const browser = await launchBrowser();
  /** A page of `host` with that client version. */
  const page = async (version, host = "127.0.0.1") => {
    const page = await browser.newPage();
    await page.goto(`http://${host}:${site.address().port}/`);
    await page.addScriptTag({ url: `/${encodeURIComponent(version)}.js` });
    return page;
  };
  const stop = async () => {
    await browser.close();
    site.close();
    site.closeAllConnections();
  };
  return { page, stop };
}

/** Runs `scenario` in the page: sends its source text and that of its helpers. */
export function runInPage(page, scenario, client, helpers) {
  // The text of a method lacks the `function` keyword.
  const text = (part) => part.toString().replace(/^async (?!function)(\w+\()/, "async function $1");
  const made = Object.entries(helpers).map(([name, part]) => `${name}: ${text(part)}`);
  return page.evaluate(`(${text(scenario)})({ ...${JSON.stringify(client)}, io: window.io }, { ${made.join(", ")} })`);
}
