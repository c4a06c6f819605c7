// Owns: which sockets share a connection: those of one server whose namespaces differ.

/**
 * A shared connection has the options of the socket that opened it.
 * @template {import("./manager.js").Manager} M
 * @param {(url: string, options: any) => M} create
 * @returns {(url: string, nsp: string, options?: any) => ReturnType<M["socket"]>}
 */
export function pool(create) {
  /** @type {Map<string, M>} by URL */
  const managers = new Map();
  return (url, nsp, options) => {
    let manager = managers.get(url);
    // A manager whose sockets are all closed is replaced.
    const unused = !manager?._sockets.size;
    if (!manager || unused || manager._sockets.has(nsp)) manager = create(url, options);
    if (unused) managers.set(url, manager);
    return /** @type {any} */ (manager.socket(nsp, options));
  };
}
