// Owns: the page's only connection: its namespace, state and round-trip time. The dialects
// (dialects.js) define what is sent over it.

import { io } from "../src/socket.io-compat/io.js";
import { dialectOf } from "./dialects.js";
import { Emitter } from "../src/emitter.js";

/** Interval between measurements of the round trip. Milliseconds. */
const PROBE_INTERVAL = 2000;

/** Events: `state(text, kind)`, `transport(name)`, `roundtrip(ms)`, `publication({room, event, message, sent})`, `dialect`. */
export class ConsoleConnection extends Emitter {
  /** The server of this page and the folder it is mounted in. */
  base = new URL(".", document.baseURI);

  /** Whether the application signs keys and emits for this page. */
  hasApplication = false;

  /** The application's endpoint for keys or events of a namespace. @param {"key" | "emit"} endpoint @param {string} namespace */
  applicationUrl(endpoint, namespace) {
    return new URL(`console/${endpoint}?namespace=${encodeURIComponent(namespace)}`, this.base).href;
  }

  /** @param {{name: string, dialect: string, secured?: boolean}} namespace @param {string} transports */
  open(namespace, transports) {
    this.close();
    const socket = io(this.base.origin + namespace.name, {
      forceNew: true,
      path: new URL("socket.io/", this.base).pathname,
      ...(transports && { transports: [transports] }),
    });
    this.namespace = namespace;
    this.socket = socket;
    const keyUrl = this.hasApplication && namespace.secured ? this.applicationUrl("key", namespace.name) : undefined;
    this.dialect = dialectOf(namespace.dialect, socket, (publication) => this._fire("publication", publication), keyUrl);
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
    this._timer = setInterval(() => this.#measure(), PROBE_INTERVAL);
  }

  async #measure() {
    if (!this.socket?.connected || document.hidden || !this.dialect?.probe) return;
    const start = performance.now();
    try {
      await this.socket.timeout(PROBE_INTERVAL).emitWithAck(...this.dialect.probe);
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
