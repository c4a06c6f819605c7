// Owns: the list of rooms: joining, leaving, the result, and the number of events received.

import { $, hue, make } from "./dom.js";

export class Rooms {
  /** @type {Map<string, {key: string | undefined, row: HTMLElement, state: HTMLElement, count: HTMLElement, received: number}>} */
  #rooms = new Map();

  /** @param {import("./connection.js").ConsoleConnection} connection */
  constructor(connection) {
    this.connection = connection;
    $("join").addEventListener("submit", (event) => {
      event.preventDefault();
      const room = $("join-room").value.trim();
      if (room) this.join(room, $("join-key").value.trim() || undefined);
      $("join-room").value = $("join-key").value = "";
      $("join-room").focus();
    });
  }

  /** Joins the rooms again on a new connection. @param {import("./dialects.js").Dialect} dialect */
  rejoin(dialect) {
    $("join-key-field").hidden = !dialect.keys;
    $("emit-section").hidden = !dialect.emits;
    for (const room of dialect.rooms) if (!this.#rooms.has(room)) this.#add(room, undefined);
    for (const [room, { key }] of this.#rooms) this.#join(room, key);
  }

  /** @param {string} room @param {string | undefined} key */
  join(room, key) {
    this.#add(room, key);
    this.#join(room, key);
    if (!$("emit-room").value) $("emit-room").value = room;
  }

  /** @param {string} room @param {string | undefined} key */
  #join(room, key) {
    this.#show(room, "waiting", "joining");
    this.connection.dialect?.join(room, key, (err) => this.#show(room, err ? "bad" : "good", err ? String(err) : "joined"));
  }

  /** @param {string} room @param {string | undefined} key */
  #add(room, key) {
    const known = this.#rooms.get(room);
    if (known) return void (known.key = key);
    const state = make("span", { className: "state" });
    const count = make("output", { className: "received", textContent: "0" });
    const leave = make("button", { type: "button", textContent: "Leave", ariaLabel: `Leave ${room}` });
    const row = make("li", {}, make("b", { textContent: room, title: room }), state, count, leave);
    row.style.setProperty("--hue", String(hue(room)));
    leave.addEventListener("click", () => this.#leave(room));
    this.#rooms.set(room, { key, row, state, count, received: 0 });
    $("rooms").append(row);
    this.#onListChanged();
  }

  /** @param {string} room */
  #leave(room) {
    this.connection.dialect?.leave(room);
    this.#rooms.get(room)?.row.remove();
    this.#rooms.delete(room);
    this.#onListChanged();
    $("join-room").focus();
  }

  #onListChanged() {
    $("no-rooms").hidden = this.#rooms.size > 0;
    $("joined").replaceChildren(...[...this.#rooms.keys()].map((value) => make("option", { value })));
  }

  /** @param {string} room @param {string} kind @param {string} text */
  #show(room, kind, text) {
    const known = this.#rooms.get(room);
    if (!known) return;
    known.row.dataset.state = kind;
    known.state.textContent = text;
  }

  /** @param {string} room */
  count(room) {
    const known = this.#rooms.get(room);
    if (known) known.count.textContent = String(++known.received);
  }
}
