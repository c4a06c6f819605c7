// Owns: one Engine.IO session: which transport carries it, its handshake, heartbeat and end.
// A session never comes back: reconnecting is link.js, which makes a new one.

import { Emitter } from "../emitter.js";
import { PollingTransport } from "./polling.js";
import { upgrade } from "./upgrade.js";
import { WebSocketTransport } from "./websocket.js";

/** @type {Record<string, any>} */
const TRANSPORTS = { websocket: WebSocketTransport, polling: PollingTransport };

/**
 * Events: `trying(name)` before each transport, `open`, `message(data)`, `upgrade(transport)`,
 * `close(reason, details)` once, also where it never opened.
 */
export class Session extends Emitter {
  /** @param {any} options @param {string[]} order the transports to try, the likeliest first */
  constructor(options, order) {
    super();
    this._options = options;
    this._order = [...order];
    this.readyState = "opening";
    /** @type {string | undefined} */
    this.id = undefined;
    /** @type {(string | ArrayBufferView | ArrayBuffer)[]} */
    this._queue = [];
    /** @type {any} a WebSocket that may take the place of polling */
    this._probe = undefined;
    this._deadline = 0; // when the server will have been silent for too long
    // Listeners are attached by the caller once it has the session in hand.
    queueMicrotask(() => this._try());
  }

  _try() {
    if (this.readyState !== "opening") return;
    const name = this._order.shift() || "";
    const limit = this._options.timeout;
    /** @param {string} reason @param {object} [details] */
    const failed = (reason, details) => {
      if (this.readyState === "opening" && this._order.length) {
        clearTimeout(this._timer);
        this.transport?._close();
        this._try();
      } else this._end(reason, details);
    };
    this._fire("trying", name);
    // Where another transport is left to try, one that hangs may not use up all the patience.
    if (limit) this._timer = setTimeout(() => failed("timeout"), this._order.length ? limit / 4 : limit);
    try {
      this.transport = this._make(name, {
        _packet: (packet) => this._packet(packet),
        _flushed: () => this._flush(),
        _closed: failed,
      });
    } catch (description) {
      failed("transport error", { description });
    }
  }

  /** @param {string} name @param {import("./websocket.js").Ears} ears */
  _make(name, ears) {
    return new TRANSPORTS[name](this._options, this.id, ears);
  }

  /** @param {string | ArrayBuffer} packet */
  _packet(packet) {
    if (this.readyState === "closed") return;
    this._heard();
    if (typeof packet !== "string") return this._fire("message", packet);
    const rest = packet.slice(1);
    switch (packet[0]) {
      case "0":
        return this._open(rest);
      case "1":
        return this._end("transport close");
      case "2":
        return this._write("3" + rest);
      case "4":
        return this._fire("message", rest);
      case "3":
      case "6":
        return;
      default:
        this._end("parse error");
    }
  }

  /** @param {string} text */
  _open(text) {
    try {
      const handshake = JSON.parse(text);
      if (this.id || !handshake.sid || !(handshake.pingInterval + handshake.pingTimeout > 0)) throw 0;
      this._handshake = handshake;
    } catch {
      return this._end("parse error");
    }
    this.id = this._handshake.sid;
    this.readyState = "open";
    this.transport._opened?.(this._handshake);
    this._heard();
    this._check();
    this._fire("open");
    this._flush();
    upgrade(this);
  }

  /** The server pings; when it has been silent for longer than it promised, it is gone. */
  _heard() {
    if (this._handshake) this._deadline = Date.now() + this._handshake.pingInterval + this._handshake.pingTimeout;
  }

  /**
   * Looks at the clock on the wall, and often: a machine that slept wakes with its timers where they
   * stood, and may not wait for the rest of a long one.
   */
  _check() {
    if (this.readyState !== "open") return;
    clearTimeout(this._timer);
    const left = this._deadline - Date.now();
    if (left < 0) this._end("ping timeout");
    else this._timer = setTimeout(() => this._check(), Math.min(left + 1, 5000));
  }

  /** @param {string | ArrayBufferView | ArrayBuffer} data */
  send(data) {
    this._write(typeof data === "string" ? "4" + data : data);
  }

  /** @param {string | ArrayBufferView | ArrayBuffer} packet */
  _write(packet) {
    if (this.readyState === "closed") return;
    this._queue.push(packet);
    this._flush();
  }

  _flush() {
    if (this._queue.length && this.readyState === "open" && this.transport._writable && !this.transport._paused)
      this.transport._send(this._queue);
  }

  /** Ends the session from this side; `close` is told as for any other end. @param {string} [reason] */
  close(reason = "forced close") {
    this._end(reason, undefined, this._queue);
  }

  /** @param {string} reason @param {object} [details] @param {any[]} [farewell] what still has to leave */
  _end(reason, details, farewell) {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    clearTimeout(this._timer);
    this._probe?._close();
    this._probe = undefined;
    this.transport?._close(farewell);
    this._fire("close", reason, details);
  }
}
