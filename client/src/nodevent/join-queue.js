// Owns: sending joins: one by one, many in one packet, or paced for a server that does not know joins
// of many rooms. The controller adds joins; their acks go back to the rooms.

import { stopwatch } from "../engine/stopwatch.js";

/** @typedef {{room?: string, broadcast?: boolean, key?: string, since?: string}} Request */
/** @typedef {{_request: Request, _ack: (err: any, ok?: any, state?: any) => void, _onSent: (timeout: number) => void}} Join */

/** Time to wait for the ack of a join before sending it again. Milliseconds. */
const TIMEOUT = 10_000;

/** The same for many joins: the server acknowledges them after the slowest one. Milliseconds. */
const MANY_TIMEOUT = 20_000;

/** More joins than this are sent in one packet. */
const MAX_SINGLE = 10;

/** Maximum length of one packet, a quarter of the server's limit: a character has up to four bytes. */
const MAX_LENGTH = 16 * 1024;

/** Single joins per second; below the server's default limit of 50 per second. */
const PER_SECOND = 40;

/** Single joins in one go; below the server's default limit of 250. */
const BURST = 100;

export class JoinQueue {
  /** @param {(...args: any[]) => void} emit */
  constructor(emit) {
    this._emit = emit;
    /** @type {any} */
    this._timer = undefined;
    /** @type {Join[]} */
    this._joins = [];
    this._credit = BURST;
    this._sinceRefill = stopwatch();
    this._supportsMany = true; // until the server shows otherwise
    this._isUnacknowledged = false; // a packet of many
    this._isHeld = false;
  }

  /** Forgets all joins: the connection was lost. */
  _stop() {
    clearTimeout(this._timer);
    this._timer = undefined;
    this._joins = [];
  }

  /** @param {Join} join */
  _add(join) {
    this._drop(join._request.room);
    this._joins.push(join);
    if (this._isHeld || this._timer) return;
    if (this._takeCredit()) this._sendSingle();
    // The rest of a burst can share a packet.
    else this._timer = setTimeout(() => this._flush(), 0);
  }

  /** Removes a join that is not yet sent. @param {string} [room] none: the one for all connections */
  _drop(room) {
    this._joins = this._joins.filter((join) => join._request.room !== room);
  }

  /** A token bucket: returns whether a single join can be sent now. */
  _takeCredit() {
    this._credit = Math.min(BURST, this._credit + (this._sinceRefill() * PER_SECOND) / 1000);
    this._sinceRefill = stopwatch();
    return this._credit >= 1 && this._credit--;
  }

  /** Collects joins until `_flush`. */
  _hold() {
    this._isHeld = true;
  }

  _flush() {
    this._isHeld = false;
    this._timer = undefined;
    if (this._supportsMany && this._joins.length > MAX_SINGLE) return this._sendMany();
    while (this._joins.length && this._takeCredit()) this._sendSingle();
    if (this._joins.length) this._timer = setTimeout(() => this._flush(), 250);
  }

  _sendSingle() {
    const { _request, _ack, _onSent } = /** @type {Join} */ (this._joins.shift());
    _onSent(TIMEOUT);
    this._emit("join", _request, _ack);
  }

  _sendMany() {
    while (this._joins.length) {
      /** @type {Join[]} */
      const sent = [];
      for (let length = 0; this._joins.length; ) {
        length += JSON.stringify(this._joins[0]._request).length;
        if (sent.length && length > MAX_LENGTH) break;
        sent.push(/** @type {Join} */ (this._joins.shift()));
      }
      for (const join of sent) join._onSent(MANY_TIMEOUT);
      this._isUnacknowledged = true;
      const rooms = sent.map((join) => join._request);
      this._emit("join", { rooms }, (/** @type {any} */ _err, /** @type {any} */ _ok, /** @type {any} */ results) => {
        this._isUnacknowledged = false;
        if (Array.isArray(results) && results.length === sent.length) sent.forEach((join, n) => join._ack(.../** @type {[any]} */ (results[n])));
        else this._sendAgain(sent);
      });
    }
  }

  /** The server does not know joins of many rooms. @param {Join[]} sent */
  _sendAgain(sent) {
    this._supportsMany = false;
    this._joins.push(...sent);
    if (!this._timer) this._flush();
  }

  /** A join had no ack in time. A server that ignores packets of many rooms gets single joins from now on. */
  _onTimeout() {
    if (this._isUnacknowledged) this._supportsMany = false;
  }
}
