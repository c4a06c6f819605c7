// Owns: keeping one session to one server alive: when to try, how long to wait, what worked before.
// Knows nothing of Socket.IO packets or namespaces; manager.js, above, gives the messages a meaning.

import { Emitter } from "../emitter.js";
import { isLoopback } from "./address.js";
import { Session } from "./session.js";
import { watch } from "./wake.js";

/** The longest wait a draining server may ask for: a wrong number must not silence a page for good. */
const LONGEST_HOLD = 5 * 60 * 1000;

/**
 * Full jitter: anywhere between nothing and a ceiling that doubles, so that a thousand pages which
 * lost the same server do not come back in step.
 * @param {{reconnectionDelay: number, reconnectionDelayMax: number, randomizationFactor: number}} options
 * @param {number} failures how many attempts in a row did not last
 */
export function backoff(options, failures, random = Math.random) {
  const ceiling = Math.min(options.reconnectionDelayMax, options.reconnectionDelay * 2 ** failures);
  return ceiling * (1 - options.randomizationFactor * random());
}

/**
 * Events: `trying(transport)`, `open`, `close(reason, details)`, `error(err)`, `reconnecting(delay, attempt)`,
 * `reconnect(attempt)`, `reconnect_failed`.
 */
export class Link extends Emitter {
  /** @param {any} options */
  constructor(options) {
    super();
    this.opts = options;
    /** @type {Session | undefined} */
    this.engine = undefined;
    this._wanted = false;
    /** @type {(() => void) | undefined} */
    this._unwatch = undefined;
    this._attempt = 0;
    this._failures = 0;
    this._offline = false;
    this._openedAt = 0;
    /** @type {string | undefined} the transport that carried a session last */
    this._worked = undefined;
  }

  get _readyState() {
    return this.engine?.readyState || "closed";
  }

  _start() {
    this._wanted = true;
    this._unwatch ||= watch((what) => this._noticed(what));
    if (this._readyState === "closed" && !this._retry) this._connect();
  }

  _stop() {
    this._wanted = false;
    this._attempt = this._failures = 0;
    this._unwatch?.();
    this._unwatch = this._hold = undefined;
    clearTimeout(this._retry);
    this._retry = undefined;
    this.engine?.close();
  }

  _connect() {
    clearTimeout(this._retry);
    this._retry = undefined;
    const { transports } = this.opts;
    const session = new Session(this.opts, [...new Set([this._worked || transports[0], ...transports])]);
    this.engine = session;
    const worked = () => (this._worked = session.transport.name);
    session
      .on("trying", (/** @type {string} */ name) => this._fire("trying", name))
      .on("upgrade", worked)
      .on("message", (/** @type {any} */ data) => this._message(data))
      .on("open", () => {
        worked();
        this._openedAt = Date.now();
        const attempt = this._attempt;
        this._attempt = 0;
        this._fire("open");
        if (attempt) this._fire("reconnect", attempt);
      })
      .on("close", (/** @type {string} */ reason, /** @type {any} */ details) => {
        if (session.id) this._lost(reason, details);
        else this._failed(reason, details);
      });
  }

  /** @param {string} reason @param {any} details */
  _lost(reason, details) {
    // A server that takes connections and drops them at once must not be asked without end.
    if (Date.now() - this._openedAt > this.opts.reconnectionDelayMax) this._failures = 0;
    this._fire("close", reason, details);
    this._again();
  }

  /** @param {string} reason @param {any} details */
  _failed(reason, details) {
    if (!this._wanted) return;
    const error = Object.assign(Error(reason), details);
    this._fire("error", error);
    this._again();
  }

  /** Plans the next attempt, unless there is to be none or one is planned or under way. */
  _again() {
    if (!this._wanted || this._retry || this._readyState !== "closed") return;
    if (!this.opts.reconnection) return;
    if (this._attempt >= this.opts.reconnectionAttempts) {
      this._stop();
      return this._fire("reconnect_failed");
    }
    const delay = this._hold ?? backoff(this.opts, this._failures++);
    this._attempt++;
    this._retry = setTimeout(() => this._now(), delay);
    this._fire("reconnecting", delay, this._attempt);
  }

  _now() {
    clearTimeout(this._retry);
    this._hold = undefined;
    // The attempt stays planned; `online` makes it.
    if (this._offline) return;
    this._connect();
  }

  /** @param {"online" | "offline" | "visible"} what */
  _noticed(what) {
    if (what === "offline") {
      // What is said of the network says nothing of a server on this machine.
      if (isLoopback(this.opts.url)) return;
      this._offline = true;
      return this.engine?.close("transport close");
    }
    if (what === "online") this._offline = false;
    this.engine?._check();
    if (this._retry && this._hold === undefined) this._now();
  }

  /** A draining server says when to come back. @param {unknown} wait milliseconds */
  retryAfter(wait) {
    if (typeof wait === "number" && wait >= 0) this._hold = Math.min(wait, LONGEST_HOLD);
  }

  /** @param {any} _data a message of the session; manager.js says what it means */
  _message(_data) {}
}
