// Owns: `io()`, as the stock client has it: from an address to the socket of a namespace.

import { Manager } from "./manager.js";
import { Socket } from "./socket.js";

/** @type {Map<string, Manager>} by origin and path */
const managers = new Map();

/**
 * Namespaces of one server share a link, unless one is asked for twice or the options say otherwise.
 * @param {any} [address] `"/news"`, `"https://host"`, `"https://host/news?x=1"`; the page's own server where absent
 * @param {any} [options]
 * @returns {Socket}
 */
export function io(address, options) {
  if (typeof address === "object") [address, options] = [undefined, address];
  const url = new URL((address || "/").replace(/^ws/, "http"), globalThis.location?.href);
  if (url.search && !options?.query) options = { ...options, query: Object.fromEntries(url.searchParams) };
  // The path as it was written: a namespace is a name, not an address, and is never percent-encoded.
  const nsp = /^(?:\w+:)?(?:\/\/[^/?#]*)?([^?#]*)/.exec(address || "")?.[1] || "/";
  const id = url.origin + (options?.path || "");
  const shared = managers.get(id);
  const alone = options?.forceNew || options?.multiplex === false || shared?.nsps.has(nsp);
  const manager = shared && !alone ? shared : new Manager(url.origin, options);
  if (!shared && !alone) managers.set(id, manager);
  return manager.socket(nsp, options);
}

/** The revision of the Socket.IO protocol. */
export const protocol = 5;

Object.assign(io, { io, connect: io, Manager, Socket, protocol });

export { Manager, Socket };
