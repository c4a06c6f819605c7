// Owns: which sockets share a link: those of one server whose namespaces differ.

/**
 * @template {import("./manager.js").Manager} M
 * @param {(url: string, options: any) => M} make
 * @returns {(url: string, nsp: string, options?: any) => ReturnType<M["socket"]>}
 */
export function pool(make) {
  /** @type {Map<string, M>} by address */
  const managers = new Map();
  return (url, nsp, options) => {
    const shared = managers.get(url);
    const manager = !shared || shared._sockets.has(nsp) ? make(url, options) : shared;
    if (!shared) managers.set(url, manager);
    return /** @type {any} */ (manager.socket(nsp, options));
  };
}
