// Owns: the other names of the event methods, those of the stock emitter.

/** @param {any} prototype */
export function addAliases(prototype) {
  Object.assign(prototype, {
    addListener: prototype.on,
    addEventListener: prototype.on,
    removeListener: prototype.off,
    removeEventListener: prototype.off,
    removeAllListeners: prototype.off,
    /** @this {any} @param {string} event */
    hasListeners(event) {
      return this.listeners(event).length > 0;
    },
  });
}
