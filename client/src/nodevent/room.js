// Owns: one room of the page: whether it is wanted, its key, its callbacks, how far it has heard.
// Below: the controller sends for it and hands it what arrives. It knows no socket.

import { call } from "../emitter.js";
import { Listenable } from "./listenable.js";
import { Track } from "./track.js";

const EXPIRED = "Time has passed";

/** How long an answer to a join may take before it is asked again. Milliseconds. */
const PATIENCE = 10_000;

/** Names by which a room speaks of itself; an emission of that name is heard by `onAny` alone. */
const OWN = ["join", "leave", "key-expired", "gap"];

/**
 * Events: `join(err, state)` on every attempt, `leave(err)` with `err` where it was not asked for,
 * `key-expired(room)`, `gap(position)` where emissions were missed for good, and those of the application.
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
    this._track = new Track();
    this._asked = false; // whether this connection carried a join already
    this._attempt = 0; // counts the joins sent
    this._void = 0; // results of attempts up to here mean nothing any more
    /** @type {{_fn: Function, _attempt: number}[]} callbacks and the first attempt that answers them */
    this._joins = [];
    /** @type {Set<(err?: unknown) => void>} */
    this._leaves = new Set();
    /** @type {Set<Function>} */
    this._any = new Set();
  }

  /** The last position heard, where history is on. */
  get position() {
    return this._track._last;
  }

  getKey() {
    return this._key;
  }

  /** @param {any} key a key, or a function of the room that answers one, at once or as a promise */
  setKey(key) {
    this._fetch = typeof key === "function" ? key : undefined;
    this._key = this._fetch ? undefined : key;
    this._join();
    return this;
  }

  /** @param {(err: any, state?: any) => void} [fn] called once, with the next result */
  join(fn) {
    this._wanted = true;
    if (fn) this._joins.push({ _fn: fn, _attempt: this._attempt + 1 });
    this._join();
    return this;
  }

  /** @param {(err?: any) => void} [fn] called once */
  leave(fn) {
    const controller = this._controller;
    const done = (/** @type {unknown} */ err = undefined) => {
      if (!this._leaves.delete(done)) return;
      call(fn, this, [err]);
      this._fire("leave", err);
    };
    this._leaves.add(done);
    this._forget();
    if (controller._ready()) controller.socket.emit("leave", { room: this.id }, done);
    else queueMicrotask(done);
    return this;
  }

  /**
   * Hears every emission of the room, whatever its event is called.
   * @param {(event: string, message: any, emission: any) => void} fn
   * @returns {() => void} takes the listener away
   */
  onAny(fn) {
    this._any.add(fn);
    return () => this._any.delete(fn);
  }

  /** Asks to be in, where it is wanted and there is someone to ask. @param {boolean} [renewed] */
  async _join(renewed) {
    if (!this._wanted || !this._controller._ready()) return;
    this._asked = true;
    const attempt = ++this._attempt;
    const fetch = this._fetch || this._controller._key;
    if (fetch && (renewed || this._key === undefined)) {
      let key;
      try {
        key = await fetch(this);
      } catch (error) {
        return this._result(attempt, String(error));
      }
      // A later attempt asked for itself; where there is nobody to tell now, the key is for the next.
      if (attempt !== this._attempt) return;
      this._key = key;
      if (!this._wanted || !this._controller._ready()) return;
    }
    const since = this.position;
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._join(), PATIENCE);
    this._controller.socket.emit(
      "join",
      { room: this.id, key: this._key ?? undefined, since },
      (/** @type {any} */ err, /** @type {any} */ _ok, /** @type {any} */ state) => {
        if (err === EXPIRED && fetch && !renewed && attempt === this._attempt && this._wanted) this._join(true);
        else this._result(attempt, err, state, since);
      },
    );
  }

  /** @param {number} attempt @param {any} err @param {any} [state] @param {string} [since] */
  _result(attempt, err, state, since) {
    if (attempt <= this._void) return;
    if (attempt === this._attempt) clearTimeout(this._timer);
    if (!err) {
      this.joined = true;
      if (state) this._track._stand(state, since);
    }
    this._answer(attempt, err, state);
    this._fire("join", err, state);
    if (err === EXPIRED) this._fire("key-expired", this);
    if (!err) this._tellGap();
  }

  _tellGap() {
    if (this._track._gap()) this._fire("gap", this.position);
  }

  /** @param {number} attempt @param {any} err @param {any} [state] */
  _answer(attempt, err, state) {
    const joins = this._joins;
    this._joins = joins.filter((join) => join._attempt > attempt);
    for (const join of joins) if (join._attempt <= attempt) call(join._fn, this, [err, state]);
  }

  /** An emission of this room arrived. @param {any} emission */
  _deliver(emission) {
    if (this._wanted === false) return;
    const { event, message, position } = emission;
    if (!this._track._hear(position)) return;
    if (this.joined) this._tellGap();
    for (const fn of this._any) call(fn, this, [event, message, emission]);
    if (!OWN.includes(event)) this._fire(event, message);
  }

  /** The server itself missed emissions: those that follow may begin after a gap. @param {string} position */
  _gap(position) {
    if (!this._wanted) return;
    this._track._expected = true;
    this._fire("gap", position);
  }

  /** The connection is gone. @param {any} [reason] absent where the page itself ended it */
  _lost(reason) {
    const { joined } = this;
    this.joined = false;
    clearTimeout(this._timer);
    for (const done of this._leaves) done();
    if (joined) this._fire("leave", reason);
  }

  /** Out, and of no interest: nobody may be left waiting, and what still comes means nothing. */
  _forget() {
    this._wanted = this.joined = false;
    clearTimeout(this._timer);
    this._void = this._attempt;
    this._track = new Track();
    this._answer(Infinity, "Left");
  }

  /** The page is done with it: nobody is told anything later. */
  _down() {
    this._forget();
    this.off();
    this._any.clear();
  }
}
