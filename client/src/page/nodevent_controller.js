// A Stimulus controller that does what `<nodevent-room>` does, for any element. Register it as `nodevent`:
//
//   <ul data-controller="nodevent comments" data-nodevent-room-value="Discussion_12"
//       data-nodevent-key-value="…" data-nodevent-position-value="…"
//       data-action="nodevent:create->comments#append nodevent-gap->comments#reload"> … </ul>
//
// Dispatches each event of the application as `nodevent:<event>` with its message as `detail`, and
// `nodevent-joined`, `nodevent-refused` and `nodevent-gap`.

import { Controller } from "@hotwired/stimulus";
import { installQueue } from "./install-queue.js";
import { Membership, isPreview } from "./membership.js";
import { identifyTurboRequests } from "./turbo-requests.js";

installQueue();
identifyTurboRequests();

export default class extends Controller {
  static values = { room: String, key: String, position: String, keyUrl: String };

  connect() {
    if (isPreview()) return;
    const { roomValue: room, keyValue: key, positionValue: position, keyUrlValue: keyUrl } = /** @type {any} */ (this);
    this.membership = new Membership({ room, key, position, keyUrl }, (event, detail, own) =>
      own ? this.dispatch("nodevent-" + event, { detail, prefix: "" }) : this.dispatch(event, { detail }),
    );
    document.addEventListener("turbo:before-cache", this);
  }

  disconnect() {
    document.removeEventListener("turbo:before-cache", this);
    this.membership?.end();
    this.membership = undefined;
  }

  /** Turbo morphs a page, or the application changes a value: another room, or newer content. */
  roomValueChanged() {
    if (!this.membership) return;
    if (!this.membership.isOver && this.membership.name === /** @type {any} */ (this).roomValue) return;
    this.disconnect();
    this.connect();
  }

  keyValueChanged() {
    if (this.membership?.isOver) this.roomValueChanged();
  }

  positionValueChanged() {
    this.keyValueChanged();
    this.membership?.advance(/** @type {any} */ (this).positionValue);
  }

  /** An action for a sign-out: `data-action="nodevent#leaveAll"`. */
  leaveAll() {
    /** @type {any} */ (globalThis).NoDevent.leaveAll();
  }

  /** Turbo is about to cache the page: stores the position, so that a restored page recovers from there. */
  handleEvent() {
    const { position, key, isOver } = this.membership || {};
    if (isOver) return;
    if (position) /** @type {any} */ (this).positionValue = position;
    if (key) /** @type {any} */ (this).keyValue = key;
  }
}
