// What the clients of the soak test use from npm: it is installed in e2e/action_cable.
import { createRequire } from "node:module";

export const { WebSocket } = createRequire(new URL("../action_cable/package.json", import.meta.url))("ws");
