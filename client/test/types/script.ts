// The globals of the script tag.

import type {} from "nodevent/script";

NoDevent.room("theroom").join().on("update", (message) => message);
Nodevent.connected() satisfies boolean;
window.NoDevent.room("r");
NoDevent.connect?.({ namespace: "/other" });
NoDevent.call("POST", "/comments", { text: "hello" }).then(({ status, headers, body }) => [status satisfies number, headers["content-type"] satisfies string, body satisfies string]);
// @ts-expect-error there is no such method of HTTP here
NoDevent.call("TRACE", "/");
new NoDeventController();
// @ts-expect-error there is no such method
NoDevent.subscribe("theroom");
