// Owns: one WebSocket that carries Engine.IO packets, one packet per frame.
// Knows nothing of heartbeats, upgrades or sessions: it reports to the `Ears` it was given.

import { address } from "./address.js";

/**
 * What a transport tells its session.
 * @typedef {object} Ears
 * @property {() => void} [_opened] packets may be sent
 * @property {(packet: string | ArrayBuffer) => void} _packet
 * @property {() => void} [_flushed] what was handed over has left; more may be sent
 * @property {(reason: string, details?: object) => void} _closed said at most once, never after `_close()`
 */

export class WebSocketTransport {
  name = "websocket";

  /** @param {any} options @param {string | undefined} sid @param {Ears} ears */
  constructor(options, sid, ears) {
    const WebSocket = options.WebSocket || globalThis.WebSocket;
    this._writable = false;
    const socket = (this._socket = new WebSocket(
      address(options, this.name, sid).replace(/^http/, "ws"),
      options.protocols,
    ));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this._writable = true;
      ears._opened?.();
    };
    socket.onmessage = (/** @type {MessageEvent} */ event) => ears._packet(event.data);
    // A browser says nothing in `error` that `close` does not say after it.
    socket.onerror = () => {};
    socket.onclose = (/** @type {CloseEvent} */ { code, reason }) => {
      this._writable = false;
      ears._closed("transport close", { description: { code, reason } });
    };
  }

  /** Takes every packet out of the queue. @param {(string | ArrayBufferView | ArrayBuffer)[]} queue */
  _send(queue) {
    for (const packet of queue.splice(0)) this._socket.send(packet);
  }

  /** The browser delivers what was sent before it closes; nothing is reported from here on. */
  _close() {
    const socket = this._socket;
    socket.onopen = () => socket.close();
    socket.onmessage = socket.onclose = null;
    if (socket.readyState) socket.close();
  }
}
