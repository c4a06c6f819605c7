// A real Chromium and a small web server for its pages, on its own port and with a strict
// Content-Security-Policy, like an application on another origin than the NoDevent server.

import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { until } from "./until.js";

const EXECUTABLE = process.env.CHROMIUM || "/usr/bin/chromium";

/** Host names that resolve to this machine but are not loopback names. */
export const HOSTS = ["page.test", "nodevent.test"];

export function launch() {
  return chromium.launch({
    executablePath: EXECUTABLE,
    args: ["--no-sandbox", "--disable-gpu", `--host-resolver-rules=${HOSTS.map((host) => `MAP ${host} 127.0.0.1`).join(",")}`],
  });
}

/** Forbids inline scripts and eval; allows scripts and connections on any host and port. */
export const STRICT = "default-src 'none'; script-src http://*:*; connect-src http://*:* ws://*:*; worker-src 'self'";

const DIST = new URL("../../dist/", import.meta.url);

/**
 * @param {Record<string, string | ((request: any, response: any) => any)>} pages path to body, or to a function
 *   that responds; `/dist/…` is the client's own folder
 * @param {{policy?: string}} [options]
 */
export async function servePages(pages, { policy = STRICT } = {}) {
  const http = createServer((request, response) => {
    const path = request.url.split("?")[0];
    if (path === "/favicon.ico") return response.writeHead(204).end();
    const body = path.startsWith("/dist/") ? readFileSync(new URL(path.slice(6), DIST)) : pages[path];
    response.statusCode = body === undefined ? 404 : 200;
    response.setHeader("content-type", /\.m?js$/.test(path) ? "text/javascript" : "text/html; charset=utf-8");
    if (policy) response.setHeader("content-security-policy", policy);
    if (typeof body === "function") body(request, response);
    else response.end(body);
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address();
  return {
    port,
    pages,
    url: `http://127.0.0.1:${port}`,
    on: (host) => `http://${host}:${port}`,
    close() {
      http.closeAllConnections();
      return new Promise((resolve) => http.close(resolve));
    },
  };
}

/** Opens a page in its own context and records the errors and warnings of its console. */
export async function open(browser, url) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(url);
  return { context, page, complaints };
}

/** Waits until an expression is true in the page. Playwright's own function needs `unsafe-eval`. */
export const holds = (page, expression) => until(() => page.evaluate(expression), expression);
