// The stock clients: the newest 4, the first 4, and the last 3.
import { fileURLToPath } from "node:url";
import { io as newest } from "socket.io-client";
import { io as three } from "socket.io-client-3";
import { io as first } from "socket.io-client-4.0";

const script = (name) => fileURLToPath(new URL(`../node_modules/${name}/dist/socket.io.js`, import.meta.url));

export const clients = [
  { version: "newest 4.x", io: newest, script: script("socket.io-client") },
  { version: "4.0.0", io: first, script: script("socket.io-client-4.0") },
  { version: "3.1.3", io: three, script: script("socket.io-client-3") },
];

/** Values of `transports`, with the name of the resulting transport. */
export const transports = [
  { name: "websocket", transports: ["websocket"] },
  { name: "polling", transports: ["polling"] },
  { name: "upgraded", transports: ["polling", "websocket"] },
];
