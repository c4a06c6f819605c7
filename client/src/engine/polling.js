// Owns: HTTP long-polling: one GET that waits for packets, one POST at a time that carries them.
// Knows nothing of heartbeats, upgrades or sessions: it reports to the `Ears` it was given.

import { address } from "./address.js";

const SEPARATOR = "\x1e";
const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text).length;

/**
 * How binary packets are written as text. Without a codec there are none.
 * @typedef {{encode: (packet: any) => Promise<string>, decode: (text: string) => string | ArrayBuffer}} Codec
 */

export class PollingTransport {
  name = "polling";

  /** @param {any} options @param {string | undefined} sid @param {import("./websocket.js").Ears} ears */
  constructor(options, sid, ears) {
    this._options = options;
    /** @type {Codec | undefined} */
    this._codec = options.codec;
    this._sid = sid;
    this._ears = ears;
    this._writable = false;
    this._done = false;
    this._maxPayload = Infinity;
    this._abort = new AbortController();
    this._getting = false;
    /** @type {(() => void) | undefined} */
    this._paused = undefined;
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
  _failed(details) {
    if (this._done) return;
    this._done = true;
    this._abort.abort();
    this._ears._closed("transport error", details instanceof Error ? { description: details } : details);
  }

  async _poll() {
    this._getting = true;
    try {
      for (const text of (await this._request()).split(SEPARATOR))
        if (!this._done) this._ears._packet(this._codec ? this._codec.decode(text) : text);
      this._getting = false;
      if (this._done) return;
      if (this._paused) this._settle();
      else this._poll();
    } catch (details) {
      this._failed(details);
    }
  }

  /** The session learned its id and limits from the open packet. @param {{sid: string, maxPayload?: number}} handshake */
  _opened(handshake) {
    this._sid = handshake.sid;
    this._maxPayload = handshake.maxPayload || Infinity;
    this._writable = true;
  }

  /** Takes packets out of the queue. @param {any[]} queue */
  _send(queue) {
    this._writable = false;
    this._posting = this._post(queue);
  }

  /** @param {any} packet */
  _encode(packet) {
    return this._codec ? this._codec.encode(packet) : packet;
  }

  /** One request with as many packets as fit. @param {any[]} queue */
  async _post(queue) {
    try {
      const parts = [];
      let size = -1;
      while (queue.length) {
        const part = await this._encode(queue[0]);
        size += 1 + bytes(part);
        if (parts.length && size > this._maxPayload) break;
        parts.push(part);
        queue.shift();
      }
      await this._request(parts.join(SEPARATOR));
      this._writable = true;
      this._posting = undefined;
      if (this._paused) this._settle();
      if (!this._done) this._ears._flushed?.();
    } catch (details) {
      this._failed(details);
    }
  }

  /** Calls back once no request is under way; none is begun until `_resume()`. @param {() => void} then */
  _pause(then) {
    this._paused = then;
    this._settle();
  }

  _settle() {
    if (!this._getting && !this._posting) this._paused?.();
  }

  _resume() {
    this._paused = undefined;
    if (!this._getting) this._poll();
  }

  /** With a farewell, sends it and a close packet first. @param {any[]} [farewell] */
  async _close(farewell) {
    if (this._done) return;
    this._done = true;
    try {
      await this._posting;
      if (this._sid && farewell) await this._request([...(await Promise.all(farewell.map((packet) => this._encode(packet)))), "1"].join(SEPARATOR));
    } catch {
      // The session is over either way; the server forgets it at its next heartbeat.
    }
    this._abort.abort();
  }
}
