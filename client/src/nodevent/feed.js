// Owns: delivering the publications of one target to the page's listeners: each event once, in order, with its position
// and gaps. Rooms are feeds that the page joins; `NoDevent.user` and `NoDevent.all` are feeds of their own.

import { call } from "../emitter.js";
import { Listenable } from "./listenable.js";
import { PositionTracker, parse } from "./position-tracker.js";

/** Names of a room's own events. Publications with such an event name only reach `onAny` listeners. */
const OWN_EVENTS = ["join", "leave", "key-expired", "key-refused", "gap"];

/** Events to remember that were published to several targets, of one namespace and across connections. */
const MAX_COPIED = 100;

/** Events: `gap(position)` if publications are lost for good, and the application's events. */
export class Feed extends Listenable {
  /** @param {import("./controller.js").NoDeventController} controller */
  constructor(controller) {
    super();
    this._controller = controller;
    this._tracker = new PositionTracker();
    /** @type {Set<Function>} */
    this._anyListeners = new Set();
  }

  /** The newest position received; undefined without history. */
  get position() {
    return this._tracker._last;
  }

  /** Sets the position of the page's content, so that what was published since is recovered. @param {any} position */
  since(position) {
    if (!this.position && parse(position)) this._tracker._last = position;
    return this;
  }

  /**
   * Calls `fn` with every publication, whatever its event name.
   * @param {(event: string, message: any, publication: any) => void} fn
   * @returns {() => void} removes the listener
   */
  onAny(fn) {
    this._anyListeners.add(fn);
    return () => this._anyListeners.delete(fn);
  }

  /** Whether publications are expected. */
  _isOpen() {
    return true;
  }

  /** Delivers a publication to the listeners, unless another target has delivered a copy. @param {any} publication */
  _deliver(publication) {
    const { event, message, position, publication_id: id } = publication;
    if (!this._isOpen() || !this._advance(position)) return;
    const controller = this._controller;
    if (id) {
      if (controller._copied.includes(id)) return;
      controller._copied = [id, ...controller._copied].slice(0, MAX_COPIED);
    }
    for (const fn of this._anyListeners) call(fn, this, [event, message, publication]);
    if (!OWN_EVENTS.includes(event)) this._fire(event, message);
  }

  /** Records a position, of a publication or of one that this page does not receive. Returns false if it is not new. @param {any} position */
  _advance(position) {
    const isNew = this._tracker._accept(position);
    if (isNew) this._fireGap();
    return isNew;
  }

  /** The server has recovered what was published. @param {any} state @param {string} [since] the position that was sent */
  _onRecovered(state, since) {
    if (state && "recovered" in state) this._tracker._onJoined(state, since);
    this._fireGap();
  }

  _fireGap() {
    if (this._tracker._takeGap()) this._fire("gap", this.position);
  }

  /** The server reports a gap of its own before the next publications. @param {string} position */
  _onGap(position) {
    this._tracker._gapAnnounced = true;
    this._fire("gap", position);
  }

  /** Removes all listeners: the page has finished with it. */
  _destroy() {
    this._tracker = new PositionTracker();
    this.off();
    this._anyListeners.clear();
  }
}
