// Owns: `io()`, compatible with the stock client: from an address to the socket of a namespace.

import { Manager } from "./manager.js";
import { Socket } from "./socket.js";

/** @type {Map<string, Manager>} by origin and path */
const managers = new Map();

/**
 * Namespaces of one server share a connection, except a namespace that is requested twice, or if the
 * options forbid it.
 * @param {any} [address] `"/news"`, `"https://host"`, `"https://host/news?x=1"`; by default the page's own server
 * @param {any} [options]
 * @returns {Socket}
 */
export function io(address, options) {
  if (typeof address === "object") [address, options] = [undefined, address];
  const url = new URL((address || "/").replace(/^ws/, "http"), globalThis.location?.href);
  if (url.search && !options?.query) options = { ...options, query: Object.fromEntries(url.searchParams) };
  // The path is used as written: a namespace is a name, not a URL, and is never percent-encoded.
  const nsp = /^(?:\w+:)?(?:\/\/[^/?#]*)?([^?#]*)/.exec(address || "")?.[1] || "/";
  const id = url.origin + (options?.path || "");
  const shared = managers.get(id);
  const separate = options?.forceNew || options?.multiplex === false || shared?.nsps.has(nsp);
  const manager = shared && !separate ? shared : new Manager(url.origin, options);
  if (!shared && !separate) managers.set(id, manager);
  return manager.socket(nsp, options);
}

/** The revision of the Socket.IO protocol. */
export const protocol = 5;

Object.assign(io, { io, connect: io, Manager, Socket, protocol });

export { Manager, Socket };
