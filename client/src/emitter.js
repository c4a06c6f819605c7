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

/** The base of every object that has events. Subclasses decide what `emit` means for them. */
export class Emitter {
  constructor() {
    /** @type {Map<unknown, {_fn: Function, _once?: boolean}[]>} */
    this._listeners = new Map();
  }

  /**
   * Lists are replaced, never changed, so that a listener may add or remove others while it runs.
   * @param {unknown} event @param {Function} fn @param {boolean} [once]
   * @returns {any}
   */
  _add(event, fn, once) {
    this._listeners.set(event, [...this._entries(event), { _fn: fn, _once: once }]);
    return this;
  }

  /** @param {unknown} event @param {Function} fn @returns {any} */
  on(event, fn) {
    return this._add(event, fn);
  }

  /** @param {unknown} event @param {Function} fn @returns {any} */
  once(event, fn) {
    return this._add(event, fn, true);
  }

  /**
   * Without a listener: all of the event. Without an event: all.
   * @param {unknown} [event] @param {Function} [fn] @returns {any}
   */
  off(event, fn) {
    if (event === undefined) this._listeners.clear();
    else this._keep(event, (entry) => !!fn && entry._fn !== fn);
    return this;
  }

  /** @param {unknown} event @param {(entry: {_fn: Function}) => boolean} wanted */
  _keep(event, wanted) {
    const rest = this._entries(event).filter(wanted);
    if (rest.length) this._listeners.set(event, rest);
    else this._listeners.delete(event);
  }

  /** @param {unknown} event */
  _entries(event) {
    return this._listeners.get(event) || [];
  }

  /** @param {unknown} event @returns {Function[]} */
  listeners(event) {
    return this._entries(event).map((entry) => entry._fn);
  }

  /** Tells the listeners here, in this page. @param {unknown} event @param {unknown[]} args */
  _fire(event, ...args) {
    for (const entry of this._entries(event)) {
      if (entry._once) this._keep(event, (other) => other !== entry);
      call(entry._fn, this, args);
    }
    return this;
  }
}

/** The other names by which the same methods are known. */
Object.assign(Emitter.prototype, {
  addListener: Emitter.prototype.on,
  removeListener: Emitter.prototype.off,
  removeAllListeners: Emitter.prototype.off,
});
