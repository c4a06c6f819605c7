// Owns: `io()`: from an address to the socket of a namespace; sockets of one server share a link.

import { Manager } from "./manager.js";
import { Socket } from "./socket.js";

/** @type {Map<string, Manager>} by origin and path */
const managers = new Map();

/**
 * The socket of a namespace on a server. Sockets of one server share a link, unless the namespace is
 * in use there already or the options say otherwise.
 * @param {string} origin @param {string} nsp @param {any} [options]
 */
export function lookup(origin, nsp, options = {}) {
  const id = origin + (options.path || "");
  const shared = managers.get(id);
  if (shared && !options.forceNew && options.multiplex !== false && !shared._sockets.has(nsp))
    return shared.socket(nsp, options);
  const manager = new Manager(origin, options);
  if (!shared && !options.forceNew && options.multiplex !== false) managers.set(id, manager);
  return manager.socket(nsp, options);
}

/**
 * @param {string} [address] `"/news"`, `"https://host"`, `"https://host/news?x=1"`; the page's own server where absent
 * @param {any} [options]
 * @returns {Socket}
 */
export function io(address, options) {
  if (typeof address === "object") [address, options] = [undefined, address];
  const url = new URL((address || "/").replace(/^ws/, "http"), globalThis.location?.href);
  if (url.search && !options?.query) options = { ...options, query: Object.fromEntries(url.searchParams) };
  // The path as it was written: a namespace is a name, not an address, and is never percent-encoded.
  const nsp = /^(?:\w+:)?(?:\/\/[^/?#]*)?([^?#]*)/.exec(address || "")?.[1] || "/";
  return lookup(url.origin, nsp, options);
}

/** The revision of the Socket.IO protocol. */
export const protocol = 5;

Object.assign(io, { io, connect: io, Manager, Socket, protocol });

export { Manager, Socket };
