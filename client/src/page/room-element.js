// Owns: what the custom elements have in common. An element joins a room while it is in the page, leaves when it is
// removed, and recovers from the position of its content, also if Turbo caches, previews or morphs the page.

import { Membership, isPreview } from "./membership.js";

/** The attributes that say how the join ended. The server's HTML does not have them. */
const STATES = ["joined", "refused"];

/** The value of an attribute, in its short form or in the form of the gem's `nodevent_data`. @param {HTMLElement} element @param {string} name */
export const attribute = (element, name) => element.getAttribute(name) ?? element.getAttribute("data-nodevent-" + name) ?? undefined;

export class RoomElement extends HTMLElement {
  /** @type {Membership | undefined} */
  #membership = undefined;

  static observedAttributes = ["room", "key", "position"].flatMap((name) => [name, "data-nodevent-" + name]);

  /**
   * Turbo morphs a page, or the application changes an attribute: another room, newer content, or another visitor.
   * @param {string} name
   */
  attributeChangedCallback(name) {
    const membership = this.#membership;
    if (!membership) return;
    if (membership.isOver || attribute(this, "room") !== membership.name) {
      this.disconnectedCallback();
      this.connectedCallback();
    } else if (name.endsWith("position")) membership.advance(attribute(this, "position"));
  }

  connectedCallback() {
    const room = attribute(this, "room");
    if (!room) return console.warn(`NoDevent: <${this.localName}> needs the attribute room, for example from ${this.hint}.`);
    if (isPreview()) return;
    for (const state of STATES) this.removeAttribute(state);
    this.#membership = new Membership(
      { room, key: attribute(this, "key"), position: attribute(this, "position"), keyUrl: attribute(this, "key-url") },
      (event, detail, own, position) => this.#receive(event, detail, own, position),
    );
    document.addEventListener("turbo:before-cache", this);
    this.addEventListener("turbo:before-morph-attribute", this);
  }

  disconnectedCallback() {
    document.removeEventListener("turbo:before-cache", this);
    this.#membership?.end();
    this.#membership = undefined;
  }

  /** @param {any} event */
  handleEvent(event) {
    // Turbo is about to cache the page: stores the position, so that a restored page recovers from there.
    if (event.type === "turbo:before-cache") {
      const { position, key, isOver } = this.#membership || {};
      if (isOver) return;
      if (position) this.setAttribute("position", position);
      if (key) this.setAttribute("key", key);
    } else if (event.target === this && STATES.includes(event.detail.attributeName)) event.preventDefault();
  }

  /** @param {string} event @param {any} detail @param {boolean} own @param {string} [position] */
  #receive(event, detail, own, position) {
    // The key in the page may be newer than the one that has expired.
    if (own && event === "refused" && this.#membership?.renew(detail, attribute(this, "key"))) return;
    if (own && event !== "gap") for (const state of STATES) this.toggleAttribute(state, event === state);
    this.receive(event, detail, own, position);
  }

  /** The helper of the gem that makes the attributes. */
  get hint() {
    return "nodevent_data";
  }

  /**
   * @param {string} event the application's, or `joined`, `refused` and `gap` with `own` set
   * @param {any} detail @param {boolean} own
   * @param {string} [_position] of the publication, or the one before the gap
   */
  receive(event, detail, own, _position) {
    this.announce(`nodevent${own ? "-" : ":"}${event}`, detail);
  }

  /** Returns false if the page has prevented the default. @param {string} name @param {any} detail */
  announce(name, detail) {
    return this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, cancelable: name === "nodevent-gap" }));
  }
}
