// Waits for conditions, with a timeout. Holds the real timers, so that tests with mocked timers can
// still wait for events outside the process.

const realSetTimeout = globalThis.setTimeout;
const now = performance.now.bind(performance);

/**
 * @template T
 * @param {() => T | Promise<T>} condition evaluated until it returns something true
 * @param {string | (() => string)} [what] named in the error; a function is called when the time is over
 * @param {number} [timeout] milliseconds
 * @returns {Promise<T>}
 */
export async function until(condition, what = String(condition), timeout = 15000) {
  const end = now() + timeout;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (now() > end) throw new Error(`timed out after ${timeout} ms waiting for: ${typeof what === "function" ? what() : what}`);
    await new Promise((resolve) => realSetTimeout(resolve, 5));
  }
}

/** Lets pending microtasks and the events of this turn run. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Silences `console.warn` for a test; returns the list of its lines. @param {import("node:test").TestContext} t */
export function recordWarnings(t) {
  const lines = [];
  t.mock.method(console, "warn", (line) => lines.push(line));
  return lines;
}

/** Records an emitter's events: `fired.connect` is the list of the arguments of each `connect`. */
export function record(emitter, ...events) {
  const fired = Object.fromEntries(events.map((event) => [event, []]));
  for (const event of events) emitter.on(event, (...args) => fired[event].push(args));
  return fired;
}
