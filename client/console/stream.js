// Owns: the list of received publications, newest first. It is bounded, can be filtered and paused, and is drawn once per frame.

import { $, hue, make } from "./dom.js";

/** Maximum number of rows; the oldest are removed. */
const MAX_ROWS = 500;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false });

/** @typedef {{room: string, event: string, message: any, sent?: unknown}} Publication */

export class Stream {
  /** @type {HTMLElement[]} rows to add in the next frame */
  #pending = [];
  #paused = false;
  #count = 0;

  constructor() {
    $("pause").addEventListener("click", () => this.pause());
    $("clear").addEventListener("click", () => this.clear());
    $("filter").addEventListener("input", () => {
      for (const one of $("stream").children) this.#applyFilter(/** @type {HTMLElement} */ (one));
    });
  }

  /** @param {Publication} publication */
  add(publication) {
    $("count").textContent = String(++this.#count);
    this.#pending.push(rowOf(publication));
    if (this.#pending.length > MAX_ROWS) this.#pending.shift();
    if (this.#paused) $("pause").textContent = `Resume (${this.#pending.length})`;
    else if (this.#pending.length === 1) requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    if (this.#paused) return;
    const rows = this.#pending.splice(0).toReversed();
    for (const one of rows) this.#applyFilter(one);
    const stream = $("stream");
    stream.prepend(...rows);
    while (stream.children.length > MAX_ROWS) stream.lastElementChild?.remove();
    $("no-events").hidden = stream.children.length > 0;
  }

  /** @param {HTMLElement} one */
  #applyFilter(one) {
    const wanted = $("filter").value.trim().toLowerCase();
    one.hidden = !!wanted && !one.textContent?.toLowerCase().includes(wanted);
  }

  pause() {
    this.#paused = !this.#paused;
    $("pause").ariaPressed = String(this.#paused);
    $("pause").textContent = this.#paused ? "Resume" : "Pause";
    if (!this.#paused && this.#pending.length) this.#draw();
  }

  clear() {
    this.#pending = [];
    this.#count = 0;
    $("count").textContent = "0";
    $("stream").replaceChildren();
    $("no-events").hidden = false;
  }
}

/** @param {Publication} publication */
function rowOf({ room, event, message, sent }) {
  const now = Date.now();
  const age = typeof sent === "number" ? now - sent : NaN;
  const latency = age >= 0 && age < 3_600_000 ? `${age} ms` : "–";
  const line = message === undefined ? "no message" : typeof message === "string" ? message : JSON.stringify(message);
  const summary = make(
    "summary",
    {},
    make("time", { textContent: clock.format(now) }),
    make("span", { className: "latency", textContent: latency }),
    make("span", { className: "room", textContent: room }),
    make("span", { className: "event", textContent: event }),
    make("code", { textContent: line, className: message === undefined ? "none" : "" }),
  );
  const details = make("details", {}, summary, make("pre", { textContent: JSON.stringify(message, null, 2) ?? "no message" }));
  details.style.setProperty("--hue", String(hue(room)));
  return details;
}
