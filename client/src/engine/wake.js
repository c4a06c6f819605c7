// Owns: what the environment says about the network and the page: `online`, `offline`, `visible`.
// Works in a page, in a worker (no document) and in Node (neither).

/**
 * @param {(what: "online" | "offline" | "visible") => void} tell
 * @returns {() => void} stops listening
 */
export function watch(tell) {
  const page = globalThis.document;
  const online = () => tell("online");
  const offline = () => tell("offline");
  // `resume` follows a freeze of the page; `visibilitychange` also comes when it is hidden.
  const visible = () => page.visibilityState !== "hidden" && tell("visible");
  /** @param {"addEventListener" | "removeEventListener"} method */
  const each = (method) => {
    globalThis[method]?.("online", online);
    globalThis[method]?.("offline", offline);
    page?.[method]("visibilitychange", visible);
    page?.[method]("resume", visible);
  };
  each("addEventListener");
  return () => each("removeEventListener");
}
