// The custom element `<nodevent-stream-source>`, which the gem's `nodevent_stream_from` makes: joins a room while it is in
// the page, and renders the Turbo Streams that are published to it. Include it next to the server's script, in any order:
//
//   <nodevent-stream-source room="Discussion_12" key="…" position="…"></nodevent-stream-source>
//
// It dispatches `nodevent-joined`, `nodevent-refused` and `nodevent-gap`, which bubble. After a gap it loads the page
// again, unless the application prevents the event's default, or the page has done it for the same position.

import { installQueue } from "./install-queue.js";
import { RoomElement, attribute } from "./room-element.js";
import { isFirst, refreshOnce } from "./reloads.js";
import { renderStreams } from "./streams.js";
import { identifyTurboRequests } from "./turbo-requests.js";

installQueue();

/** The event whose message is HTML with `<turbo-stream>` elements. */
const EVENT = "turbo-stream";

/** A stream that loads the page again. */
const REFRESH = /<turbo-stream[^>]*\saction=["']?refresh\b/;

export class NoDeventStreamSourceElement extends RoomElement {
  get hint() {
    return "nodevent_stream_from";
  }

  /** @param {string} event @param {any} detail @param {boolean} own @param {string} [position] */
  receive(event, detail, own, position) {
    const room = attribute(this, "room");
    if (own) {
      if (this.announce("nodevent-" + event, detail) && event === "gap") refreshOnce(room, position);
      return;
    }
    // The room may have other events, which are for others.
    if (event !== EVENT || typeof detail !== "string") return;
    // HTML from a cache recovers the same refresh each time.
    if (!REFRESH.test(detail) || isFirst(room, position)) renderStreams(detail, () => refreshOnce(room, position));
  }
}

if (!customElements.get("nodevent-stream-source")) customElements.define("nodevent-stream-source", NoDeventStreamSourceElement);

identifyTurboRequests();
