// Owns: the namespaces that share one connection, and which packet belongs to which socket.
// Below: engine/connection.js keeps the connection alive. Above: socket.js is one namespace;
// socket.io-compat/ adds what only pages that use Socket.IO directly need, such as binary data.

import { Emitter } from "../emitter.js";
import { Connection } from "../engine/connection.js";
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

/** Events: those of the connection, see `Owner` in engine/connection.js. */
export class Manager extends Emitter {
  /** @param {string} url scheme, host and path @param {any} [options] */
  constructor(url, options) {
    super();
    this.opts = { ...DEFAULTS, ...options, url };
    this._connection = new Connection(this.opts, this);
    /** @type {Map<string, Socket>} the sockets in use, by namespace */
    this._sockets = new Map();
  }

  /** The current session. */
  get engine() {
    return this._connection._session;
  }

  /** @param {string} event @param {any[]} args */
  _onConnectionEvent(event, ...args) {
    for (const socket of this._sockets.values()) {
      if (event === "open") socket._onOpen();
      else if (event === "error") socket._fireConnectError(args[0]);
      else if (event === "close") socket._onClose(args[0], args[1]);
    }
    this._fire(event, ...args);
  }

  /** Creates the socket of a namespace and connects it. @param {string} nsp @param {any} [options] @returns {Socket} */
  socket(nsp, options) {
    return new Socket(this, nsp, options).connect();
  }

  /** A socket has disconnected. The connection ends with the last one. @param {Socket} [done] a socket that will not reconnect */
  _onSocketClosed(done) {
    if (done) this._sockets.delete(done.nsp);
    if (![...this._sockets.values()].some((socket) => socket.active)) this._connection._stop();
  }

  /** Sets the delay before the next attempt, for example at the request of a draining server. @param {unknown} delay milliseconds */
  retryAfter(delay) {
    this._connection._retryAfter(delay);
  }

  /** @param {import("./packet.js").Packet} packet */
  _write(packet) {
    this.engine?.send(encode(packet));
  }

  /** @param {any} data */
  _onMessage(data) {
    try {
      this._dispatch(decode(data));
    } catch (description) {
      this.engine?._end("parse error", { description }, []);
    }
  }

  /** @param {import("./packet.js").Packet} packet */
  _dispatch(packet) {
    this._sockets.get(packet.nsp)?._onPacket(packet);
  }
}
