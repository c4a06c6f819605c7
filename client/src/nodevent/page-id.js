// Owns: the id of this page. It survives reconnects, so that the application can exclude the page that
// caused an event. It is not a secret. All scripts of a page have the same one: that of the queue, or of the
// first `NoDevent`.

const part = () => Math.random().toString(36).slice(2);

/** @type {string} */
export const pageId = /** @type {any} */ (globalThis).NoDevent?.pageId || part() + part();
