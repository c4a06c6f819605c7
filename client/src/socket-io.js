// The script tag for `io()`: for pages that use Socket.IO directly.

import { io } from "./socket.io-compat/io.js";

/** @type {any} */ (globalThis).io = io;
