// Owns: the plot of the last 90 seconds: events per second that this page received, and the server's connections.

import { $ } from "./dom.js";

const SECONDS = 90;

/** The smallest round number that is not less than `value`: 1, 2, 3, 4, 5, 6, 8, 10, 20, … @param {number} value */
export function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value) ?? 1;
}

/** @param {(number | undefined)[]} values @param {number} top */
function line(values, top) {
  let path = "";
  for (const [second, value] of values.entries()) {
    if (value === undefined) continue;
    path += `${path ? "L" : "M"}${second + (SECONDS + 1 - values.length)} ${(98 - (value / top) * 94).toFixed(2)}`;
  }
  return path;
}

export class Plot {
  #received = 0;
  /** @type {number[]} */
  #events = [];
  /** @type {(number | undefined)[]} */
  #connectionCounts = [];
  /** @type {number | undefined} */
  connections = undefined;

  constructor() {
    setInterval(() => this.#second(), 1000);
  }

  count() {
    this.#received++;
  }

  #second() {
    this.#events = [...this.#events, this.#received].slice(-SECONDS - 1);
    this.#connectionCounts = [...this.#connectionCounts, this.connections].slice(-SECONDS - 1);
    $("rate").textContent = String(this.#received);
    $("connections").textContent = this.connections === undefined ? "–" : this.connections.toLocaleString();
    const top = ceiling(Math.max(...this.#events));
    const path = line(this.#events, top);
    const first = SECONDS + 1 - this.#events.length;
    $("line").setAttribute("d", path);
    $("area").setAttribute("d", `${path}L${SECONDS} 100L${first} 100Z`);
    $("crowd").setAttribute("d", line(this.#connectionCounts, ceiling(Math.max(1, ...this.#connectionCounts.map((value) => value ?? 0))) * 1.25));
    $("ceiling").textContent = `${top.toLocaleString()} per second`;
    const suffix = this.connections === undefined ? "" : `, ${this.connections} connections`;
    $("plot").setAttribute("aria-label", `${this.#received} events in the last second${suffix}`);
    this.#received = 0;
  }
}
