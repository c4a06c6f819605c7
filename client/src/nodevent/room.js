// Owns: one room of the page: whether the page wants to be in it, its key, its callbacks, its position.
// The controller sends for it and delivers publications to it. It knows no socket.

import { call } from "../emitter.js";
import { Listenable } from "./listenable.js";
import { PositionTracker } from "./position-tracker.js";

const EXPIRED = "Time has passed";

/** Time to wait for the ack of a join before sending it again. Milliseconds. */
const JOIN_TIMEOUT = 10_000;

/** Names of the room's own events. Publications with such an event name only reach `onAny` listeners. */
const ROOM_EVENTS = ["join", "leave", "key-expired", "gap"];

/**
 * Events: `join(err, state)` for every attempt, `leave(err)` with `err` if the page did not ask to leave,
 * `key-expired(room)`, `gap(position)` if publications are lost for good, and the application's events.
 */
export class Room extends Listenable {
  /** @param {string} id @param {import("./controller.js").NoDeventController} controller */
  constructor(id, controller) {
    super();
    this.id = id;
    this._controller = controller;
    /** @type {boolean | undefined} true after `join`, false after `leave`, undefined before either */
    this._wanted = undefined;
    this.joined = false;
    this._tracker = new PositionTracker();
    this._joinSent = false; // on this connection
    this._attempt = 0; // number of joins sent
    this._staleUpTo = 0; // acks of attempts up to this one are ignored
    /** @type {{_fn: Function, _attempt: number}[]} callbacks, with the first attempt whose ack settles them */
    this._joinCallbacks = [];
    /** @type {Set<(err?: unknown) => void>} */
    this._leaveCallbacks = new Set();
    /** @type {Set<Function>} */
    this._anyListeners = new Set();
  }

  /** The newest position received; undefined without history. */
  get position() {
    return this._tracker._last;
  }

  getKey() {
    return this._key;
  }

  /** @param {any} key a key, or a function that receives the room and returns a key or a promise of one */
  setKey(key) {
    this._fetchKey = typeof key === "function" ? key : undefined;
    this._key = this._fetchKey ? undefined : key;
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

  /**
   * Calls `fn` with every publication of the room, whatever its event name.
   * @param {(event: string, message: any, publication: any) => void} fn
   * @returns {() => void} removes the listener
   */
  onAny(fn) {
    this._anyListeners.add(fn);
    return () => this._anyListeners.delete(fn);
  }

  /** Sends a join if the page wants to be in and the socket can send. @param {boolean} [renewKey] */
  async _join(renewKey) {
    if (!this._wanted || !this._controller._canSend()) return;
    this._joinSent = true;
    const attempt = ++this._attempt;
    const fetchKey = this._fetchKey || this._controller._key;
    if (fetchKey && (renewKey || this._key === undefined)) {
      let key;
      try {
        key = await fetchKey(this);
      } catch (error) {
        return this._onJoinResult(attempt, String(error));
      }
      // A later attempt fetches its own key. If the socket cannot send now, the next join uses this one.
      if (attempt !== this._attempt) return;
      this._key = key;
      if (!this._wanted || !this._controller._canSend()) return;
    }
    const since = this.position;
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._join(), JOIN_TIMEOUT);
    this._controller.socket.emit(
      "join",
      { room: this.id, key: this._key ?? undefined, since },
      (/** @type {any} */ err, /** @type {any} */ _ok, /** @type {any} */ state) => {
        if (err === EXPIRED && fetchKey && !renewKey && attempt === this._attempt && this._wanted) this._join(true);
        else this._onJoinResult(attempt, err, state, since);
      },
    );
  }

  /** @param {number} attempt @param {any} err @param {any} [state] @param {string} [since] */
  _onJoinResult(attempt, err, state, since) {
    if (attempt <= this._staleUpTo) return;
    if (attempt === this._attempt) clearTimeout(this._timer);
    if (!err) {
      this.joined = true;
      if (state) this._tracker._onJoined(state, since);
    }
    this._settleJoins(attempt, err, state);
    this._fire("join", err, state);
    if (err === EXPIRED) this._fire("key-expired", this);
    if (!err) this._fireGap();
  }

  _fireGap() {
    if (this._tracker._takeGap()) this._fire("gap", this.position);
  }

  /** @param {number} attempt @param {any} err @param {any} [state] */
  _settleJoins(attempt, err, state) {
    const callbacks = this._joinCallbacks;
    this._joinCallbacks = callbacks.filter((join) => join._attempt > attempt);
    for (const join of callbacks) if (join._attempt <= attempt) call(join._fn, this, [err, state]);
  }

  /** Delivers a publication to the listeners. @param {any} publication */
  _deliver(publication) {
    if (this._wanted === false) return;
    const { event, message, position } = publication;
    if (!this._tracker._accept(position)) return;
    if (this.joined) this._fireGap();
    for (const fn of this._anyListeners) call(fn, this, [event, message, publication]);
    if (!ROOM_EVENTS.includes(event)) this._fire(event, message);
  }

  /** The server reports a gap of its own before the next publications. @param {string} position */
  _onGap(position) {
    if (!this._wanted) return;
    this._tracker._gapAnnounced = true;
    this._fire("gap", position);
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
    this._staleUpTo = this._attempt;
    this._tracker = new PositionTracker();
    this._settleJoins(Infinity, "Left");
  }

  /** Removes all listeners: the page has finished with this room. */
  _destroy() {
    this._reset();
    this.off();
    this._anyListeners.clear();
  }
}
