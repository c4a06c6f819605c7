// Owns: what the server tells of itself: its namespaces, once, and its connections, every second.
// Where it tells nothing the page works all the same, with the namespace one names.

/**
 * @typedef {object} About
 * @property {string} [version]
 * @property {number} [connections]
 * @property {{name: string, dialect: string, secured?: boolean, history?: boolean}[]} namespaces
 */

/** @param {URL} base @returns {Promise<About | undefined>} */
export async function ask(base) {
  try {
    const response = await fetch(new URL("console.json", base), { cache: "no-store" });
    return response.ok ? await response.json() : undefined;
  } catch {
    return undefined;
  }
}

/** @param {URL} base @param {(about: About | undefined) => void} tell */
export function follow(base, tell) {
  setInterval(async () => {
    if (!document.hidden) tell(await ask(base));
  }, 1000);
}
