// Owns: creating a controller that is connected to a server and a namespace.

import { Manager } from "../socket/manager.js";
import { pool } from "../socket/pool.js";
import { NoDeventController } from "./controller.js";
import { resolve } from "./keys.js";
import { pageId } from "./page-id.js";

const socketOf = pool((url, options) => new Manager(url, options));

/**
 * @param {{url?: string, namespace?: string, key?: any, keyUrl?: string, token?: any, auth?: any, path?: string, [option: string]: any}} [options]
 *   `url` is the server, by default the page's own; its path is where the server is mounted
 */
export function connect({ url = "/", namespace = "/nodevent", key, keyUrl, token, auth, ...options } = {}) {
  const { origin, pathname } = resolve(url);
  const path = options.path || pathname.replace(/\/$/, "") + "/socket.io/";
  const controller = new NoDeventController({ key, keyUrl, token });
  const { _tokens: tokens } = controller;
  options.auth = (/** @type {(data: any) => void} */ send) => {
    const withPage = (/** @type {any} */ data) => {
      const withToken = (/** @type {any} */ more) => send({ ...data, ...controller._named(), ...more, pageId, since_broadcast: controller._sinceAll() });
      if (tokens._source) tokens._connect(withToken);
      else withToken({});
    };
    if (typeof auth === "function") auth(withPage);
    else withPage(auth);
  };
  return controller.setSocket(
    socketOf(origin + path, namespace.replace(/^\/?/, "/"), options),
  );
}
