// Owns: the rooms of one namespace and the socket they share; the old client's names for what
// happens to the connection. Works with our socket, the stock one, and what looks like one.

import { Listenable } from "./listenable.js";
import { Room } from "./room.js";

/**
 * Events: `connect`, `disconnect(reason, details)`, `connecting(transport)`, `connect_failed(err)`, `close(reason)`,
 * `error(err)`, `reconnecting(delay, attempt)`, `reconnect(transport, attempts)`, `reconnect_failed`.
 */
export class NoDeventController extends Listenable {
  /** @param {{key?: (room: Room) => any}} [options] */
  constructor({ key } = {}) {
    super();
    this._key = key;
    /** @type {Map<string, Room>} */
    this._rooms = new Map();
    /** @type {any} */
    this.socket = undefined;
    this._up = false;
    /** @type {(() => void)[]} */
    this._undo = [];
  }

  connected() {
    return this._up;
  }

  /** The room of that name: always the same object. @param {string | number} name */
  room(name) {
    if (typeof name !== "number" && (typeof name !== "string" || !name))
      throw TypeError("NoDevent.room(name): the name must be text or a number");
    const id = String(name);
    let room = this._rooms.get(id);
    if (!room) this._rooms.set(id, (room = new Room(id, this)));
    return room;
  }

  /** What merely looks like a socket may not say whether it is connected: then it is believed to be. */
  _ready() {
    return !!this.socket && (this._up || this.socket.connected === undefined);
  }

  /** @param {any} source @param {string} event @param {Function} fn */
  _hear(source, event, fn) {
    source.on(event, fn);
    this._undo.push(() => source.off(event, fn));
  }

  /** @param {any} socket */
  setSocket(socket) {
    this._detach();
    this.socket = socket;
    this._hear(socket, "connect", () => this._connected());
    this._hear(socket, "disconnect", (/** @type {any} */ reason, /** @type {any} */ details) => this._disconnected(reason, details));
    this._hear(socket, "event", (/** @type {any} */ emission) => {
      if (emission) this._rooms.get(String(emission.room))?._deliver(emission);
    });
    this._hear(socket, "lost", (/** @type {any} */ told) => {
      if (told) this._rooms.get(String(told.room))?._gap(told.position);
    });
    if (socket.io) this._bridge(socket, socket.io);
    if (socket.connected === true) this._connected();
    return this;
  }

  /** Since Socket.IO 3 the manager says these, under other names. @param {any} socket @param {any} manager */
  _bridge(socket, manager) {
    const ours = typeof manager.retryAfter === "function";
    let failed = false;
    const transport = () => manager.engine?.transport?.name;
    this._hear(socket, "connect", () => (failed = false));
    this._hear(socket, "connect_error", (/** @type {any} */ err) => {
      this._fire("error", err);
      // Refused for good, or the first of a series: the rest of it is told by `reconnecting`.
      if (!socket.active || !failed) this._fire("connect_failed", err);
      failed = true;
    });
    this._hear(manager, "close", (/** @type {any} */ reason) => this._fire("close", reason));
    this._hear(manager, "reconnect", (/** @type {any} */ attempts) => this._fire("reconnect", transport(), attempts));
    this._hear(manager, "reconnect_failed", () => this._fire("reconnect_failed"));
    if (ours) {
      this._hear(manager, "reconnecting", (/** @type {any[]} */ ...args) => this._fire("reconnecting", ...args));
      this._hear(manager, "trying", (/** @type {any} */ name) => this._fire("connecting", name));
      this._hear(socket, "drain", (/** @type {any} */ message) => manager.retryAfter(message?.wait));
    } else {
      this._hear(manager, "reconnect_attempt", (/** @type {any} */ attempt) => {
        this._fire("reconnecting", manager.reconnectionDelay(), attempt);
        this._fire("connecting", manager.opts.transports?.[0] || "polling");
      });
    }
  }

  _connected() {
    this._up = true;
    const rooms = [...this._rooms.values()];
    for (const room of rooms) room._asked = false;
    this._fire("connect");
    // A page may join in its own `connect` listener: then it has been asked already.
    for (const room of rooms) if (!room._asked) room._join();
  }

  /** @param {any} reason @param {any} details */
  _disconnected(reason, details) {
    this._up = false;
    const asked = reason === "io client disconnect";
    for (const room of this._rooms.values()) room._lost(asked ? undefined : reason);
    this._fire("disconnect", reason, details);
    // The stock rule is that a page which was sent away stays away. Ours comes back, but not at once.
    if (reason === "io server disconnect") {
      const timer = setTimeout(() => this.socket.connect(), 1000 + 4000 * Math.random());
      this._undo.push(() => clearTimeout(timer));
    }
  }

  _detach() {
    for (const undo of this._undo.splice(0)) undo();
    this._up = false;
  }

  /** Ends the connection for good: rooms are left, nothing is tried again. */
  close() {
    this.socket?.disconnect();
    return this.down();
  }

  /** Forgets the socket, the rooms and every listener; the socket itself stays as it is. */
  down() {
    this._detach();
    this.socket = undefined;
    for (const room of this._rooms.values()) room._down();
    this._rooms.clear();
    return this.off();
  }
}
