// Owns: finding out whether the server refuses the page's origin. Browsers do not report this: a refused
// connection looks like an unreachable server.

/**
 * True if the server is up but refuses requests from this page: its script, which every page can read, is
 * readable, and its Engine.IO path is not.
 * @param {string} url of Engine.IO, with a final slash
 */
export async function isOriginRefused(url) {
  const { location } = /** @type {any} */ (globalThis);
  if (!location || new URL(url).origin === location.origin) return false;
  const read = (/** @type {string} */ path) =>
    fetch(url + path, { cache: "no-store", credentials: "omit" }).catch(() => undefined);
  return !!(await read("socket.io.js"))?.ok && !(await read("?EIO=4&transport=polling&sid=none"));
}
