// The stock clients: the newest 4, the first 4, and the last 3, 2 and 1. Those of Socket.IO 1 and 2 speak Engine.IO 3.
import { fileURLToPath } from "node:url";
import { io as newest } from "socket.io-client";
import one from "socket.io-client-1";
import two from "socket.io-client-2";
import { io as three } from "socket.io-client-3";
import { io as first } from "socket.io-client-4.0";

const script = (name) => fileURLToPath(new URL(`../node_modules/${name}/dist/socket.io.js`, import.meta.url));

export const clients = [
  { version: "newest 4.x", io: newest, script: script("socket.io-client") },
  { version: "4.0.0", io: first, script: script("socket.io-client-4.0") },
  { version: "3.1.3", io: three, script: script("socket.io-client-3") },
  { version: "2.5.0", io: two, script: script("socket.io-client-2"), old: true },
  { version: "1.7.4", io: one, script: script("socket.io-client-1"), old: true },
];

/** Values of `transports`, with the name of the resulting transport. */
export const transports = [
  { name: "websocket", transports: ["websocket"] },
  { name: "polling", transports: ["polling"] },
  { name: "upgraded", transports: ["polling", "websocket"] },
];

/** Scenarios about features that the clients of Socket.IO 1 and 2 do not have: auth payloads. */
const newer = new Set(["auth", "refusals", "query"]);
/** Scenarios about features that the newer clients do not have. */
const older = new Set(["oldRefusals"]);

/** Whether a client has the features of a scenario. */
export const runs = (client, scenario) => !(client.old ? newer : older).has(scenario);
