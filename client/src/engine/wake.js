// Owns: hearing what the environment says of the network and the page, in a page and in a worker.
// Node says nothing, and so is asked nothing.

/**
 * @param {(what: "online" | "offline" | "visible") => void} tell
 * @returns {() => void} stops listening
 */
export function watch(tell) {
  const hear = (/** @type {Event} */ { type }) => {
    if (type !== "visibilitychange") tell(/** @type {any} */ (type));
    else if (!globalThis.document.hidden) tell("visible");
  };
  /** @param {"addEventListener" | "removeEventListener"} method */
  const each = (method) => {
    for (const type of ["online", "offline", "visibilitychange"]) globalThis[method]?.(type, hear);
  };
  each("addEventListener");
  return () => each("removeEventListener");
}
