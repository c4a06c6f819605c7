// Owns: one link and the namespaces that share it: which packet is for which socket.
// Below: link.js keeps the session alive. Above: socket.js is one namespace; stock/ adds what only
// a page that speaks Socket.IO itself needs, binary data among it.

import { Link } from "../engine/link.js";
import { decode, encode } from "./packet.js";
import { Socket } from "./socket.js";

export const DEFAULTS = {
  transports: ["websocket", "polling"],
  reconnection: true,
  reconnectionAttempts: Infinity,
  reconnectionDelay: 1000,
  reconnectionDelayMax: 5000,
  randomizationFactor: 1,
  timeout: 20000,
};

export class Manager extends Link {
  /** @param {string} url scheme, host and path @param {any} [options] */
  constructor(url, options) {
    super({ ...DEFAULTS, ...options, url });
    /** @type {Map<string, Socket>} those that are in use */
    this._sockets = new Map();
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

  /** A socket of a namespace, on its way. @param {string} nsp @param {any} [options] @returns {Socket} */
  socket(nsp, options) {
    return new Socket(this, nsp, options).connect();
  }

  /** A socket needs the link no more; without any other, the link ends. @param {Socket} [done] for good */
  _released(done) {
    if (done) this._sockets.delete(done.nsp);
    if (![...this._sockets.values()].some((socket) => socket.active)) this._stop();
  }

  /** @param {import("./packet.js").Packet} packet */
  _write(packet) {
    this.engine?.send(encode(packet));
  }

  /** @param {any} data */
  _message(data) {
    try {
      this._packet(decode(data));
    } catch (description) {
      this.engine?._end("parse error", { description }, []);
    }
  }

  /** @param {import("./packet.js").Packet} packet */
  _packet(packet) {
    this._sockets.get(packet.nsp)?._packet(packet);
  }
}
