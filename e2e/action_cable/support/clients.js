// The stock clients of Rails, unmodified, in Node: they find the globals of a browser that they use.
import { createHmac, randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";

const listeners = new Map();
Object.assign(globalThis, {
  self: globalThis,
  WebSocket,
  document: { visibilityState: "visible" },
  addEventListener: (event, listener) => listeners.set(listener, event),
  removeEventListener: (_event, listener) => listeners.delete(listener),
});

const require = createRequire(import.meta.url);
export const versions = ["6.1", "7.0", "7.1", "7.2", "8.0", "8.1"];

/** The stock client of each version of Rails. `script` is its file for pages. */
export const rails = versions.map((version) => {
  const name = `@rails/actioncable-${version}`;
  const script = fileURLToPath(new URL(`../node_modules/${name}/app/assets/javascripts/${version === "6.1" ? "action_cable" : "actioncable"}.js`, import.meta.url));
  const library = require(name);
  library.adapters.WebSocket = WebSocket;
  return { version, script, library };
});

export { WebSocket };

/** The key of signed names in these tests. */
export const KEY = "a-key-for-names-of-streams";

/** The parameters of `turbo_stream_from` for a stream. */
export function turbo(stream, params = {}) {
  const data = Buffer.from(JSON.stringify(stream)).toString("base64");
  const digest = createHmac("sha256", KEY).update(data).digest("hex");
  return { channel: "Turbo::StreamsChannel", signed_stream_name: `${data}--${digest}`, ...params };
}

/** The parameters that say since when a page is current, and which page it is. */
export const stamps = (since) => ({ nodevent_since: since, nodevent_page: randomUUID() });

/** The configuration of the server. */
export const configuration = (more = {}) => ({
  "/nodevent": { protocol: "action_cable", action_cable: { signed_stream_key: KEY, ...more } },
});

/** The address for clients. */
export const cableUrl = (server) => `${server.url.replace("http", "ws")}/cable`;
