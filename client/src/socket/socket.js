// Owns: one namespace over a shared connection: its connect, events in both directions, acks, and
// the events that wait while it is not connected.

import { Emitter, call } from "../emitter.js";
import { ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, RESERVED } from "./packet.js";

/** Events: `connect`, `disconnect(reason, details)`, `connect_error(err)`, and the server's events. */
export class Socket extends Emitter {
  /** @param {import("./manager.js").Manager} io @param {string} nsp @param {any} [options] */
  constructor(io, nsp, options) {
    super();
    this.io = io;
    this.nsp = nsp;
    /** @type {any} sent with each connect; a function is called each time */
    this.auth = options?.auth;
    this.active = false;
    this.connected = false;
    /** @type {string | undefined} */
    this.id = undefined;
    /** @type {import("./packet.js").Packet[]} events emitted before the namespace was connected */
    this.sendBuffer = [];
    this._nextId = 0;
    /** @type {Map<number, Function & {_onDisconnect?: () => void}>} */
    this._acks = new Map();
  }

  connect() {
    const wasActive = this.active;
    this.active = true;
    this.io._sockets.set(this.nsp, this);
    this.io._connection._start();
    if (!wasActive) this._onOpen();
    return this;
  }

  disconnect() {
    const { active, connected } = this;
    if (connected) this.io._write({ type: DISCONNECT, nsp: this.nsp });
    this.active = false;
    if (connected) this._onDisconnect("io client disconnect");
    if (active) this.io._onSocketClosed(this);
    return this;
  }

  /** @param {string} event @param {any[]} args the last one may be a function: the ack */
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

  /** The connection is open: connects the namespace. */
  _onOpen() {
    const isReady = () => this.active && this.io._connection._readyState === "open";
    // An `auth` function may call back after the connection was lost.
    const connect = (/** @type {any} */ data) => isReady() && this.io._write({ type: CONNECT, nsp: this.nsp, data });
    if (!isReady()) return;
    if (typeof this.auth === "function") this.auth(connect);
    else connect(this.auth);
  }

  /** @param {import("./packet.js").Packet} packet */
  _onPacket({ type, data, id }) {
    if (!this.active) return;
    if (type === CONNECT) this._onConnect(data?.sid);
    else if (type === CONNECT_ERROR) this._onConnectError(data);
    else if (type === EVENT) this._onEvent(data, id);
    else if (type === ACK) {
      const ack = this._acks.get(/** @type {number} */ (id));
      this._acks.delete(/** @type {number} */ (id));
      call(ack, this, data);
    } else {
      this.active = false;
      this._onClose("io server disconnect");
      this.io._onSocketClosed();
    }
  }

  /** @param {string | undefined} sid */
  _onConnect(sid) {
    if (!sid) return this._onConnectError("the server is older than Socket.IO 5");
    this.id = sid;
    this.connected = true;
    this._fire("connect");
    for (const packet of this.sendBuffer.splice(0)) this._send(packet);
  }

  /** @param {any} data */
  _onConnectError(data) {
    this.active = false;
    this._fireConnectError(Object.assign(Error(data.message || data), { data: data.data }));
    this.io._onSocketClosed();
  }

  /** @param {Error} error */
  _fireConnectError(error) {
    if (!this.connected) this._fire("connect_error", error);
  }

  /** @param {any[]} args @param {number | undefined} id */
  _onEvent(args, id) {
    if (id !== undefined) {
      let acknowledged = false;
      args.push((/** @type {any[]} */ ...data) => {
        if (!acknowledged && this.connected) this.io._write({ type: ACK, nsp: this.nsp, id, data });
        acknowledged = true;
      });
    }
    this._dispatch(args);
  }

  /** @param {any[]} args */
  _dispatch([event, ...args]) {
    this._fire(event, ...args);
  }

  /** The connection was lost. @param {string} reason @param {any} [details] */
  _onClose(reason, details) {
    if (this.connected) this._onDisconnect(reason, details);
  }

  /** @param {string} reason @param {any} [details] */
  _onDisconnect(reason, details) {
    this.connected = false;
    this.id = undefined;
    const unsent = new Set(this.sendBuffer.map((packet) => packet.id));
    for (const [id, ack] of this._acks) {
      if (unsent.has(id)) continue;
      this._acks.delete(id);
      ack._onDisconnect?.();
    }
    this._fire("disconnect", reason, details);
  }
}
