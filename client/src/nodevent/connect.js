// Owns: from an address and a namespace to a controller that is connected to them.

import { Manager } from "../socket/manager.js";
import { pool } from "../socket/pool.js";
import { NoDeventController } from "./controller.js";

const socketOf = pool((url, options) => new Manager(url, options));

/**
 * @param {{url?: string, namespace?: string, key?: any, path?: string, [option: string]: any}} [options]
 *   `url` is the server, the page's own where absent; a path in it is where the server is mounted
 */
export function connect({ url = "/", namespace = "/nodevent", key, ...options } = {}) {
  const { origin, pathname } = new URL(url, globalThis.location?.href);
  const path = options.path || pathname.replace(/\/$/, "") + "/socket.io/";
  return new NoDeventController({ key }).setSocket(
    socketOf(origin + path, namespace.replace(/^\/?/, "/"), options),
  );
}
