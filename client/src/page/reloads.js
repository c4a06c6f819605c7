// Owns: for which positions this tab has loaded the page again. HTML that a cache keeps has the same position each
// time, and would be loaded without end.

import { refreshPage } from "./streams.js";

/** The item of `sessionStorage`. */
const ITEM = "nodevent.reloads";

/** Causes that are remembered. */
const MAX_CAUSES = 50;

/**
 * Remembers that a position of a room is a cause to load the page again; returns false if it was one before. Without
 * storage it always returns false, because then nothing would end a repetition.
 * @param {string | undefined} room @param {string | undefined} position
 */
export function isFirst(room, position) {
  // Without a position in its HTML, a page cannot be as old again.
  if (!position) return true;
  const cause = [location.href, room, position].join(" ");
  try {
    const causes = JSON.parse(sessionStorage.getItem(ITEM) || "[]");
    if (causes.includes(cause)) return false;
    sessionStorage.setItem(ITEM, JSON.stringify([...causes, cause].slice(-MAX_CAUSES)));
    return true;
  } catch {
    return false;
  }
}

/**
 * Loads the page again, once for each position.
 * @param {string | undefined} room @param {string | undefined} position
 */
export function refreshOnce(room, position) {
  if (isFirst(room, position)) return refreshPage();
  const lost = `room ${JSON.stringify(room)} has lost events after ${position}`;
  console.warn(`NoDevent: ${lost}, and the page is not loaded again. Keep its HTML out of caches.`);
}
