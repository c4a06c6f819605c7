// The globals of the script tag.

import type {} from "nodevent/script";

NoDevent.room("theroom").join().on("update", (message) => message);
Nodevent.connected() satisfies boolean;
window.NoDevent.room("r");
NoDevent.connect?.({ namespace: "/other" });
new NoDeventController();
// @ts-expect-error there is no such method
NoDevent.subscribe("theroom");
