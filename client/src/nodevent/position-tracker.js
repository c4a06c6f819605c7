// Owns: the newest position (`<epoch>:<offset>`) received in a room, and whether publications are
// missing before it. Sends and notifies nothing: room.js does both.

/** @typedef {{epoch: string, offset: number}} Position */

/**
 * What an engine adds to a room's offset when its Redis restarted or another one took its place
 * (protocol/README.md, section 6).
 */
export const OFFSET_JUMP = 1e9;

/**
 * The distances that count as offset jumps. The minimum is half a jump: the new Redis may lack the
 * newest publications of the old one. The maximum is a thousand jumps, all while this page was disconnected.
 */
export const MIN_JUMP_DISTANCE = OFFSET_JUMP / 2;
export const MAX_JUMP_DISTANCE = OFFSET_JUMP * 1000;

/** @param {unknown} text @returns {Position | undefined} undefined if the text is not a position */
export function parse(text) {
  const match = typeof text === "string" && /^(.+):(\d+)$/.exec(text);
  return match ? { epoch: match[1], offset: +match[2] } : undefined;
}

/**
 * Whether a position is that of a room without publications, which does not exist for the engine
 * (protocol/README.md, section 6).
 * @param {Position} position
 */
const isAbsent = ({ epoch }) => /^[89a-f][\da-f]{15}$/.test(epoch);

/**
 * The distance from `last` to `next`. 1: `next` follows directly; more: publications are missing in
 * between; 0 or less: `next` was received before. Without a `last` it is 1; to another epoch it is infinite,
 * except to the publications of a room that had none.
 * @param {Position | undefined} last
 * @param {Position} next
 */
export function distance(last, next) {
  if (!last) return 1;
  if (isAbsent(last) && !isAbsent(next)) return next.offset;
  return last.epoch === next.epoch ? next.offset - last.offset : Infinity;
}

/** True if publications are missing. An offset jump is not a gap: if it lost anything, the server sends `lost`. @param {number} by */
export const isGap = (by) => by > 1 && (by < MIN_JUMP_DISTANCE || by > MAX_JUMP_DISTANCE);

export class PositionTracker {
  constructor() {
    /** @type {string | undefined} the newest position received */
    this._last = undefined;
    this._hasGap = false; // a gap was found and is not yet reported
    this._gapAnnounced = false; // the server announced a gap that the next publication will show
  }

  /** Records a publication; returns false if it was received before. @param {unknown} position */
  _accept(position) {
    const next = parse(position);
    // Publications without a position are always new and change nothing.
    if (!next) return true;
    const by = distance(parse(this._last), next);
    if (by <= 0) return false;
    if (isGap(by) && !this._gapAnnounced) this._hasGap = true;
    this._gapAnnounced = false;
    this._last = /** @type {string} */ (position);
    return true;
  }

  /** Records the room's position from a join. @param {any} state @param {string | undefined} since the position that was sent with the join */
  _onJoined({ position, recovered }, since) {
    if (since === undefined) {
      // The page has set a position since the join was sent: the next join recovers from there.
      if (this._last) return;
    } else {
      // Recovered publications may arrive after the ack; each of them moves the position itself.
      if (recovered !== false) return;
      this._hasGap = true;
    }
    const next = parse(position);
    // A position from the page may be ahead of the room: unless a publication replaced it, the server's counts.
    if (next && (this._last === since || distance(parse(this._last), next) > 0)) this._last = position;
  }

  /** Returns whether there is a gap to report, and marks it as reported. */
  _takeGap() {
    const hasGap = this._hasGap;
    this._hasGap = false;
    return hasGap;
  }
}
