// Owns: the server's description of itself: its namespaces, read at the start, and its connections,
// read every second. The page works without it, with the namespace that the user enters.

/**
 * @typedef {object} About
 * @property {string} [version]
 * @property {number} [connections]
 * @property {boolean} [application] whether the page is served by an application that signs keys and emits for it
 * @property {{name: string, dialect: string, secured?: boolean, history?: boolean}[]} namespaces
 */

/** @param {URL} base @returns {Promise<About | undefined>} */
export async function fetchAbout(base) {
  try {
    const response = await fetch(new URL("console.json", base), { cache: "no-store" });
    return response.ok ? await response.json() : undefined;
  } catch {
    return undefined;
  }
}

/** @param {URL} base @param {(about: About | undefined) => void} onUpdate */
export function watchAbout(base, onUpdate) {
  setInterval(async () => {
    if (!document.hidden) onUpdate(await fetchAbout(base));
  }, 1000);
}
