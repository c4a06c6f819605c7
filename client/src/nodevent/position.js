// Owns: the text `<epoch>:<offset>` by which a room's history is counted, and what follows from it.

/** @typedef {{epoch: string, offset: number}} Position */

/** @param {unknown} text @returns {Position | undefined} nothing where the text is no position */
export function parse(text) {
  const match = typeof text === "string" && /^(.+):(\d+)$/.exec(text);
  return match ? { epoch: match[1], offset: +match[2] } : undefined;
}

/**
 * What an emission is to someone who has heard up to `last`.
 * @param {Position | undefined} last
 * @param {Position} next
 * @returns {"next" | "seen" | "gap"}
 */
export function compare(last, next) {
  if (!last) return "next";
  if (last.epoch !== next.epoch) return "gap";
  return next.offset <= last.offset ? "seen" : next.offset === last.offset + 1 ? "next" : "gap";
}
