// Owns: the one connection of the page: its namespace, its state, its round trip. What is spoken
// over it is the dialects' business (dialects.js).

import { io } from "../src/stock/io.js";
import { dialectOf } from "./dialects.js";
import { Emitter } from "../src/emitter.js";

/** How often the way to the server and back is measured. Milliseconds. */
const PROBE = 2000;

/** Events: `state(text, kind)`, `transport(name)`, `roundtrip(ms)`, `emission({room, event, message, sent})`, `dialect`. */
export class Link extends Emitter {
  /** The page's own server, and the folder it is mounted in. */
  base = new URL(".", document.baseURI);

  /** @param {{name: string, dialect: string}} namespace @param {string} transports */
  open(namespace, transports) {
    this.close();
    const socket = io(this.base.origin + namespace.name, {
      forceNew: true,
      path: new URL("socket.io/", this.base).pathname,
      ...(transports && { transports: [transports] }),
    });
    this.namespace = namespace;
    this.socket = socket;
    this.dialect = dialectOf(namespace.dialect, socket, (emission) => this._fire("emission", emission));
    this._fire("dialect", this.dialect);
    this._fire("state", "connecting", "waiting");
    socket.on("connect", () => {
      this._fire("state", "connected", "good");
      this._fire("transport", socket.io.engine?.transport.name);
      socket.io.engine?.on("upgrade", (/** @type {{name: string}} */ transport) => this._fire("transport", transport.name));
    });
    socket.on("disconnect", () => this._fire("state", socket.active ? "reconnecting" : "disconnected", "waiting"));
    socket.on("connect_error", (/** @type {Error} */ error) =>
      socket.active ? this._fire("state", "reconnecting", "waiting") : this._fire("state", `refused: ${error.message}`, "bad"),
    );
    this._timer = setInterval(() => this.#probe(), PROBE);
  }

  async #probe() {
    if (!this.socket?.connected || document.hidden || !this.dialect?.probe) return;
    const start = performance.now();
    try {
      await this.socket.timeout(PROBE).emitWithAck(...this.dialect.probe);
      this._fire("roundtrip", performance.now() - start);
    } catch {
      this._fire("roundtrip", undefined);
    }
  }

  close() {
    clearInterval(this._timer);
    this.dialect?.close();
    this.socket?.disconnect();
    this.socket = this.dialect = undefined;
    this._fire("transport", undefined);
    this._fire("roundtrip", undefined);
    this._fire("state", "disconnected", "idle");
  }
}
