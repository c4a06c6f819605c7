// The module: everything a page with a bundler, a worker or Node imports. Importing does nothing.

import { connect } from "./nodevent/connect.js";

export { NoDeventController, NoDeventController as Client } from "./nodevent/controller.js";
export { Manager, Socket, io, protocol } from "./stock/io.js";
export { connect };

export const NoDevent = { connect };
export default NoDevent;
