// Owns: which sockets share a link: those of one server whose namespaces differ.

/**
 * The options of a shared link are those of whoever came first.
 * @template {import("./manager.js").Manager} M
 * @param {(url: string, options: any) => M} make
 * @returns {(url: string, nsp: string, options?: any) => ReturnType<M["socket"]>}
 */
export function pool(make) {
  /** @type {Map<string, M>} by address */
  const managers = new Map();
  return (url, nsp, options) => {
    let manager = managers.get(url);
    // One whose sockets are all gone is no better than none.
    const free = !manager?._sockets.size;
    if (!manager || free || manager._sockets.has(nsp)) manager = make(url, options);
    if (free) managers.set(url, manager);
    return /** @type {any} */ (manager.socket(nsp, options));
  };
}
