// Owns: the connection to one server across sessions: when to connect, how long to wait, which
// transport to try first. Knows nothing of Socket.IO packets or namespaces: it passes messages and
// events to its owner, socket/manager.js.

import { isLoopback } from "./address.js";
import { watchEnvironment } from "./network-events.js";
import { Session } from "./session.js";
import { stopwatch } from "./stopwatch.js";

/** Upper limit of the delay a draining server can request, so that a wrong number cannot disable a page. Milliseconds. */
const MAX_SERVER_DELAY = 5 * 60 * 1000;

/**
 * Full jitter: a random delay between zero and a ceiling that doubles with each failure. It spreads
 * out the reconnects of pages that lost the same server at the same time.
 * @param {{reconnectionDelay: number, reconnectionDelayMax: number, randomizationFactor: number}} options
 * @param {number} failures number of consecutive attempts that failed or did not last
 */
export function backoff(options, failures, random = Math.random) {
  const ceiling = Math.min(options.reconnectionDelayMax, options.reconnectionDelay * 2 ** failures);
  return ceiling * (1 - options.randomizationFactor * random());
}

/**
 * What a connection reports to its owner. Events: `trying(transport)`, `open`, `close(reason, details)`,
 * `error(err)`, `reconnecting(delay, attempt)`, `reconnect_attempt(attempt)`, `reconnect(attempt)`,
 * `reconnect_failed`.
 * @typedef {object} Owner
 * @property {(event: string, ...args: any[]) => unknown} _onConnectionEvent
 * @property {(data: any) => void} _onMessage
 */

export class Connection {
  /** @param {any} options @param {Owner} owner */
  constructor(options, owner) {
    this._options = options;
    this._owner = owner;
    /** @type {Session | undefined} */
    this._session = undefined;
    this._wanted = false;
    /** @type {(() => void) | undefined} */
    this._unwatch = undefined;
    this._attempt = 0;
    this._failures = 0;
    this._openFor = stopwatch(); // since the last session opened
    /** @type {string | undefined} the transport that carried the last session */
    this._lastTransport = undefined;
  }

  get _readyState() {
    return this._session?.readyState || "closed";
  }

  /** @param {string} event @param {any[]} args */
  _report(event, ...args) {
    this._owner._onConnectionEvent(event, ...args);
  }

  _start() {
    this._wanted = true;
    this._unwatch ||= watchEnvironment((change) => this._onEnvironment(change));
    if (this._readyState === "closed" && !this._retryTimer) this._connect();
  }

  _stop() {
    this._wanted = false;
    this._attempt = this._failures = 0;
    this._unwatch?.();
    clearTimeout(this._retryTimer);
    this._unwatch = this._retryTimer = undefined;
    this._serverDelay = undefined;
    this._session?.close();
  }

  _connect() {
    clearTimeout(this._retryTimer);
    this._retryTimer = undefined;
    this._serverDelay = undefined;
    if (this._attempt) this._report("reconnect_attempt", this._attempt);
    const { transports } = this._options;
    const session = new Session(this._options, [...new Set([this._lastTransport || transports[0], ...transports])]);
    this._session = session;
    const remember = () => (this._lastTransport = session.transport.name);
    session
      .on("trying", (/** @type {string} */ name) => this._report("trying", name))
      .on("upgrade", remember)
      .on("message", (/** @type {any} */ data) => this._owner._onMessage(data))
      .on("open", () => {
        remember();
        this._openFor = stopwatch();
        const attempt = this._attempt;
        this._attempt = 0;
        this._report("open");
        if (attempt) this._report("reconnect", attempt);
      })
      .on("close", (/** @type {string} */ reason, /** @type {any} */ details) => {
        if (session.id) this._onSessionLost(reason, details);
        else this._onAttemptFailed(reason, details);
      });
  }

  /** @param {string} reason @param {any} details */
  _onSessionLost(reason, details) {
    // Back off from a server that accepts connections and drops them immediately.
    if (this._openFor() > this._options.reconnectionDelayMax) this._failures = 0;
    this._report("close", reason, details);
    this._scheduleRetry();
  }

  /** @param {string} reason @param {any} details */
  _onAttemptFailed(reason, details) {
    if (!this._wanted) return;
    this._report("error", Object.assign(Error(reason), details));
    this._scheduleRetry();
  }

  /** Schedules the next attempt, unless one is scheduled or running or none is allowed. */
  _scheduleRetry() {
    if (!this._wanted || this._retryTimer || this._readyState !== "closed") return;
    const { reconnection, reconnectionAttempts } = this._options;
    if (!reconnection) return;
    if (this._attempt >= reconnectionAttempts) {
      this._stop();
      return this._report("reconnect_failed");
    }
    const delay = this._serverDelay ?? backoff(this._options, this._failures++);
    this._attempt++;
    this._retryTimer = setTimeout(() => this._connect(), delay);
    this._report("reconnecting", delay, this._attempt);
  }

  /** @param {"online" | "offline" | "visible"} change */
  _onEnvironment(change) {
    // These events only speed things up: browsers do not fire all of them reliably.
    if (change !== "offline") {
      this._session?._checkDeadline();
      if (this._retryTimer && this._serverDelay === undefined) this._connect();
    } else if (!isLoopback(this._options.url)) this._session?.close("transport close");
  }

  /** Sets the delay before the next attempt, also if one is scheduled. @param {unknown} delay milliseconds */
  _retryAfter(delay) {
    if (!(typeof delay === "number" && delay >= 0)) return;
    this._serverDelay = Math.min(delay, MAX_SERVER_DELAY);
    if (!this._retryTimer) return;
    clearTimeout(this._retryTimer);
    this._retryTimer = setTimeout(() => this._connect(), this._serverDelay);
  }
}
