// Pages in Chromium with each of the clients, unmodified, served from an origin of their own. Each page has a network that can
// be cut.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { CutProxy } from "../../support/cut_proxy.js";
import { launchBrowser } from "../../socket_io/support/page.js";
import { until, within } from "../../socket_io/support/programs.js";
import { cableUrl, versions } from "./clients.js";

/** Time limit of a wait in which a client connects again: those of Rails wait for up to 30 s. Milliseconds. */
export const RECONNECT = 90_000;

const folder = fileURLToPath(new URL("../", import.meta.url));
const packages = "/node_modules";

/** Where pages find the modules. */
const IMPORTS = {
  "@anycable/core": `${packages}/@anycable/core/index.js`,
  "@anycable/web": `${packages}/@anycable/web/index.js`,
  "nanoevents": `${packages}/nanoevents/index.js`,
  "@hotwired/turbo": `${packages}/@hotwired/turbo/dist/turbo.es2017-esm.js`,
  "@hotwired/turbo-rails": `${packages}/@hotwired/turbo-rails/app/javascript/turbo/index.js`,
  "@rails/actioncable/src": `${packages}/@rails/actioncable/src/index.js`,
};

/** The script of @rails/actioncable for pages without modules. */
const classic = (version) =>
  `<script src="${packages}/@rails/actioncable-${version}/app/assets/javascripts/${version === "6.1" ? "action_cable" : "actioncable"}.js"></script>`;

/** The clients. */
export const clients = [
  ...versions.map((version) => ({
    name: `@rails/actioncable ${version}`, head: classic(version), module: "start(rails(window.ActionCable, url));",
  })),
  { name: "@hotwired/turbo-rails", module: 'import "@hotwired/turbo-rails"; start(turbo());' },
  ...["actioncable-v1-json", "actioncable-v1-ext-json"].map((protocol) => ({
    name: `@anycable/web with ${protocol}`,
    module: `import * as library from "@anycable/web"; start(anycable(library, url, "${protocol}"));`,
  })),
];

/** The head of a page that loads modules and connects to `url`. */
export const head = (url) => `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><meta name="action-cable-url" content="${url}">
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>`;

const html = ({ head: more = "", module }, url) => `${head(url)}<title>a page</title>${more}
<script type="module">import { anycable, rails, start, turbo } from "/support/in_page.js"; const url = "${url}"; ${module}</script>
<ol id="messages"></ol>`;

/** A message that appends a text to the page, and its text. */
export const append = (text) => `<turbo-stream action="append" target="messages"><template><li>${text}</li></template></turbo-stream>`;
export const textOf = (message) => /<li>(.*)<\/li>/.exec(message)?.[1] ?? message;

/** Starts a site: `respond` resolves with the page of a path, if it has one. The files of packages and of `support/` are served too. */
async function startSite(respond) {
  const file = async (path) => {
    if (!path.startsWith(packages) && !path.startsWith("/support/")) throw new Error(`there is no ${path}`);
    // Modules of npm import others without the ending.
    return readFile(folder + path).catch(() => readFile(`${folder}${path}.js`));
  };
  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://site");
    try {
      const page = await respond(pathname, searchParams);
      response.setHeader("content-type", page ? "text/html" : "text/javascript");
      response.end(page ?? (await file(pathname)));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, stop };
}

/** One page of a browser, behind a network of its own. */
class Page {
  constructor(page, proxy) {
    Object.assign(this, { page, proxy, frames: [] });
    page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => this.frames.push(payload)));
  }

  /** Waits until `condition`, a function for the page, returns something true. */
  until(what, condition, argument, timeout = 60_000) {
    return within(what, this.page.waitForFunction(condition, argument, { polling: 50, timeout: 0 }), timeout);
  }

  async goto(url) {
    const response = await this.page.goto(url, { timeout: 60_000 });
    if (!response.ok()) throw new Error(`${url}: ${response.status()} ${await response.text()}`);
  }

  subscribe(name, params) {
    return this.page.evaluate(([name, params]) => window.subscriptions.add(name, params), [name, params]);
  }

  end(name) {
    return this.page.evaluate((name) => window.subscriptions.end(name), name);
  }

  /** Ends a subscription and adds it again, with a preview in between. Resolves with the milliseconds. */
  again(name) {
    return this.page.evaluate((name) => window.subscriptions.again(name), name);
  }

  /** The texts of the messages of a subscription, in their order. */
  async texts(name) {
    return (await this.page.evaluate((name) => window.subscriptions.messages(name), name)).map(textOf);
  }

  /** Waits until a subscription is connected, or is not any more. */
  isConnected(name, wanted = true, timeout = RECONNECT) {
    const is = ([name, wanted]) => window.subscriptions.isConnected(name) === wanted;
    return this.until(`${name} is ${wanted ? "" : "not "}connected`, is, [name, wanted], timeout);
  }

  /** Waits until a subscription has received a message. */
  received(name, message) {
    const has = ([name, message]) => window.subscriptions.messages(name).includes(message);
    return this.until(`${name} receives ${textOf(message)}`, has, [name, message]);
  }

  /**
   * Waits until the server knows what has arrived here. It asks every second, and pings every three seconds. What arrives after it has
   * asked, and before the connection is lost, it sends again.
   */
  confirmed() {
    const pings = () => this.frames.filter((frame) => frame.includes('"type":"ping"')).length;
    const before = pings();
    return until("two pings", () => pings() >= before + 2, RECONNECT);
  }

  cut() {
    this.proxy.cut();
  }

  restore() {
    this.proxy.restore();
  }

  async close() {
    await this.page.context().close();
    this.proxy.stop();
  }
}

/** Starts Chromium, and a site with a page for each client, and with those of `respond`. */
export async function startPages(respond = () => null) {
  const site = await startSite((path, parameters) => {
    const client = clients.find(({ name }) => path === `/clients/${encodeURIComponent(name)}`);
    return client ? html(client, parameters.get("cable")) : respond(path, parameters);
  });
  const browser = await launchBrowser();
  const proxies = [];
  /** A window, before it has opened an address. */
  const open = async () => {
    const proxy = await new CutProxy().start();
    proxies.push(proxy);
    // Chromium uses it for this machine too.
    const context = await browser.newContext({ proxy: { server: proxy.url, bypass: "<-loopback>" } });
    return new Page(await context.newPage(), proxy);
  };
  /** The page of a client that connects to a server. */
  const page = async (client, server) => {
    const opened = await open();
    await opened.goto(`${site.url}/clients/${encodeURIComponent(client.name)}?cable=${cableUrl(server)}`);
    await opened.until("the client has loaded", () => window.subscriptions);
    return opened;
  };
  const stop = async () => {
    await browser.close();
    for (const proxy of proxies) proxy.stop();
    site.stop();
  };
  return { url: site.url, open, page, stop };
}
