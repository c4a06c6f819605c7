// The module for pages with a bundler, workers and Node. Importing it has no side effects.

import { connect } from "./nodevent/connect.js";

export { NoDeventController, NoDeventController as Client } from "./nodevent/controller.js";
export { Manager, Socket, io, protocol } from "./socket.io-compat/io.js";
export { connect };

export const NoDevent = { connect };
export default NoDevent;
