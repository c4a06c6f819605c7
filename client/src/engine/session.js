// Owns: one Engine.IO session: which transport carries it, its handshake, heartbeat, upgrade, end.
// A session never comes back: reconnecting is link.js, which makes a new one.

import { Emitter } from "../emitter.js";
import { PollingTransport } from "./polling.js";
import { WebSocketTransport } from "./websocket.js";

/** @type {Record<string, any>} */
const TRANSPORTS = { __proto__: null, websocket: WebSocketTransport, polling: PollingTransport };

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
    // Listeners are attached by the caller once it has the session in hand.
    queueMicrotask(() => this._try());
  }

  _try() {
    if (this.readyState !== "opening") return;
    const name = this._order.shift() || "";
    const limit = this._options.timeout;
    /** @param {string} reason @param {object} [details] */
    const failed = (reason, details) => {
      clearTimeout(this._timer);
      if (this.readyState === "opening" && this._order.length) {
        this.transport?._close();
        this._try();
      } else this._end(reason, details);
    };
    this._fire("trying", name);
    // Where another transport is left to try, one that hangs may not use up all the patience.
    if (limit) this._timer = setTimeout(() => failed("timeout"), this._order.length ? limit / 4 : limit);
    try {
      this.transport = this._make(name, undefined, failed);
    } catch (description) {
      this.transport = undefined;
      failed("transport error", { description });
    }
  }

  /** @param {string} name @param {string | undefined} sid @param {(reason: string, details?: object) => void} closed */
  _make(name, sid, closed) {
    const transport = new TRANSPORTS[name](this._options, sid, {
      _packet: (/** @type {string | ArrayBuffer} */ packet) => {
        if (transport === this.transport) this._packet(packet);
      },
      _flushed: () => this._flush(),
      _closed: (/** @type {string} */ reason, /** @type {object | undefined} */ details) => {
        if (transport === this.transport) closed(reason, details);
      },
    });
    return transport;
  }

  /** @param {string | ArrayBuffer} packet */
  _packet(packet) {
    if (this.readyState === "closed") return;
    if (typeof packet !== "string") return this._fire("message", packet);
    this._heard();
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
    }
  }

  /** @param {string} text */
  _open(text) {
    try {
      const handshake = JSON.parse(text);
      if (!handshake.sid || !(handshake.pingInterval + handshake.pingTimeout > 0)) throw 0;
      this._handshake = handshake;
    } catch {
      return this._end("parse error");
    }
    this.id = this._handshake.sid;
    this.readyState = "open";
    this.transport._opened?.(this._handshake);
    this._heard();
    this._fire("open");
    this._flush();
    if (this.transport?.name === "polling" && this._options.upgrade !== false) this._upgrade();
  }

  /** The server pings; when it has been silent for longer than it promised, it is gone. */
  _heard() {
    if (!this._handshake) return;
    const { pingInterval, pingTimeout } = this._handshake;
    this._deadline = Date.now() + pingInterval + pingTimeout;
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._end("ping timeout"), pingInterval + pingTimeout);
  }

  /** For the moment a machine wakes: its timers stood still, the clock on the wall did not. */
  _check() {
    if (this._deadline && Date.now() > this._deadline) this._end("ping timeout");
  }

  /** Moves from polling to WebSocket without losing or reordering a packet. */
  _upgrade() {
    const name = "websocket";
    if (!this._handshake.upgrades?.includes(name) || !this._options.transports.includes(name)) return;
    const polling = this.transport;
    const settle = () => {
      clearTimeout(timer);
      this._probe = undefined;
    };
    const failed = () => {
      if (this._probe !== probe) return;
      settle();
      probe._close();
      if (polling._paused) polling._resume();
    };
    const timer = setTimeout(() => failed(), this._options.timeout || 2e4);
    /** @type {any} */
    let probe;
    try {
      probe = this._probe = new TRANSPORTS[name](this._options, this.id, {
        _opened: () => probe._send(["2probe"]),
        _packet: (/** @type {string | ArrayBuffer} */ packet) => {
          if (probe === this.transport) this._packet(packet);
          else if (packet === "3probe") {
            polling._pause(() => {
              if (this._probe !== probe) return;
              settle();
              probe._send(["5"]);
              this.transport = probe;
              this._fire("upgrade", probe);
              this._flush();
            });
          } else failed();
        },
        _closed: (/** @type {string} */ reason, /** @type {object | undefined} */ details) => {
          if (probe === this.transport) this._end(reason, details);
          else failed();
        },
      });
    } catch {
      settle();
    }
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
