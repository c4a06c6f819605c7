// Owns: the event methods of rooms and of the controller. They have the names of the old client.
// `on` returns an object that works both for chaining and as a function that removes the listener.

import { Emitter } from "../emitter.js";

export class Listenable extends Emitter {
  /**
   * @param {unknown} event @param {Function} fn
   * @returns {any} a function that removes the listener, with all members of `this`
   */
  on(event, fn) {
    if (typeof fn !== "function") throw TypeError(`on(${event}): the listener must be a function`);
    super.on(event, fn);
    return remover(this, () => this.off(event, fn));
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

  /** Calls the listeners in this page. Sends nothing. @param {unknown} event @param {unknown[]} args */
  emit(event, ...args) {
    return this._fire(event, ...args);
  }

  /** @param {unknown} event @param {(listener: Function) => void} fn */
  eachListener(event, fn) {
    this.listeners(event).forEach(fn);
    return this;
  }

  /** Does nothing; exists for old pages. There is no limit. */
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
function remover(target, remove) {
  return /** @type {any} */ (
    new Proxy(remove, {
      get(_, name) {
        const owner = /** @type {any} */ (name in target ? target : remove);
        return typeof owner[name] === "function" ? owner[name].bind(owner) : owner[name];
      },
    })
  );
}
