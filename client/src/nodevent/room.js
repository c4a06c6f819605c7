// Owns: one room of the page: whether the page wants to be in it, its key and its callbacks. What it receives is in feed.js.
// The controller sends for it and delivers publications to it. It knows no socket.

import { call } from "../emitter.js";
import { stopwatch } from "../engine/stopwatch.js";
import { Feed } from "./feed.js";
import { KeyError, expiryOf, keyFrom } from "./keys.js";
import { FIXES, warn } from "./log.js";
import { PositionTracker } from "./position-tracker.js";
import { MAX_RETRY_DELAY, Renewal, retryDelay } from "./renewal.js";

const EXPIRED = "Time has passed";
const TOO_FAST = "Too many joins";

/** After a membership that ends sooner than this after the last one, the next join waits. Milliseconds. */
const SOON = 2 * MAX_RETRY_DELAY;

/**
 * Events: `join(err, state)` for every attempt, `leave(err)` with `err` if the page did not ask to leave,
 * `key-expired(room)`, `key-refused(reason)`, `gap(position)` if publications are lost for good, and the
 * application's events.
 */
export class Room extends Feed {
  /** @param {string} id @param {import("./controller.js").NoDeventController} controller */
  constructor(id, controller) {
    super(controller);
    this.id = id;
    /** @type {boolean | undefined} true after `join`, false after `leave`, undefined before either */
    this._wanted = undefined;
    this.joined = false;
    this._joinSent = false; // on this connection
    this._attempt = 0; // number of joins sent
    this._staleUpTo = 0; // acks of attempts up to this one are ignored
    this._failures = 0; // number of consecutive temporary failures
    this._ends = 0; // number of memberships that have ended soon after the one before
    this._sinceEnd = () => Infinity;
    this._renewal = new Renewal(() => this._renew());
    this._logged = ""; // the refusals that were logged
    /** @type {{_fn: Function, _attempt: number}[]} callbacks, with the first attempt whose ack settles them */
    this._joinCallbacks = [];
    /** @type {Set<(err?: unknown) => void>} */
    this._leaveCallbacks = new Set();
  }

  getKey() {
    return this._key;
  }

  /**
   * @param {any} key a key, or a function that receives the room and returns a key or a promise of one
   * @param {any} [source] where the next key comes from: such a function, or the URL of the application's endpoint
   */
  setKey(key, source) {
    if (typeof key === "function") [key, source] = [undefined, key];
    this._source = source && typeof source === "string" ? keyFrom(source) : source;
    this._renewal._reset();
    this._useKey(key);
    this._join();
    return this;
  }

  /** @param {(err: any, state?: any) => void} [fn] called with the next result */
  join(fn) {
    this._wanted = true;
    if (fn) this._joinCallbacks.push({ _fn: fn, _attempt: this._attempt + 1 });
    this._join();
    return this;
  }

  /** @param {(err?: any) => void} [fn] called when the room is left */
  leave(fn) {
    const controller = this._controller;
    const done = (/** @type {unknown} */ err = undefined) => {
      if (!this._leaveCallbacks.delete(done)) return;
      call(fn, this, [err]);
      this._fire("leave", err);
    };
    this._leaveCallbacks.add(done);
    this._reset();
    if (controller._canSend()) controller.socket.emit("leave", { room: this.id }, done);
    else queueMicrotask(done);
    return this;
  }

  /** Who is in the room, which this page has joined. @returns {Promise<any>} */
  async presence() {
    if (!this.joined || !this._controller._canSend()) throw Error("Not a member");
    return this._controller._calls._request("presence", { room: this.id });
  }

  /** Stores a key and schedules its renewal. @param {any} key */
  _useKey(key) {
    this._key = key;
    this._renewal._stop();
    const end = expiryOf(key) || 0;
    const left = end - Date.now();
    if (left > 0) this._renewal._start(left, end);
  }


  /** Joins again with a new key before the present one expires. */
  async _renew() {
    const source = this._source || this._controller._source;
    if (!source || !this._wanted) return;
    const key = this._key;
    try {
      const next = await source(this);
      if (key !== this._key || !this._wanted || next === key) return;
      this._useKey(next);
      this._join();
    } catch (error) {
      if (key !== this._key || !this._wanted) return;
      if (!this._isRefused(error)) this._renewal._retry();
    }
  }

  /** Reports the error of a key source; returns false if it is temporary. @param {any} error */
  _isRefused(error) {
    const isTemporary = !!error?._isTemporary;
    const isRefused = error instanceof KeyError && !isTemporary;
    this._warn(error, isTemporary ? "The client retries." : isRefused && "Sign in. See NoDevent.authorize.");
    if (isRefused) this._fire("key-refused", error.message);
    return !isTemporary;
  }

  /** Logs a refusal, one line for each cause; the next one after a success. @param {any} reason @param {any} [fix] */
  _warn(reason, fix) {
    const text = String(reason).replace(/^Error: /, "");
    if (this._logged.includes(text)) return;
    this._logged += text;
    warn(`room ${JSON.stringify(this.id)} refused: ${text}. ${fix || ""}`);
  }

  /** Sends a join if the page wants to be in and the socket can send. @param {boolean} [renewKey] */
  async _join(renewKey) {
    if (!this._wanted || !this._controller._canSend()) return;
    this._joinSent = true;
    const attempt = ++this._attempt;
    const source = this._source || this._controller._source;
    if (source && (renewKey || this._key === undefined)) {
      let key;
      try {
        key = await source(this);
      } catch (error) {
        if (attempt !== this._attempt) return;
        return this._onJoinResult(attempt, String(error), undefined, undefined, !this._isRefused(error));
      }
      // A later attempt fetches its own key. If the socket cannot send now, the next join uses this one.
      if (attempt !== this._attempt) return;
      this._useKey(key);
      if (!this._wanted || !this._controller._canSend()) return;
    }
    const since = this.position;
    this._controller._joins._add({
      _request: { room: this.id, key: this._key ?? undefined, since },
      _onSent: (timeout) =>
        this._setTimer(timeout, () => {
          this._controller._joins._onTimeout();
          this._join();
        }),
      _ack: (err, _ok, state) => {
        if (err === EXPIRED && source && !renewKey && attempt === this._attempt && this._wanted) this._join(true);
        else this._onJoinResult(attempt, err, state, since);
      },
    });
  }

  /** Sends the join again after a delay. @param {number} delay milliseconds @param {() => void} [join] */
  _setTimer(delay, join = () => this._join()) {
    clearTimeout(this._timer);
    this._timer = setTimeout(join, delay);
  }

  /** The membership was revoked, or its key has expired. Joins again once, with a new key if the page has a source of keys. @param {string} reason */
  _onEnded(reason) {
    this.joined = false;
    this._fire("leave", reason);
    // Keys that end as soon as they are used must not cause requests without a pause.
    this._ends = this._sinceEnd() < SOON ? this._ends + 1 : 0;
    this._sinceEnd = stopwatch();
    if (this._ends) this._setTimer(retryDelay(this._ends - 1), () => this._join(true));
    else this._join(true);
  }

  /** The application has unsubscribed the page. What is published until it subscribes it again is not missing. */
  _onUnsubscribed() {
    if (!this._wanted) this._tracker = new PositionTracker();
    this._onEnded("unsubscribed");
  }

  /** The page's token has joined the room. @param {any} joined */
  _onJoinedByToken({ error, ...state }) {
    if (this._wanted !== false) this._onJoinResult(Math.max(this._attempt, this._staleUpTo + 1), error ?? null, "recovered" in state ? state : undefined, this.position);
  }

  /** @param {number} attempt @param {any} err @param {any} [state] @param {string} [since] */
  _onJoinResult(attempt, err, state, since, isTemporary = err === TOO_FAST) {
    if (attempt <= this._staleUpTo) return;
    const isLast = attempt === this._attempt;
    if (err) this._warn(err, FIXES[err]);
    else {
      this.joined = true;
      this._logged = "";
      this._failures = 0;
      if (state) this._tracker._onJoined(state, since);
    }
    if (isLast && isTemporary) this._setTimer(retryDelay(this._failures++));
    else {
      if (isLast) clearTimeout(this._timer);
      this._settleJoins(attempt, err, state);
    }
    this._fire("join", err, state);
    if (err === EXPIRED) this._fire("key-expired", this);
    if (!err) this._fireGap();
  }

  /** @param {number} attempt @param {any} err @param {any} [state] */
  _settleJoins(attempt, err, state) {
    const callbacks = this._joinCallbacks;
    this._joinCallbacks = callbacks.filter((join) => join._attempt > attempt);
    for (const join of callbacks) if (join._attempt <= attempt) call(join._fn, this, [err, state]);
  }

  _isOpen() {
    return this._wanted !== false;
  }

  /** A gap that is found before the join is complete is reported after it. */
  _fireGap() {
    if (this.joined) super._fireGap();
  }

  /** @param {string} position */
  _onGap(position) {
    if (this._wanted || this.joined) super._onGap(position);
  }

  /** The connection was lost. @param {any} [reason] absent if the page itself ended it */
  _onDisconnect(reason) {
    const { joined } = this;
    this.joined = false;
    clearTimeout(this._timer);
    for (const done of this._leaveCallbacks) done();
    if (joined) this._fire("leave", reason);
  }

  /** Marks the room as left: settles pending joins and ignores acks that are still to come. */
  _reset() {
    this._wanted = this.joined = false;
    clearTimeout(this._timer);
    this._renewal._stop();
    this._controller._joins._drop(this.id);
    this._staleUpTo = this._attempt;
    this._tracker = new PositionTracker();
    this._settleJoins(Infinity, "Left");
  }

  /** The visitor has left: keys that were requested before are not used. */
  _forget() {
    this._attempt++;
    this.leave().setKey(undefined);
  }

  _destroy() {
    this._reset();
    super._destroy();
  }
}
