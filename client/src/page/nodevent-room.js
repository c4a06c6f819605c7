// The custom element `<nodevent-room>`: joins a room while it is in the page, dispatches its events, and
// leaves when it is removed. Works with Turbo Drive and its cache, and without. Include it next to the
// server's script, in any order:
//
//   <nodevent-room room="Discussion_12" key="…" position="…"> … </nodevent-room>
//
// Events bubble: `nodevent:<event>` for each event of the application with its message as `detail`, and
// `nodevent-joined`, `nodevent-refused` (`detail` is the reason) and `nodevent-gap`.

import { installQueue } from "./install-queue.js";
import { Membership, isPreview } from "./membership.js";
import { identifyTurboRequests } from "./turbo-requests.js";

installQueue();

/** The value of an attribute, in its short form or in the form of the gem's `nodevent_data`. @param {HTMLElement} element @param {string} name */
const attribute = (element, name) => element.getAttribute(name) ?? element.getAttribute("data-nodevent-" + name) ?? undefined;

export class NoDeventRoomElement extends HTMLElement {
  /** @type {Membership | undefined} */
  #membership = undefined;

  static observedAttributes = ["room", "data-nodevent-room", "position", "data-nodevent-position"];

  /** Turbo morphs a page, or the application changes an attribute: another room, or newer content. @param {string} name */
  attributeChangedCallback(name) {
    if (!this.#membership) return;
    if (name.endsWith("position")) return this.#membership.advance(attribute(this, "position"));
    if (attribute(this, "room") === this.#membership.name) return;
    this.disconnectedCallback();
    this.connectedCallback();
  }

  connectedCallback() {
    const room = attribute(this, "room");
    if (!room) return console.warn("NoDevent: <nodevent-room> needs the attribute room, for example from nodevent_data.");
    if (isPreview()) return;
    for (const state of ["joined", "refused"]) this.removeAttribute(state);
    this.#membership = new Membership(
      { room, key: attribute(this, "key"), position: attribute(this, "position"), keyUrl: attribute(this, "key-url") },
      (event, detail, own) => this.#dispatch(event, detail, own),
    );
    document.addEventListener("turbo:before-cache", this);
  }

  disconnectedCallback() {
    document.removeEventListener("turbo:before-cache", this);
    this.#membership?.end();
    this.#membership = undefined;
  }

  /** Turbo is about to cache the page: stores the position, so that a restored page recovers from there. */
  handleEvent() {
    const { position, key } = this.#membership || {};
    if (position) this.setAttribute("position", position);
    if (key) this.setAttribute("key", key);
  }

  /** @param {string} event @param {any} detail @param {boolean} own */
  #dispatch(event, detail, own) {
    if (own && event !== "gap") {
      this.toggleAttribute("joined", event === "joined");
      this.toggleAttribute("refused", event === "refused");
    }
    this.dispatchEvent(new CustomEvent(`nodevent${own ? "-" : ":"}${event}`, { detail, bubbles: true }));
  }
}

if (!customElements.get("nodevent-room")) customElements.define("nodevent-room", NoDeventRoomElement);

identifyTurboRequests();
