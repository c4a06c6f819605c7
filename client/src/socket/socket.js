// Owns: one namespace over a shared link: its connect, events both ways, acks, and what waits
// while there is no connection.

import { Emitter, call } from "../emitter.js";
import { ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, RESERVED } from "./packet.js";

/** Events: `connect`, `disconnect(reason, details)`, `connect_error(err)`, and those of the server. */
export class Socket extends Emitter {
  /** @param {import("./manager.js").Manager} io @param {string} nsp @param {any} [options] */
  constructor(io, nsp, options) {
    super();
    this.io = io;
    this.nsp = nsp;
    /** @type {any} sent with each connect; a function is asked each time */
    this.auth = options?.auth;
    this.active = false;
    this.connected = false;
    /** @type {string | undefined} */
    this.id = undefined;
    /** @type {import("./packet.js").Packet[]} events emitted before the namespace stood */
    this.sendBuffer = [];
    this._nextId = 0;
    /** @type {Map<number, Function & {_lost?: () => void}>} */
    this._acks = new Map();
  }

  connect() {
    const asked = this.active;
    this.active = true;
    this.io._sockets.set(this.nsp, this);
    this.io._start();
    if (!asked && this.io._readyState === "open") this._opened();
    return this;
  }

  disconnect() {
    const { active, connected } = this;
    if (connected) this.io._write({ type: DISCONNECT, nsp: this.nsp });
    this.active = false;
    if (connected) this._lost("io client disconnect");
    if (active) this.io._released(this);
    return this;
  }

  /** @param {string} event @param {any[]} args the last may be a function: the ack */
  emit(event, ...args) {
    if (RESERVED.test(event)) throw Error(`"${event}" is a reserved event name`);
    /** @type {import("./packet.js").Packet} */
    const packet = { type: EVENT, nsp: this.nsp, data: [event, ...args] };
    if (typeof args.at(-1) === "function") this._acks.set((packet.id = this._nextId++), packet.data.pop());
    if (this.connected) this._send(packet);
    else this.sendBuffer.push(packet);
    return this;
  }

  /** @param {import("./packet.js").Packet} packet */
  _send(packet) {
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
    if (type === CONNECT) this._connected(data?.sid);
    else if (type === CONNECT_ERROR) this._rejected(data);
    else if (type === EVENT) this._event(data, id);
    else if (type === ACK) {
      const ack = this._acks.get(/** @type {number} */ (id));
      this._acks.delete(/** @type {number} */ (id));
      call(ack, this, data);
    } else {
      this.active = false;
      this._closed("io server disconnect");
      this.io._released();
    }
  }

  /** @param {string | undefined} sid */
  _connected(sid) {
    if (!sid) return this._rejected("the server is older than Socket.IO 5");
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

  /** @param {any[]} args @param {number | undefined} id */
  _event(args, id) {
    if (id !== undefined) {
      let answered = false;
      args.push((/** @type {any[]} */ ...data) => {
        if (!answered && this.connected) this.io._write({ type: ACK, nsp: this.nsp, id, data });
        answered = true;
      });
    }
    this._dispatch(args);
  }

  /** @param {any[]} args */
  _dispatch([event, ...args]) {
    this._fire(event, ...args);
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
      ack._lost?.();
    }
    this._fire("disconnect", reason, details);
  }
}
