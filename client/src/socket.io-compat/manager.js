// Owns: what the stock `Manager` has in addition to ours: binary data, two more events, options as
// methods, `open(fn)`.

import { DEFAULTS, Manager as Base } from "../socket/manager.js";
import { CONNECT } from "../socket/packet.js";
import * as codec from "./base64.js";
import { decode, encode, restore } from "./binary.js";
import { addAliases } from "./aliases.js";
import { Socket } from "./socket.js";

export class Manager extends Base {
  /** @param {any} [uri] scheme and host; by default the page's own @param {any} [options] */
  constructor(uri, options) {
    if (typeof uri === "object") [uri, options] = [undefined, uri];
    const path = (options?.path || "/socket.io").replace(/\/$/, "") + (options?.addTrailingSlash === false ? "" : "/");
    super(new URL(path, new URL(uri || "/", globalThis.location?.href)).href, { ...options, codec });
    this.uri = uri;
    /** @type {Map<string, Socket>} every socket ever requested */
    this.nsps = new Map();
    /** @type {(import("../socket/packet.js").Packet & {attachments?: number}) | undefined} the packet that waits for its attachments */
    this._partial = undefined;
    /** @type {ArrayBuffer[]} */
    this._attachments = [];
    if (this.opts.autoConnect !== false) this._connection._start();
  }

  /** The socket of a namespace, created on the first request. @param {string} nsp @param {any} [options] @returns {Socket} */
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

  /** @param {(error?: Error) => void} [fn] called when the connection opens, or with the error of the attempt */
  open(fn) {
    if (fn) {
      const settle = (/** @type {any} */ error) => {
        this.off("open", settle).off("error", settle);
        fn(error);
      };
      this.on("open", settle).on("error", settle);
    }
    this._connection._start();
    return this;
  }

  /** @param {import("../socket/packet.js").Packet} packet */
  _write(packet) {
    const { _pid: pid, _lastOffset: offset } = this.nsps.get(packet.nsp) ?? {};
    if (packet.type === CONNECT && pid) packet.data = { pid, offset, ...packet.data };
    for (const part of encode(packet)) this.engine?.send(part);
  }

  /** @param {any} data */
  _onMessage(data) {
    try {
      if (typeof data === "string") {
        if (this._partial) throw Error("not a packet: attachments missing");
        this._partial = decode(data);
        this._attachments = [];
      } else if (this._partial) this._attachments.push(data);
      else throw Error("not a packet: unexpected attachment");
      const packet = this._partial;
      if (this._attachments.length < (packet.attachments || 0)) return;
      this._partial = undefined;
      if (packet.attachments) packet.data = restore(packet.data, this._attachments);
      this._dispatch(packet);
    } catch (description) {
      this._partial = undefined;
      this.engine?._end("parse error", { description }, []);
    }
  }

  /** @param {string} event @param {any[]} args */
  _onConnectionEvent(event, ...args) {
    if (event === "close") this._partial = undefined;
    super._onConnectionEvent(event, ...args);
    if (event === "error" && this._connection._attempt) this._fire("reconnect_error", ...args);
  }
}

/** `manager.timeout()` returns the option, `manager.timeout(5000)` sets it; the same for the others. */
for (const name of Object.keys(DEFAULTS).slice(1)) {
  Object.defineProperty(Manager.prototype, name, {
    /** @this {Manager} @param {unknown} [value] */
    value(value) {
      const options = /** @type {any} */ (this.opts);
      if (value === undefined) return options[name];
      options[name] = value;
      return this;
    },
  });
}

addAliases(Manager.prototype);
