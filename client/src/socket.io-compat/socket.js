// Owns: what the stock `Socket` has in addition to ours: flags, acks with a timeout or as a promise,
// listeners for any event, connection state recovery.

import { addAliases } from "./aliases.js";
import { call } from "../emitter.js";
import { CONNECT, EVENT, RESERVED } from "../socket/packet.js";
import { Socket as Base } from "../socket/socket.js";

export class Socket extends Base {
  /** @param {import("./manager.js").Manager} io @param {string} nsp @param {any} options */
  constructor(io, nsp, options) {
    super(io, nsp, options);
    /** Whether nothing was missed before this connect. */
    this.recovered = false;
    /** @type {string | undefined} with `_lastOffset`, what restores this socket after a reconnect */
    this._pid = undefined;
    /** @type {string | undefined} */
    this._lastOffset = undefined;
    /** @type {import("../socket/packet.js").Packet[]} events that arrived before the connect packet */
    this.receiveBuffer = [];
    this._ackTimeout = options.ackTimeout;
    /** @type {{volatile?: boolean, timeout?: number}} */
    this._flags = {};
    /** @type {Function[]} */
    this._anyListeners = [];
    /** @type {Function[]} */
    this._outgoingListeners = [];
  }

  get disconnected() {
    return !this.connected;
  }

  /** The next `emit` is dropped if there is no connection. */
  get volatile() {
    this._flags.volatile = true;
    return this;
  }

  /** The ack of the next `emit` receives an error first: `null`, or the timeout. @param {number} ms */
  timeout(ms) {
    this._flags.timeout = ms;
    return this;
  }

  /** Does nothing: the browser and the server negotiate compression. */
  compress() {
    return this;
  }

  /** @param {string} event @param {any[]} args */
  emit(event, ...args) {
    const { volatile, timeout = this._ackTimeout } = this._flags;
    this._flags = {};
    if (volatile && !this.connected && !RESERVED.test(event)) return this;
    if (timeout !== undefined && typeof args.at(-1) === "function") args.push(this._withTimeout(args.pop(), timeout));
    return super.emit(event, ...args);
  }

  /** @param {Function} fn @param {number} ms */
  _withTimeout(fn, ms) {
    const settle = (/** @type {any[]} */ ...args) => {
      clearTimeout(timer);
      call(fn, this, args);
    };
    const ack = Object.assign((/** @type {any[]} */ ...args) => settle(null, ...args), {
      _onDisconnect: () => settle(Error("socket has been disconnected")),
    });
    const timer = setTimeout(() => {
      for (const [id, other] of this._acks) {
        if (other !== ack) continue;
        this._acks.delete(id);
        const unsent = this.sendBuffer.findIndex((packet) => packet.id === id);
        if (unsent >= 0) this.sendBuffer.splice(unsent, 1);
      }
      settle(Error("operation has timed out"));
    }, ms);
    return ack;
  }

  /** @param {string} event @param {any[]} args */
  emitWithAck(event, ...args) {
    const hasTimeout = (this._flags.timeout ?? this._ackTimeout) !== undefined;
    return new Promise((resolve, reject) => {
      this.emit(event, ...args, (/** @type {any[]} */ ...result) => {
        if (hasTimeout && result[0]) reject(result[0]);
        else resolve(result[hasTimeout ? 1 : 0]);
      });
    });
  }

  /** @param {any[]} args */
  send(...args) {
    return this.emit("message", ...args);
  }

  /** @param {import("../socket/packet.js").Packet} packet */
  _send(packet) {
    for (const fn of this._outgoingListeners) call(fn, this, packet.data);
    super._send(packet);
  }

  /** @param {import("../socket/packet.js").Packet} packet */
  _onPacket(packet) {
    if (packet.type === EVENT && !this.connected) {
      this.receiveBuffer.push(packet);
      return;
    }
    if (packet.type === CONNECT) {
      const pid = packet.data?.pid;
      this.recovered = !!pid && pid === this._pid;
      this._pid = pid;
    }
    super._onPacket(packet);
    if (packet.type === CONNECT) for (const early of this.receiveBuffer.splice(0)) super._onPacket(early);
  }

  /** @param {any[]} args */
  _dispatch(args) {
    for (const fn of this._anyListeners) call(fn, this, args);
    super._dispatch(args);
    const last = args.at(-1);
    if (this._pid && typeof last === "string") this._lastOffset = last;
  }

  /** @param {string} reason @param {any} [details] */
  _onClose(reason, details) {
    this.receiveBuffer = [];
    super._onClose(reason, details);
  }

  /** @param {Function} fn */
  onAny(fn) {
    this._anyListeners = [...this._anyListeners, fn];
    return this;
  }

  /** @param {Function} fn */
  prependAny(fn) {
    this._anyListeners = [fn, ...this._anyListeners];
    return this;
  }

  /** @param {Function} [fn] by default all of them */
  offAny(fn) {
    this._anyListeners = this._anyListeners.filter((other) => fn && other !== fn);
    return this;
  }

  listenersAny() {
    return this._anyListeners;
  }

  /** @param {Function} fn */
  onAnyOutgoing(fn) {
    this._outgoingListeners = [...this._outgoingListeners, fn];
    return this;
  }

  /** @param {Function} fn */
  prependAnyOutgoing(fn) {
    this._outgoingListeners = [fn, ...this._outgoingListeners];
    return this;
  }

  /** @param {Function} [fn] by default all of them */
  offAnyOutgoing(fn) {
    this._outgoingListeners = this._outgoingListeners.filter((other) => fn && other !== fn);
    return this;
  }

  listenersAnyOutgoing() {
    return this._outgoingListeners;
  }
}

Object.assign(Socket.prototype, { open: Socket.prototype.connect, close: Socket.prototype.disconnect });
addAliases(Socket.prototype);
