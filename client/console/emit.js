// Owns: the form that publishes over HTTP, like any back end, and its result line.

import { $ } from "./dom.js";

/** @param {import("./connection.js").ConsoleConnection} connection */
export function setUpEmitForm(connection) {
  const result = $("emit-result");
  /** @param {string} text @param {boolean} [bad] */
  const show = (text, bad = false) => {
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
      return show(`The message is not JSON (${/** @type {Error} */ (error).message}). Put text in double quotes.`, true);
    }
    $("emit-message").ariaInvalid = "false";
    // `sent` is an extra member that comes back unchanged. It gives the latency.
    const publication = { room: $("emit-room").value, event: $("emit-event").value, message, sent: Date.now() };
    const times = Math.min(1000, Math.max(1, Math.trunc(Number($("emit-times").value)) || 1));
    const key = $("emit-key").value;
    const namespace = connection.namespace?.name ?? "";
    if (!key && !connection.hasApplication) {
      $("emit-key").focus();
      return show("A page publishes only with a key. Enter the publish_key of the namespace.", true);
    }
    const start = performance.now();
    try {
      const byServer = new URL(`api/${encodeURIComponent(namespace.slice(1))}/emit`, connection.base);
      const response = await fetch(key ? byServer : connection.applicationUrl("emit", namespace), {
        method: "POST",
        headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
        body: JSON.stringify(times === 1 ? publication : Array.from({ length: times }, () => publication)),
      });
      const body = await response.json();
      if (!response.ok) return show([body.error, body.hint].filter(Boolean).join(": "), true);
      show(`${body.accepted} emitted in ${(performance.now() - start).toFixed(1)} ms`);
    } catch (error) {
      show(`Cannot reach the server (${/** @type {Error} */ (error).message}).`, true);
    }
  });
}
