// Owns: how far a room has been heard, by positions `<epoch>:<offset>`, and whether something is
// missing. It neither asks nor tells anybody: room.js does both.

/** @typedef {{epoch: string, offset: number}} Position */

/** @param {unknown} text @returns {Position | undefined} nothing where the text is no position */
export function parse(text) {
  const match = typeof text === "string" && /^(.+):(\d+)$/.exec(text);
  return match ? { epoch: match[1], offset: +match[2] } : undefined;
}

/**
 * How far `next` is after `last`: 1 follows directly, more leaves a gap, 0 or less was heard already.
 * After nothing anything follows; after another epoch nothing does.
 * @param {Position | undefined} last
 * @param {Position} next
 */
export function ahead(last, next) {
  if (!last) return 1;
  return last.epoch === next.epoch ? next.offset - last.offset : Infinity;
}

export class Track {
  constructor() {
    /** @type {string | undefined} the last position heard */
    this._last = undefined;
    this._missed = false; // a gap was seen and not yet told
    this._expected = false; // the server spoke of a gap that is still to be seen
  }

  /** An emission arrived: whether it is to be heard. @param {unknown} position */
  _hear(position) {
    const next = parse(position);
    // What has no position is heard and moves nothing.
    if (!next) return true;
    const by = ahead(parse(this._last), next);
    if (by <= 0) return false;
    // An engine that was set back numbers on a thousand million further; the server tells if that lost something.
    if (by > 1 && (by < 5e8 || by > 1e12) && !this._expected) this._missed = true;
    this._expected = false;
    this._last = /** @type {string} */ (position);
    return true;
  }

  /** A join was answered with where the room stands. @param {any} state @param {string | undefined} since */
  _stand({ position, recovered }, since) {
    if (since !== undefined) {
      // What was missed may still be on its way: then each emission moves the position itself.
      if (recovered !== false) return;
      this._missed = true;
    }
    const next = parse(position);
    if (next && ahead(parse(this._last), next) > 0) this._last = position;
  }

  /** Whether a gap has to be told; it is asked once. */
  _gap() {
    const missed = this._missed;
    this._missed = false;
    return missed;
  }
}
