// Owns: one link and the namespaces that share it: which packet is for which socket.
// Below: link.js keeps the session alive. Above: socket.js is one namespace.

import { Link } from "../engine/link.js";
import { extract, restore } from "./binary.js";
import { BINARY, CONNECT, decode, encode } from "./packet.js";
import { Socket } from "./socket.js";

const DEFAULTS = {
  transports: ["websocket", "polling"],
  reconnection: true,
  reconnectionAttempts: Infinity,
  reconnectionDelay: 1000,
  reconnectionDelayMax: 5000,
  randomizationFactor: 1,
  timeout: 20000,
};

export class Manager extends Link {
  /** @param {string} uri scheme and host @param {any} [options] */
  constructor(uri, options = {}) {
    const path = (options.path || "/socket.io").replace(/\/$/, "") + (options.addTrailingSlash === false ? "" : "/");
    super({ ...DEFAULTS, ...options, url: new URL(path, uri).href });
    this.uri = uri;
    /** @type {Map<string, Socket>} */
    this._sockets = new Map();
    /** @type {import("./packet.js").Packet | undefined} a packet whose attachments are on their way */
    this._partial = undefined;
    /** @type {ArrayBuffer[]} */
    this._parts = [];
    if (options.autoConnect !== false) this.open();
  }

  /** @param {string} event @param {any[]} args */
  _fire(event, ...args) {
    for (const socket of this._sockets.values()) {
      if (event === "open") socket._opened();
      else if (event === "error") socket._refused(args[0]);
      else if (event === "close") socket._closed(args[0], args[1]);
    }
    return super._fire(event, ...args);
  }

  /** @param {(error?: Error) => void} [fn] told once: open, or why not */
  open(fn) {
    if (fn) {
      const told = (/** @type {any} */ error) => {
        this.off("open", told).off("error", told);
        fn(error);
      };
      this.on("open", told).on("error", told);
    }
    this._start();
    return this;
  }

  /** The socket of a namespace, made when first asked for. @param {string} nsp @param {any} [options] */
  socket(nsp, options) {
    let socket = this._sockets.get(nsp);
    if (!socket) this._sockets.set(nsp, (socket = new Socket(this, nsp, { ...this.opts, ...options })));
    if (this.opts.autoConnect !== false) socket.connect();
    return socket;
  }

  /** A socket needs the link no more; without any other, the link ends. */
  _released() {
    if (![...this._sockets.values()].some((socket) => socket.active)) this._stop();
  }

  /** @param {import("./packet.js").Packet} packet */
  _write(packet) {
    /** @type {any[]} */
    const parts = [];
    const data = packet.type === CONNECT ? packet.data : extract(packet.data, parts);
    if (parts.length) packet = { ...packet, type: packet.type + BINARY, data, attachments: parts.length };
    for (const part of [encode(packet), ...parts]) this.engine?.send(part);
  }

  /** @param {string | ArrayBuffer} data */
  _message(data) {
    let packet = this._partial;
    try {
      if (typeof data === "string") {
        if (packet) throw Error("not a packet: attachments missing");
        packet = decode(data);
        this._parts = [];
      } else if (packet) this._parts.push(data);
      else throw Error("not a packet: attachment of nothing");
      if (this._parts.length < (packet.attachments || 0)) this._partial = packet;
      else {
        this._partial = undefined;
        if (packet.attachments) packet.data = restore(packet.data, this._parts);
        this._sockets.get(packet.nsp)?._packet(packet);
      }
    } catch (description) {
      this._partial = undefined;
      this.engine?._end("parse error", { description }, []);
    }
  }
}

/** `manager.timeout()` answers, `manager.timeout(5000)` changes; so for each of these. */
for (const name of Object.keys(DEFAULTS).slice(1)) {
  Object.defineProperty(Manager.prototype, name, {
    /** @this {Manager} @param {unknown} [value] */
    value(value) {
      if (value === undefined) return this.opts[name];
      this.opts[name] = value;
      return this;
    },
  });
}
