// Waiting for a condition, with a patience limit. It holds the real timers, so a test that has
// mocked them can still wait for what happens outside of it.

const later = globalThis.setTimeout;
const now = performance.now.bind(performance);

/**
 * @template T
 * @param {() => T | Promise<T>} condition asked again and again until it answers something true
 * @param {string | (() => string)} [what] named in the error; a function tells what came of it
 * @param {number} [patience] milliseconds
 * @returns {Promise<T>}
 */
export async function until(condition, what = String(condition), patience = 15000) {
  const end = now() + patience;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    if (now() > end) throw new Error(`waited ${patience} ms in vain for: ${typeof what === "function" ? what() : what}`);
    await new Promise((resolve) => later(resolve, 5));
  }
}

/** Lets everything run that is ready to: microtasks and the events of this turn. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Records what an emitter says: `heard.connect` is the list of the arguments of each `connect`. */
export function record(emitter, ...events) {
  const heard = Object.fromEntries(events.map((event) => [event, []]));
  for (const event of events) emitter.on(event, (...args) => heard[event].push(args));
  return heard;
}
