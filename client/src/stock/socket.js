// Owns: what the stock `Socket` has beyond ours: flags, acks with a time limit or as a promise,
// listeners for any event.

import { addAliases } from "./aliases.js";
import { call } from "../emitter.js";
import { RESERVED } from "../socket/packet.js";
import { Socket as Base } from "../socket/socket.js";

export class Socket extends Base {
  /** @param {import("./manager.js").Manager} io @param {string} nsp @param {any} options */
  constructor(io, nsp, options) {
    super(io, nsp, options);
    this.recovered = false;
    this._ackTimeout = options.ackTimeout;
    /** @type {{volatile?: boolean, timeout?: number}} */
    this._flags = {};
    /** @type {Function[]} */
    this._any = [];
    /** @type {Function[]} */
    this._anyOutgoing = [];
  }

  get disconnected() {
    return !this.connected;
  }

  /** The next `emit` is dropped where there is no connection. */
  get volatile() {
    this._flags.volatile = true;
    return this;
  }

  /** The ack of the next `emit` gets an error first where none came in time. @param {number} ms */
  timeout(ms) {
    this._flags.timeout = ms;
    return this;
  }

  /** Taken as the stock option is; what is compressed, the browser and the server decide. */
  compress() {
    return this;
  }

  /** @param {string} event @param {any[]} args */
  emit(event, ...args) {
    const { volatile, timeout = this._ackTimeout } = this._flags;
    this._flags = {};
    if (volatile && !this.connected && !RESERVED.test(event)) return this;
    if (timeout !== undefined && typeof args.at(-1) === "function") args.push(this._limited(args.pop(), timeout));
    return super.emit(event, ...args);
  }

  /** @param {Function} fn @param {number} ms */
  _limited(fn, ms) {
    const settle = (/** @type {any[]} */ ...answer) => {
      clearTimeout(timer);
      call(fn, this, answer);
    };
    const ack = Object.assign((/** @type {any[]} */ ...answer) => settle(null, ...answer), {
      _lost: () => settle(Error("socket has been disconnected")),
    });
    const timer = setTimeout(() => {
      for (const [id, other] of this._acks) {
        if (other !== ack) continue;
        this._acks.delete(id);
        const waiting = this.sendBuffer.findIndex((packet) => packet.id === id);
        if (waiting >= 0) this.sendBuffer.splice(waiting, 1);
      }
      settle(Error("operation has timed out"));
    }, ms);
    return ack;
  }

  /** @param {string} event @param {any[]} args */
  emitWithAck(event, ...args) {
    const limited = (this._flags.timeout ?? this._ackTimeout) !== undefined;
    return new Promise((resolve, reject) => {
      this.emit(event, ...args, (/** @type {any[]} */ ...answer) => {
        if (limited && answer[0]) reject(answer[0]);
        else resolve(answer[limited ? 1 : 0]);
      });
    });
  }

  /** @param {any[]} args */
  send(...args) {
    return this.emit("message", ...args);
  }

  /** @param {import("../socket/packet.js").Packet} packet */
  _send(packet) {
    for (const fn of this._anyOutgoing) call(fn, this, packet.data);
    super._send(packet);
  }

  /** @param {any[]} args */
  _dispatch(args) {
    for (const fn of this._any) call(fn, this, args);
    super._dispatch(args);
  }

  /** @param {Function} fn */
  onAny(fn) {
    this._any = [...this._any, fn];
    return this;
  }

  /** @param {Function} fn */
  prependAny(fn) {
    this._any = [fn, ...this._any];
    return this;
  }

  /** @param {Function} [fn] all of them where absent */
  offAny(fn) {
    this._any = this._any.filter((other) => fn && other !== fn);
    return this;
  }

  listenersAny() {
    return this._any;
  }

  /** @param {Function} fn */
  onAnyOutgoing(fn) {
    this._anyOutgoing = [...this._anyOutgoing, fn];
    return this;
  }

  /** @param {Function} fn */
  prependAnyOutgoing(fn) {
    this._anyOutgoing = [fn, ...this._anyOutgoing];
    return this;
  }

  /** @param {Function} [fn] all of them where absent */
  offAnyOutgoing(fn) {
    this._anyOutgoing = this._anyOutgoing.filter((other) => fn && other !== fn);
    return this;
  }

  listenersAnyOutgoing() {
    return this._anyOutgoing;
  }
}

Object.assign(Socket.prototype, { open: Socket.prototype.connect, close: Socket.prototype.disconnect });
addAliases(Socket.prototype);
