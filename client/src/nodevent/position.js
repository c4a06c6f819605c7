// Owns: the text `<epoch>:<offset>` by which a room's history is counted, and what follows from it.

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
