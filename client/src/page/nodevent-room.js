// The custom element `<nodevent-room>`: joins a room while it is in the page, dispatches its events, and
// leaves when it is removed. Works with Turbo Drive and its cache, and without. Include it next to the
// server's script, in any order:
//
//   <nodevent-room room="Discussion_12" key="…" position="…"> … </nodevent-room>
//
// Events bubble: `nodevent:<event>` for each event of the application with its message as `detail`, and
// `nodevent-joined`, `nodevent-refused` (`detail` is the reason) and `nodevent-gap`.

import { installQueue } from "./install-queue.js";
import { RoomElement } from "./room-element.js";
import { identifyTurboRequests } from "./turbo-requests.js";

installQueue();

export class NoDeventRoomElement extends RoomElement {}

if (!customElements.get("nodevent-room")) customElements.define("nodevent-room", NoDeventRoomElement);

identifyTurboRequests();
