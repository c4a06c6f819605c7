// Owns: one WebSocket that carries Engine.IO packets, one packet per frame. Knows nothing of
// heartbeats, upgrades or sessions: it reports to its `TransportHandlers`.

import { address } from "./address.js";

/**
 * Callbacks from a transport to its session.
 * @typedef {object} TransportHandlers
 * @property {() => void} [_onOpen] the transport can send packets
 * @property {(packet: string | ArrayBuffer) => void} _onPacket
 * @property {() => void} [_onFlush] the transport has sent its packets and can take more
 * @property {(reason: string, details?: object) => void} _onClose called at most once, never after `_close()`
 */

export class WebSocketTransport {
  name = "websocket";

  /** @param {any} options @param {string | undefined} sid @param {TransportHandlers} handlers */
  constructor(options, sid, handlers) {
    const WebSocket = options.WebSocket || globalThis.WebSocket;
    this._writable = false;
    const socket = (this._socket = new WebSocket(
      address(options, this.name, sid).replace(/^http/, "ws"),
      options.protocols,
    ));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this._writable = true;
      handlers._onOpen?.();
    };
    socket.onmessage = (/** @type {MessageEvent} */ event) => handlers._onPacket(event.data);
    // The `close` event that follows an `error` event carries all the information there is.
    socket.onerror = () => {};
    socket.onclose = (/** @type {CloseEvent} */ { code, reason }) => {
      this._writable = false;
      handlers._onClose("transport close", { description: { code, reason } });
    };
  }

  /** Takes every packet from the queue. @param {(string | ArrayBufferView | ArrayBuffer)[]} queue */
  _send(queue) {
    for (const packet of queue.splice(0)) this._socket.send(packet);
  }

  /** Closes without a report. The browser still delivers the packets that were sent before. */
  _close() {
    const socket = this._socket;
    socket.onopen = () => socket.close();
    socket.onmessage = socket.onclose = null;
    if (socket.readyState) socket.close();
  }
}
