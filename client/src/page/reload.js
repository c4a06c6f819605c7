// Owns: loading the server's script again if the server was unavailable when the page asked for it. Browsers do
// not repeat a failed script tag, and the queue would wait forever. Only the tag directly after the queue is loaded
// again: a policy with 'strict-dynamic' allows every script that we insert, also one that it has blocked in markup.

import { currentScript } from "../nodevent/document.js";

/** The delay after the first failure, and the maximum; it doubles with each failure. Milliseconds. */
const [FIRST_DELAY, MAX_DELAY] = [1000, 60_000];

/** A copy of a script tag: a browser runs each element once. @param {HTMLScriptElement} script */
function copyOf(script) {
  const copy = document.createElement("script");
  for (const { name, value } of script.attributes) copy.setAttribute(name, value);
  // Browsers hide the attribute.
  copy.nonce = script.nonce;
  return copy;
}

/** Loads the `<script data-nodevent>` that follows the running script again after a failure. */
export function reloadNextScript() {
  const own = currentScript();
  if (!own) return;
  let delay = FIRST_DELAY;
  // The events of elements that fail to load do not bubble.
  globalThis.addEventListener(
    "error",
    ({ target }) => {
      const script = /** @type {any} */ (target);
      if (script.previousElementSibling !== own || !script.matches("script[data-nodevent]")) return;
      if (delay === FIRST_DELAY) console.warn(`NoDevent: ${script.src} cannot be loaded. Start the server, and allow it in script-src. Retrying.`);
      setTimeout(() => script.replaceWith(copyOf(script)), delay * (0.5 + Math.random() / 2));
      delay = Math.min(MAX_DELAY, 2 * delay);
    },
    true,
  );
}
