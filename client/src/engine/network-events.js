// Owns: the browser's events about the network and the page's visibility, in pages and workers.
// Node has none of these events; watching there does nothing.

/**
 * @param {(change: "online" | "offline" | "visible") => void} notify
 * @returns {() => void} stops watching
 */
export function watchEnvironment(notify) {
  const onEvent = (/** @type {Event} */ { type }) => {
    if (type !== "visibilitychange") notify(/** @type {any} */ (type));
    else if (!globalThis.document.hidden) notify("visible");
  };
  /** @param {"addEventListener" | "removeEventListener"} method */
  const forEach = (method) => {
    for (const type of ["online", "offline", "visibilitychange"]) globalThis[method]?.(type, onEvent);
  };
  forEach("addEventListener");
  return () => forEach("removeEventListener");
}
