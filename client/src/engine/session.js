// Owns: one Engine.IO session: its transport, handshake, heartbeat and end. A session is used once:
// to reconnect, connection.js creates a new one.

import { Emitter } from "../emitter.js";
import { stopwatch } from "./stopwatch.js";
import { PollingTransport } from "./polling.js";
import { upgrade } from "./upgrade.js";
import { WebSocketTransport } from "./websocket.js";

/** @type {Record<string, any>} */
const TRANSPORTS = { websocket: WebSocketTransport, polling: PollingTransport };

/**
 * Events: `trying(name)` before each transport, `open`, `message(data)`, `upgrade(transport)`, and one
 * `close(reason, details)`, also if the session never opened.
 */
export class Session extends Emitter {
  /** @param {any} options @param {string[]} order the transports to try, in this order */
  constructor(options, order) {
    super();
    this._options = options;
    this._order = [...order];
    this.readyState = "opening";
    /** @type {string | undefined} */
    this.id = undefined;
    /** @type {(string | ArrayBufferView | ArrayBuffer)[]} */
    this._queue = [];
    /** @type {any} a WebSocket that may replace polling */
    this._probe = undefined;
    this._silence = stopwatch(); // since the last packet
    // The caller attaches its listeners after the constructor returns.
    queueMicrotask(() => this._tryNext());
  }

  _tryNext() {
    if (this.readyState !== "opening") return;
    const name = this._order.shift() || "";
    const { timeout } = this._options;
    /** @param {string} reason @param {object} [details] */
    const onClose = (reason, details) => {
      if (this.readyState === "opening" && this._order.length) {
        clearTimeout(this._timer);
        this.transport?._close();
        this._tryNext();
      } else this._end(reason, details);
    };
    this._fire("trying", name);
    // A transport that hangs gets only part of the time if there is another one to try.
    if (timeout) this._timer = setTimeout(() => onClose("timeout"), this._order.length ? timeout / 4 : timeout);
    try {
      this.transport = this._createTransport(name, {
        _onPacket: (packet) => this._onPacket(packet),
        _onFlush: () => this._flush(),
        _onClose: onClose,
      });
    } catch (description) {
      onClose("transport error", { description });
    }
  }

  /** @param {string} name @param {import("./websocket.js").TransportHandlers} handlers */
  _createTransport(name, handlers) {
    return new TRANSPORTS[name](this._options, this.id, handlers);
  }

  /** @param {string | ArrayBuffer} packet */
  _onPacket(packet) {
    if (this.readyState === "closed") return;
    this._onSignOfLife();
    if (typeof packet !== "string") return this._fire("message", packet);
    const rest = packet.slice(1);
    switch (packet[0]) {
      case "0":
        return this._onHandshake(rest);
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
  _onHandshake(text) {
    try {
      const handshake = JSON.parse(text);
      if (this.id || !handshake.sid || !(handshake.pingInterval + handshake.pingTimeout > 0)) throw 0;
      this._handshake = handshake;
    } catch {
      return this._end("parse error");
    }
    this.id = this._handshake.sid;
    this.readyState = "open";
    this.transport._onHandshake?.(this._handshake);
    this._onSignOfLife();
    this._checkDeadline();
    this._fire("open");
    this._flush();
    upgrade(this);
  }

  /** The server sends pings. If it is silent for longer than its handshake allows, the session is lost. */
  _onSignOfLife() {
    this._silence = stopwatch();
  }

  /**
   * Checks the clock every few seconds instead of setting one long timer: timers stop while the
   * machine sleeps and continue where they stopped.
   */
  _checkDeadline() {
    if (this.readyState !== "open") return;
    clearTimeout(this._timer);
    const left = this._handshake.pingInterval + this._handshake.pingTimeout - this._silence();
    if (left < 0) this._end("ping timeout");
    else this._timer = setTimeout(() => this._checkDeadline(), Math.min(left + 1, 5000));
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
    if (this._queue.length && this.readyState === "open" && this.transport._writable && !this.transport._onPaused)
      this.transport._send(this._queue);
  }

  /** Ends the session from this side. Fires `close` like any other end. @param {string} [reason] */
  close(reason = "forced close") {
    this._end(reason, undefined, this._queue);
  }

  /** @param {string} reason @param {object} [details] @param {any[]} [remaining] packets to send before closing */
  _end(reason, details, remaining) {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    clearTimeout(this._timer);
    this._probe?._close();
    this._probe = undefined;
    this.transport?._close(remaining);
    this._fire("close", reason, details);
  }
}
