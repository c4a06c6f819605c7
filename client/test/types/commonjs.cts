// The same types, for `require`.

import nodevent = require("nodevent");

const controller: nodevent.NoDeventController = new nodevent.Client();
controller.room<{ update: { id: number } }>("r").on("update", ({ id }) => id + 1);
// @ts-expect-error there is no such export
nodevent.nothing;
