// Owns: what the stock `Manager` has beyond ours: binary data, two more events, options that are
// methods, `open(fn)`.

import { DEFAULTS, Manager as Base } from "../socket/manager.js";
import * as codec from "./base64.js";
import { decode, encode, restore } from "./binary.js";
import { addAliases } from "./aliases.js";
import { Socket } from "./socket.js";

export class Manager extends Base {
  /** @param {any} [uri] scheme and host; the page's own where absent @param {any} [options] */
  constructor(uri, options) {
    if (typeof uri === "object") [uri, options] = [undefined, uri];
    const path = (options?.path || "/socket.io").replace(/\/$/, "") + (options?.addTrailingSlash === false ? "" : "/");
    super(new URL(path, new URL(uri || "/", globalThis.location?.href)).href, { ...options, codec });
    this.uri = uri;
    /** @type {Map<string, Socket>} every socket that was ever asked for */
    this.nsps = new Map();
    /** @type {(import("../socket/packet.js").Packet & {attachments?: number}) | undefined} whose attachments are on their way */
    this._partial = undefined;
    /** @type {ArrayBuffer[]} */
    this._parts = [];
    if (this.opts.autoConnect !== false) this._start();
  }

  /** The socket of a namespace, made when first asked for. @param {string} nsp @param {any} [options] @returns {Socket} */
  socket(nsp, options) {
    let socket = this.nsps.get(nsp);
    if (!socket) this.nsps.set(nsp, (socket = new Socket(this, nsp, { ...this.opts, ...options })));
    if (this.opts.autoConnect !== false) socket.connect();
    return socket;
  }

  /** @param {string} event @param {any[]} args */
  emit(event, ...args) {
    return this._fire(event, ...args);
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

  /** @param {import("../socket/packet.js").Packet} packet */
  _write(packet) {
    for (const part of encode(packet)) this.engine?.send(part);
  }

  /** @param {any} data */
  _message(data) {
    try {
      if (typeof data === "string") {
        if (this._partial) throw Error("not a packet: attachments missing");
        this._partial = decode(data);
        this._parts = [];
      } else if (this._partial) this._parts.push(data);
      else throw Error("not a packet: attachment of nothing");
      const packet = this._partial;
      if (this._parts.length < (packet.attachments || 0)) return;
      this._partial = undefined;
      if (packet.attachments) packet.data = restore(packet.data, this._parts);
      this._packet(packet);
    } catch (description) {
      this._partial = undefined;
      this.engine?._end("parse error", { description }, []);
    }
  }

  _connect() {
    if (this._attempt) this._fire("reconnect_attempt", this._attempt);
    super._connect();
  }

  /** @param {string} event @param {any[]} args */
  _fire(event, ...args) {
    super._fire(event, ...args);
    if (event === "error" && this._attempt) super._fire("reconnect_error", ...args);
    return this;
  }

  /** @param {string} reason @param {any} details */
  _lost(reason, details) {
    this._partial = undefined;
    super._lost(reason, details);
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

addAliases(Manager.prototype);
