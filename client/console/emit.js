// Owns: the form that publishes over HTTP, as any back end may, and says what came of it.

import { $ } from "./dom.js";

/** @param {import("./link.js").Link} link */
export function emitWith(link) {
  const result = $("emit-result");
  /** @param {string} text @param {boolean} [bad] */
  const say = (text, bad = false) => {
    result.textContent = text;
    result.dataset.state = bad ? "bad" : "good";
  };

  $("emit").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = $("emit-message").value.trim();
    let message;
    try {
      message = text === "" ? undefined : JSON.parse(text);
    } catch (error) {
      $("emit-message").ariaInvalid = "true";
      $("emit-message").focus();
      return say(`The message is not JSON (${/** @type {Error} */ (error).message}). Words go in double quotes.`, true);
    }
    $("emit-message").ariaInvalid = "false";
    // `sent` is a member of ours beside the others: it comes back as it was, and gives the latency.
    const emission = { room: $("emit-room").value, event: $("emit-event").value, message, sent: Date.now() };
    const times = Math.min(1000, Math.max(1, Math.trunc(Number($("emit-times").value)) || 1));
    const key = $("emit-key").value;
    const start = performance.now();
    try {
      const response = await fetch(new URL(`api/${encodeURIComponent(link.namespace?.name.slice(1) ?? "")}/emit`, link.base), {
        method: "POST",
        headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
        body: JSON.stringify(times === 1 ? emission : Array.from({ length: times }, () => emission)),
      });
      const answer = await response.json();
      if (!response.ok) return say(`${answer.error}: ${answer.remedy}`, true);
      say(`${answer.accepted} emitted in ${(performance.now() - start).toFixed(1)} ms`);
    } catch (error) {
      say(`The server cannot be reached (${/** @type {Error} */ (error).message}).`, true);
    }
  });
}
