// Owns: listeners by event name. Names come from the network, so they are keys of a Map and never
// properties of a plain object. Knows nothing of sockets or rooms. All other layers build on it.

/**
 * Calls a listener and isolates its caller from it: an exception is reported as an uncaught error
 * (`window.onerror`, Node's `uncaughtException`), and the next listener still runs.
 * @param {Function | undefined} fn
 * @param {unknown} self
 * @param {unknown[]} args
 */
export function call(fn, self, args) {
  try {
    fn?.apply(self, args);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** @typedef {Function & {_once?: Function}} Listener `_once` is the function that was passed to `once` */

/** Base class of every object that has events. Subclasses decide what `emit` means. */
export class Emitter {
  constructor() {
    /** @type {Map<unknown, Listener[]>} */
    this._listeners = new Map();
  }

  /**
   * Lists are replaced, never changed in place, so that a listener can add or remove others while it runs.
   * @param {unknown} event @param {Listener} fn @returns {any}
   */
  on(event, fn) {
    this._listeners.set(event, [...this._listenersOf(event), fn]);
    return this;
  }

  /** @param {unknown} event @param {Function} fn @returns {any} */
  once(event, fn) {
    /** @type {Listener} */
    const wrapper = (/** @type {any[]} */ ...args) => {
      this.off(event, wrapper);
      fn.apply(this, args);
    };
    wrapper._once = fn;
    return this.on(event, wrapper);
  }

  /**
   * Removes one registration of a listener. Without a listener, removes all of the event; without an
   * event, removes all.
   * @param {unknown} [event] @param {Function} [fn] @returns {any}
   */
  off(event, fn) {
    const list = this._listenersOf(event);
    const at = list.findIndex((other) => other === fn || other._once === fn);
    if (event === undefined) this._listeners.clear();
    else this._listeners.set(event, list.filter((_, n) => fn && n !== at));
    return this;
  }

  /** @param {unknown} event */
  _listenersOf(event) {
    return this._listeners.get(event) || [];
  }

  /** @param {unknown} event @returns {Function[]} */
  listeners(event) {
    return this._listenersOf(event).map((listener) => listener._once || listener);
  }

  /** Calls the listeners in this page. @param {unknown} event @param {unknown[]} args */
  _fire(event, ...args) {
    for (const listener of this._listenersOf(event)) call(listener, this, args);
    return this;
  }
}
