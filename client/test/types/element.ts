// The custom element.

import { NoDeventRoomElement } from "nodevent/room-element";

const element: NoDeventRoomElement = document.createElement("nodevent-room");
element.addEventListener("nodevent-refused", (event) => event.detail.length);
element.addEventListener("nodevent-joined", (event) => event.detail?.recovered);
// @ts-expect-error the reason is text
element.addEventListener("nodevent-refused", (event) => event.detail.recovered);
