// The script tag for `io()`: for pages that speak Socket.IO themselves.

import { io } from "./stock/io.js";

/** @type {any} */ (globalThis).io = io;
