// Owns: when something with an end is renewed: a room's key, or the token of the connection. Knows nothing of either.

/** Minimum lifetime that counts as one, and the first delay. Milliseconds. */
const MIN_DELAY = 1000;

/** Longest delay that `setTimeout` accepts. Milliseconds. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** Maximum delay between attempts. Milliseconds. */
export const MAX_RETRY_DELAY = 30_000;

/** The delay after a failure: random, and growing with their number. @param {number} failures those before it */
export const retryDelay = (failures) =>
  Math.min(MAX_RETRY_DELAY, MIN_DELAY * 2 ** failures) * (0.5 + Math.random() / 2);

export class Renewal {
  /** @param {() => void} renew */
  constructor(renew) {
    this._renew = renew;
    /** @type {any} */
    this._timer = undefined;
    this._end = 0; // of the present one
    this._failures = 0; // number of consecutive attempts without one that is valid for longer
  }

  /** The next one has nothing to do with the present one. */
  _reset() {
    this._stop();
    this._end = this._failures = 0;
  }

  _stop() {
    clearTimeout(this._timer);
    this._timer = undefined;
  }

  /**
   * Renews at 80 to 90 % of the lifetime, so that many pages and rooms spread out. One that ends no later than the last
   * one is not renewed before it has ended: the application has none that is valid for longer.
   * @param {number} lifetime milliseconds @param {number} [end] of it, by a clock that is the same for all
   */
  _start(lifetime, end = Date.now() + lifetime) {
    const delay = lifetime * (0.8 + 0.1 * Math.random());
    const isLater = end > this._end;
    this._end = end;
    if (!isLater || delay < MIN_DELAY) return this._retry(isLater ? 0 : lifetime);
    this._failures = 0;
    this._schedule(delay);
  }

  /** Renews after a growing delay. @param {number} [minimum] milliseconds */
  _retry(minimum = 0) {
    this._schedule(Math.max(minimum, this._nextDelay()));
  }

  /** It grows fast, so that one page has few requests while its session ends. */
  _nextDelay() {
    return retryDelay(2 * this._failures++);
  }

  /** @param {number} delay milliseconds */
  _schedule(delay) {
    this._stop();
    this._timer = setTimeout(() => {
      this._timer = undefined;
      this._renew();
    }, Math.min(MAX_TIMEOUT, delay));
  }
}
