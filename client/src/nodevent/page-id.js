// Owns: the id of this page. It survives reconnects, so that the application can exclude the page that
// caused an event. It is not a secret. All scripts of a page have the same one: that of the queue, or of the
// first `NoDevent`.

/**
 * The `NoDevent` that another script of the page has defined. An element or a frame with that name is not one: it is in the
 * prototype chain of the window.
 * @type {any}
 */
export const existing = Object.hasOwn(globalThis, "NoDevent") && /** @type {any} */ (globalThis).NoDevent;

const part = () => Math.random().toString(36).slice(2);

/** @type {string} */
export const pageId = existing?.pageId || part() + part();
