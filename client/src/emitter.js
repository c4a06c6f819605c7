// Owns: listeners by event name. Names come from the network, so they are keys of a Map, never of
// a plain object. Knows nothing of sockets or rooms; every layer above builds on it.

/**
 * Calls a listener without letting it break its caller: what it throws is reported as an uncaught
 * error (`window.onerror`, Node's `uncaughtException`), and the next listener still runs.
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

/** @typedef {Function & {_once?: Function}} Listener `_once` is what was given to `once` */

/** The base of every object that has events. Subclasses decide what `emit` means for them. */
export class Emitter {
  constructor() {
    /** @type {Map<unknown, Listener[]>} */
    this._listeners = new Map();
  }

  /**
   * Lists are replaced, never changed, so that a listener may add or remove others while it runs.
   * @param {unknown} event @param {Listener} fn @returns {any}
   */
  on(event, fn) {
    this._listeners.set(event, [...this._of(event), fn]);
    return this;
  }

  /** @param {unknown} event @param {Function} fn @returns {any} */
  once(event, fn) {
    /** @type {Listener} */
    const first = (/** @type {any[]} */ ...args) => {
      this.off(event, first);
      fn.apply(this, args);
    };
    first._once = fn;
    return this.on(event, first);
  }

  /**
   * A listener that was added twice is taken away once. Without a listener: all of the event. Without
   * an event: all.
   * @param {unknown} [event] @param {Function} [fn] @returns {any}
   */
  off(event, fn) {
    const list = this._of(event);
    const at = list.findIndex((other) => other === fn || other._once === fn);
    if (event === undefined) this._listeners.clear();
    else this._listeners.set(event, list.filter((_, n) => fn && n !== at));
    return this;
  }

  /** @param {unknown} event */
  _of(event) {
    return this._listeners.get(event) || [];
  }

  /** @param {unknown} event @returns {Function[]} */
  listeners(event) {
    return this._of(event).map((listener) => listener._once || listener);
  }

  /** Tells the listeners here, in this page. @param {unknown} event @param {unknown[]} args */
  _fire(event, ...args) {
    for (const listener of this._of(event)) call(listener, this, args);
    return this;
  }
}
