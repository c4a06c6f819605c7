// Owns: creating a controller that is connected to a server and a namespace.

import { Manager } from "../socket/manager.js";
import { pool } from "../socket/pool.js";
import { NoDeventController } from "./controller.js";
import { resolve } from "./keys.js";
import { pageId } from "./page-id.js";

const socketOf = pool((url, options) => new Manager(url, options));

/**
 * @param {{url?: string, namespace?: string, key?: any, keyUrl?: string, auth?: any, path?: string, [option: string]: any}} [options]
 *   `url` is the server, by default the page's own; its path is where the server is mounted
 */
export function connect({ url = "/", namespace = "/nodevent", key, keyUrl, auth, ...options } = {}) {
  const { origin, pathname } = resolve(url);
  const path = options.path || pathname.replace(/\/$/, "") + "/socket.io/";
  const withPage = (/** @type {any} */ data) => ({ ...data, pageId });
  options.auth = (/** @type {(data: any) => void} */ send) =>
    typeof auth === "function" ? auth((/** @type {any} */ data) => send(withPage(data))) : send(withPage(auth));
  return new NoDeventController({ key, keyUrl }).setSocket(
    socketOf(origin + path, namespace.replace(/^\/?/, "/"), options),
  );
}
