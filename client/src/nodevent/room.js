// Owns: one room of the page: whether it is wanted, its key, its callbacks, how far it has heard.
// Below: the controller sends for it and hands it what arrives. It knows no socket.

import { call } from "../emitter.js";
import { Listenable } from "./listenable.js";
import { ahead, parse } from "./position.js";

const EXPIRED = "Time has passed";

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
    /** @type {string | undefined} the last position heard */
    this.position = undefined;
    this._asked = false; // whether this connection carried a join already
    this._attempt = 0; // counts the joins sent
    this._void = 0; // results of attempts up to here mean nothing any more
    this._missed = false; // a gap was seen and not yet told
    /** @type {{_fn: Function, _attempt: number}[]} callbacks and the first attempt that answers them */
    this._joins = [];
    /** @type {Set<(err?: unknown) => void>} */
    this._leaves = new Set();
    /** @type {Set<Function>} */
    this._any = new Set();
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
    this._wanted = this.joined = this._missed = false;
    this._void = this._attempt;
    this.position = undefined;
    this._answer(Infinity, "Left");
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
    if (!err) {
      this.joined = true;
      if (state) this._stand(state, since);
    }
    this._answer(attempt, err, state);
    this._fire("join", err, state);
    if (err === EXPIRED) this._fire("key-expired", this);
    if (!err) this._tellGap();
  }

  _tellGap() {
    if (!this._missed) return;
    this._missed = false;
    this._fire("gap", this.position);
  }

  /** Where the server says the room stands. @param {any} state @param {string | undefined} since */
  _stand({ position, recovered }, since) {
    const lost = since !== undefined && recovered === false;
    if (lost) this._missed = true;
    // What was missed may still be on its way: then each emission moves the position itself.
    if (since !== undefined && !lost) return;
    const next = parse(position);
    if (next && ahead(parse(this.position), next) > 0) this.position = position;
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
    const next = parse(position);
    if (next) {
      const by = ahead(parse(this.position), next);
      if (by <= 0) return;
      this.position = position;
      if (by > 1) this._missed = true;
      if (this.joined) this._tellGap();
    }
    for (const fn of this._any) call(fn, this, [event, message, emission]);
    if (!OWN.includes(event)) this._fire(event, message);
  }

  /** The connection is gone. @param {any} [reason] absent where the page itself ended it */
  _lost(reason) {
    const { joined } = this;
    this.joined = false;
    for (const done of this._leaves) done();
    if (joined) this._fire("leave", reason);
  }

  /** The page is done with it: nobody may be left waiting, nobody is told anything later. */
  _down() {
    this._wanted = false;
    this._void = this._attempt;
    this._answer(Infinity, "Left");
    this.off();
    this._any.clear();
  }
}
