// The custom element `<nodevent-stream-source>`, which the gem's `nodevent_stream_from` makes: joins a room while it is in
// the page, and renders the Turbo Streams that are published to it. Include it next to the server's script, in any order:
//
//   <nodevent-stream-source room="Discussion_12" key="…" position="…"></nodevent-stream-source>
//
// It dispatches `nodevent-joined`, `nodevent-refused` and `nodevent-gap`, which bubble. After a gap it loads the page
// again, unless the application prevents the event's default.

import { installQueue } from "./install-queue.js";
import { RoomElement } from "./room-element.js";
import { refreshPage, renderStreams } from "./streams.js";
import { identifyTurboRequests } from "./turbo-requests.js";

installQueue();

/** The event whose message is HTML with `<turbo-stream>` elements. */
const EVENT = "turbo-stream";

export class NoDeventStreamSourceElement extends RoomElement {
  get hint() {
    return "nodevent_stream_from";
  }

  /** @param {string} event @param {any} detail @param {boolean} own */
  receive(event, detail, own) {
    // The room may have other events, which are for others.
    if (!own) return event === EVENT && typeof detail === "string" && renderStreams(detail);
    if (this.announce("nodevent-" + event, detail) && event === "gap") refreshPage();
  }
}

if (!customElements.get("nodevent-stream-source")) customElements.define("nodevent-stream-source", NoDeventStreamSourceElement);

identifyTurboRequests();
