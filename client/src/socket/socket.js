// Owns: one namespace over a shared link: its connect, events both ways, acks, and what waits
// while there is no connection. Compatible with the stock `Socket`.

import { Emitter, call } from "../emitter.js";
import { ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, RESERVED } from "./packet.js";

/** @typedef {{fn: Function, timer?: ReturnType<typeof setTimeout>, withError: boolean}} PendingAck */

export class Socket extends Emitter {
  /** @param {import("./manager.js").Manager} io @param {string} nsp @param {any} options */
  constructor(io, nsp, options) {
    super();
    this.io = io;
    this.nsp = nsp;
    this.auth = options.auth;
    this._options = options;
    this.active = false;
    this.connected = false;
    this.recovered = false;
    /** @type {string | undefined} */
    this.id = undefined;
    /** @type {import("./packet.js").Packet[]} events emitted before the namespace stood */
    this.sendBuffer = [];
    this._nextId = 0;
    /** @type {Map<number, PendingAck>} */
    this._acks = new Map();
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

  connect() {
    if (!this.active) {
      this.active = true;
      this.io._start();
      if (this.io._readyState === "open") this._opened();
    }
    return this;
  }

  disconnect() {
    const { active, connected } = this;
    if (connected) this.io._write({ type: DISCONNECT, nsp: this.nsp });
    this.active = false;
    if (connected) this._lost("io client disconnect");
    if (active) this.io._released();
    return this;
  }

  /** @param {string} event @param {any[]} args the last may be a function: the ack */
  emit(event, ...args) {
    if (RESERVED.includes(event)) throw Error(`"${event}" is a reserved event name`);
    const flags = this._flags;
    this._flags = {};
    const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
    /** @type {import("./packet.js").Packet} */
    const packet = { type: EVENT, nsp: this.nsp, data: [event, ...args] };
    if (!this.connected && flags.volatile) return this;
    if (ack) this._expect((packet.id = this._nextId++), ack, flags.timeout ?? this._options.ackTimeout);
    if (this.connected) this._send(packet);
    else this.sendBuffer.push(packet);
    return this;
  }

  /** @param {number} id @param {Function} fn @param {number} [timeout] */
  _expect(id, fn, timeout) {
    const withError = timeout !== undefined;
    const timer = withError
      ? setTimeout(() => {
          this._acks.delete(id);
          this.sendBuffer = this.sendBuffer.filter((packet) => packet.id !== id);
          call(fn, this, [Error("operation has timed out")]);
        }, timeout)
      : undefined;
    this._acks.set(id, { fn, timer, withError });
  }

  /** @param {string} event @param {any[]} args */
  emitWithAck(event, ...args) {
    const withError = (this._flags.timeout ?? this._options.ackTimeout) !== undefined;
    return new Promise((resolve, reject) => {
      this.emit(event, ...args, (/** @type {any[]} */ ...answer) => {
        if (withError && answer[0]) reject(answer[0]);
        else resolve(answer[withError ? 1 : 0]);
      });
    });
  }

  /** @param {any[]} args */
  send(...args) {
    return this.emit("message", ...args);
  }

  /** The next `emit` is dropped where there is no connection. */
  get volatile() {
    this._flags.volatile = true;
    return this;
  }

  /** The ack of the next `emit` gets an error first when none came in time. @param {number} ms */
  timeout(ms) {
    this._flags.timeout = ms;
    return this;
  }

  /** Takes a stock option that has no meaning here: the browser decides on compression. */
  compress() {
    return this;
  }

  /** @param {import("./packet.js").Packet} packet */
  _send(packet) {
    for (const fn of this._anyOutgoing) call(fn, this, packet.data);
    this.io._write(packet);
  }

  /** The link stands: ask for the namespace. */
  _opened() {
    if (!this.active) return;
    const say = (/** @type {any} */ data) => {
      if (this.active && this.io._readyState === "open") this.io._write({ type: CONNECT, nsp: this.nsp, data });
    };
    if (typeof this.auth === "function") this.auth(say);
    else say(this.auth);
  }

  /** @param {import("./packet.js").Packet} packet */
  _packet({ type, data, id }) {
    if (!this.active) return;
    switch (type) {
      case CONNECT:
        return this._connected(data?.sid);
      case CONNECT_ERROR:
        return this._rejected(data);
      case DISCONNECT:
        this.active = false;
        this._lost("io server disconnect");
        return this.io._released();
      case EVENT:
        return this._event(data, id);
      case ACK:
        return this._acked(/** @type {number} */ (id), data);
    }
  }

  /** @param {string | undefined} sid */
  _connected(sid) {
    if (!sid) return this._rejected({ message: "the server speaks an older protocol: it must speak Socket.IO 5" });
    this.id = sid;
    this.connected = true;
    this._fire("connect");
    for (const packet of this.sendBuffer.splice(0)) this._send(packet);
  }

  /** @param {any} data */
  _rejected(data) {
    this.active = false;
    this._refused(Object.assign(Error(data.message || data), { data: data.data }));
    this.io._released();
  }

  /** @param {Error} error */
  _refused(error) {
    if (!this.connected) this._fire("connect_error", error);
  }

  /** @param {any[]} data @param {number | undefined} id */
  _event(data, id) {
    let answered = id === undefined;
    const args = answered
      ? data
      : [
          ...data,
          (/** @type {any[]} */ ...answer) => {
            if (answered || !this.connected) return;
            answered = true;
            this.io._write({ type: ACK, nsp: this.nsp, id, data: answer });
          },
        ];
    for (const fn of this._any) call(fn, this, args);
    this._fire(...args);
  }

  /** @param {number} id @param {any[]} data */
  _acked(id, data) {
    const ack = this._acks.get(id);
    if (!ack) return;
    this._acks.delete(id);
    clearTimeout(ack.timer);
    call(ack.fn, this, ack.withError ? [null, ...data] : data);
  }

  /** The link was lost. @param {string} reason @param {any} [details] */
  _closed(reason, details) {
    if (this.connected) this._lost(reason, details);
  }

  /** @param {string} reason @param {any} [details] */
  _lost(reason, details) {
    this.connected = false;
    this.id = undefined;
    const waiting = new Set(this.sendBuffer.map((packet) => packet.id));
    for (const [id, ack] of this._acks) {
      if (waiting.has(id)) continue;
      this._acks.delete(id);
      clearTimeout(ack.timer);
      if (ack.withError) call(ack.fn, this, [Error("socket has been disconnected")]);
    }
    this._fire("disconnect", reason, details);
  }

  /** @param {Function} fn */
  onAny(fn) {
    this._any = [...this._any, fn];
    return this;
  }

  /** @param {Function} [fn] */
  offAny(fn) {
    this._any = this._any.filter((other) => fn && other !== fn);
    return this;
  }

  /** @param {Function} fn */
  onAnyOutgoing(fn) {
    this._anyOutgoing = [...this._anyOutgoing, fn];
    return this;
  }

  /** @param {Function} [fn] */
  offAnyOutgoing(fn) {
    this._anyOutgoing = this._anyOutgoing.filter((other) => fn && other !== fn);
    return this;
  }
}

Object.assign(Socket.prototype, { open: Socket.prototype.connect, close: Socket.prototype.disconnect });
