// Owns: the event methods that a page sees on a room and on the controller. They are those of the
// old client, and `on` answers something that can be chained from and also called to undo it.

import { Emitter } from "../emitter.js";

export class Listenable extends Emitter {
  /**
   * @param {unknown} event @param {Function} fn
   * @returns {any} a function that takes the listener away, with every member of `this`
   */
  on(event, fn) {
    if (typeof fn !== "function") throw TypeError(`on("${event}", …): the listener must be a function`);
    super.on(event, fn);
    return undo(this, () => this.off(event, fn));
  }

  /** @param {unknown} event @param {Function} fn */
  addListener(event, fn) {
    return this.on(event, fn);
  }

  /** @param {unknown} [event] @param {Function} [fn] */
  removeListener(event, fn) {
    return this.off(event, fn);
  }

  /** @param {unknown} [event] */
  removeAllListeners(event) {
    return this.off(event);
  }

  /** Tells the listeners in this page; nothing is sent. @param {unknown} event @param {unknown[]} args */
  emit(event, ...args) {
    return this._fire(event, ...args);
  }

  /** @param {unknown} event @param {(listener: Function) => void} fn */
  eachListener(event, fn) {
    this.listeners(event).forEach(fn);
    return this;
  }

  /** Taken for the sake of old pages: there is no limit, and so no warning. */
  setMaxListeners() {
    return this;
  }
}

/**
 * @template {object} T
 * @param {T} target
 * @param {() => void} remove
 * @returns {T & (() => void)}
 */
function undo(target, remove) {
  return /** @type {any} */ (
    new Proxy(remove, {
      get(_, name) {
        const owner = /** @type {any} */ (name in target ? target : remove);
        return typeof owner[name] === "function" ? owner[name].bind(owner) : owner[name];
      },
    })
  );
}
