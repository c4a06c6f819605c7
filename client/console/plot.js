// Owns: a minute and a half of traffic: events a second heard by this page, and the server's connections.

import { $ } from "./dom.js";

const SECONDS = 90;

/** The next round number that is not smaller: 1, 2, 3, 4, 5, 6, 8, 10, 20, … @param {number} value */
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
  #heard = 0;
  /** @type {number[]} */
  #events = [];
  /** @type {(number | undefined)[]} */
  #crowd = [];
  /** @type {number | undefined} */
  connections = undefined;

  constructor() {
    setInterval(() => this.#second(), 1000);
  }

  heard() {
    this.#heard++;
  }

  #second() {
    this.#events = [...this.#events, this.#heard].slice(-SECONDS - 1);
    this.#crowd = [...this.#crowd, this.connections].slice(-SECONDS - 1);
    $("rate").textContent = String(this.#heard);
    $("connections").textContent = this.connections === undefined ? "–" : this.connections.toLocaleString();
    const top = ceiling(Math.max(...this.#events));
    const path = line(this.#events, top);
    const first = SECONDS + 1 - this.#events.length;
    $("line").setAttribute("d", path);
    $("area").setAttribute("d", `${path}L${SECONDS} 100L${first} 100Z`);
    $("crowd").setAttribute("d", line(this.#crowd, ceiling(Math.max(1, ...this.#crowd.map((value) => value ?? 0))) * 1.25));
    $("ceiling").textContent = `${top.toLocaleString()} a second`;
    const crowd = this.connections === undefined ? "" : `, ${this.connections} connections`;
    $("plot").setAttribute("aria-label", `${this.#heard} events in the last second${crowd}`);
    this.#heard = 0;
  }
}
