// Owns: HTTP long-polling: one pending GET that waits for packets, and one POST at a time that sends
// them. Knows nothing of heartbeats, upgrades or sessions: it reports to its `TransportHandlers`.

import { address } from "./address.js";

const SEPARATOR = "\x1e";
const byteLength = (/** @type {string} */ text) => new Blob([text]).size;

/**
 * Encodes binary packets as text. Without a codec only text packets are supported.
 * @typedef {{encode: (packet: any) => Promise<string>, decode: (text: string) => string | ArrayBuffer}} Codec
 */

export class PollingTransport {
  name = "polling";

  /** @param {any} options @param {string | undefined} sid @param {import("./websocket.js").TransportHandlers} handlers */
  constructor(options, sid, handlers) {
    this._options = options;
    /** @type {Codec | undefined} */
    this._codec = options.codec;
    this._sid = sid;
    this._handlers = handlers;
    this._writable = false;
    this._closed = false;
    this._maxPayload = Infinity;
    this._abort = new AbortController();
    this._isPolling = false;
    /** @type {(() => void) | undefined} */
    this._onPaused = undefined;
    this._poll();
  }

  /** @param {string} [body] */
  async _request(body) {
    const { withCredentials, extraHeaders } = this._options;
    const response = await fetch(address(this._options, this.name, this._sid), {
      method: body === undefined ? "GET" : "POST",
      body,
      cache: "no-store",
      credentials: withCredentials ? "include" : "same-origin",
      headers: extraHeaders,
      signal: this._abort.signal,
    });
    const text = await response.text();
    if (!response.ok) throw { description: response.status, context: text };
    return text;
  }

  /** @param {any} details */
  _fail(details) {
    if (this._closed) return;
    this._closed = true;
    this._abort.abort();
    this._handlers._onClose("transport error", details instanceof Error ? { description: details } : details);
  }

  async _poll() {
    this._isPolling = true;
    try {
      for (const text of (await this._request()).split(SEPARATOR))
        if (!this._closed) this._handlers._onPacket(this._codec ? this._codec.decode(text) : text);
      this._isPolling = false;
      if (this._closed) return;
      if (this._onPaused) this._checkPaused();
      else this._poll();
    } catch (details) {
      this._fail(details);
    }
  }

  /** Takes the session's id and limits from its open packet. @param {{sid: string, maxPayload?: number}} handshake */
  _onHandshake(handshake) {
    this._sid = handshake.sid;
    this._maxPayload = handshake.maxPayload || Infinity;
    this._writable = true;
  }

  /** Takes packets from the queue. @param {any[]} queue */
  _send(queue) {
    this._writable = false;
    this._posting = this._post(queue);
  }

  /** @param {any} packet */
  _encode(packet) {
    return this._codec ? this._codec.encode(packet) : packet;
  }

  /** Sends one request with as many packets as the server accepts in one. @param {any[]} queue */
  async _post(queue) {
    try {
      const parts = [];
      let size = -1;
      while (queue.length) {
        const part = await this._encode(queue[0]);
        size += 1 + byteLength(part);
        if (parts.length && size > this._maxPayload) break;
        parts.push(part);
        queue.shift();
      }
      await this._request(parts.join(SEPARATOR));
      this._writable = true;
      this._posting = undefined;
      if (this._onPaused) this._checkPaused();
      if (!this._closed) this._handlers._onFlush?.();
    } catch (details) {
      this._fail(details);
    }
  }

  /** Calls back as soon as no request is running. None starts until `_resume()`. @param {() => void} then */
  _pause(then) {
    this._onPaused = then;
    this._checkPaused();
  }

  _checkPaused() {
    if (!this._isPolling && !this._posting) this._onPaused?.();
  }

  _resume() {
    this._onPaused = undefined;
    if (!this._isPolling) this._poll();
  }

  /** Closes without a report. Given the remaining packets, sends them and a close packet first. @param {any[]} [remaining] */
  async _close(remaining) {
    if (this._closed) return;
    this._closed = true;
    try {
      await this._posting;
      if (this._sid && remaining) await this._request([...(await Promise.all(remaining.map((packet) => this._encode(packet)))), "1"].join(SEPARATOR));
    } catch {
      // The session is over in any case; the server drops it at the next heartbeat.
    }
    this._abort.abort();
  }
}
