// Owns: the list of rooms: joining, leaving, what came of it, how much each has heard.

import { $, hue, make } from "./dom.js";

export class Rooms {
  /** @type {Map<string, {key: string | undefined, row: HTMLElement, state: HTMLElement, count: HTMLElement, heard: number}>} */
  #rooms = new Map();

  /** @param {import("./link.js").Link} link */
  constructor(link) {
    this.link = link;
    $("join").addEventListener("submit", (event) => {
      event.preventDefault();
      const room = $("join-room").value.trim();
      if (room) this.join(room, $("join-key").value.trim() || undefined);
      $("join-room").value = $("join-key").value = "";
      $("join-room").focus();
    });
  }

  /** Another connection: the rooms are wanted there too. @param {import("./dialects.js").Dialect} dialect */
  moved(dialect) {
    $("join-key-field").hidden = !dialect.keys;
    $("emit-section").hidden = !dialect.emits;
    for (const room of dialect.rooms) if (!this.#rooms.has(room)) this.#add(room, undefined);
    for (const [room, { key }] of this.#rooms) this.#ask(room, key);
  }

  /** @param {string} room @param {string | undefined} key */
  join(room, key) {
    this.#add(room, key);
    this.#ask(room, key);
    if (!$("emit-room").value) $("emit-room").value = room;
  }

  /** @param {string} room @param {string | undefined} key */
  #ask(room, key) {
    this.#say(room, "waiting", "joining");
    this.link.dialect?.join(room, key, (err) => this.#say(room, err ? "bad" : "good", err ? String(err) : "joined"));
  }

  /** @param {string} room @param {string | undefined} key */
  #add(room, key) {
    const known = this.#rooms.get(room);
    if (known) return void (known.key = key);
    const state = make("span", { className: "state" });
    const count = make("output", { className: "heard", textContent: "0" });
    const leave = make("button", { type: "button", textContent: "Leave", ariaLabel: `Leave ${room}` });
    const row = make("li", {}, make("b", { textContent: room, title: room }), state, count, leave);
    row.style.setProperty("--hue", String(hue(room)));
    leave.addEventListener("click", () => this.#leave(room));
    this.#rooms.set(room, { key, row, state, count, heard: 0 });
    $("rooms").append(row);
    this.#listed();
  }

  /** @param {string} room */
  #leave(room) {
    this.link.dialect?.leave(room);
    this.#rooms.get(room)?.row.remove();
    this.#rooms.delete(room);
    this.#listed();
    $("join-room").focus();
  }

  #listed() {
    $("no-rooms").hidden = this.#rooms.size > 0;
    $("joined").replaceChildren(...[...this.#rooms.keys()].map((value) => make("option", { value })));
  }

  /** @param {string} room @param {string} kind @param {string} text */
  #say(room, kind, text) {
    const known = this.#rooms.get(room);
    if (!known) return;
    known.row.dataset.state = kind;
    known.state.textContent = text;
  }

  /** @param {string} room */
  heard(room) {
    const known = this.#rooms.get(room);
    if (known) known.count.textContent = String(++known.heard);
  }
}
