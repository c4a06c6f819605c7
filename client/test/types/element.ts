// The custom element.

import { NoDeventRoomElement } from "nodevent/room-element";

const element: NoDeventRoomElement = document.createElement("nodevent-room");
element.addEventListener("nodevent-refused", (event) => event.detail.length);
element.addEventListener("nodevent-joined", (event) => event.detail?.recovered);
// @ts-expect-error the reason is text
element.addEventListener("nodevent-refused", (event) => event.detail.recovered);

import { NoDeventStreamSourceElement } from "nodevent/stream-source";
import "nodevent/queue";

const source: NoDeventStreamSourceElement = document.createElement("nodevent-stream-source");
source.addEventListener("nodevent-gap", (event) => event.preventDefault());
NoDevent.leaveAll().room("r").join();
// @ts-expect-error the file defines the element and exports nothing
new NoDeventStreamSourceElement();
