// Owns: the tokens that say who the page's visitor is: one for each connect, and a new one before it expires. Knows the
// controller's socket and the positions of its rooms.

import { expiryOf } from "./keys.js";
import { warn } from "./log.js";
import { Renewal } from "./renewal.js";

/** The server's texts about a token that was valid once. */
const ENDED = ["Token has expired", "Token has been revoked"];

export class Tokens {
  /** @param {import("./controller.js").NoDeventController} controller @param {any} [source] a token, or a function that returns one or a promise of one */
  constructor(controller, source) {
    this._controller = controller;
    this._source = source;
    this._visitors = 0; // who have signed out
    this._renewal = new Renewal(() => this._renew());
    this._attempt = 0; // number of connects
    this._isRefused = false; // the next connect has no token
    this._sent = undefined; // the token of the last connect packet
    this._accepted = undefined; // the token that gave the connection its user
    this._scheduled = undefined; // the token that is renewed next
  }

  /** @param {any} socket @param {(event: string, fn: Function) => void} listen */
  _attach(socket, listen) {
    listen("identified", (/** @type {any} */ identity) => this._schedule(this._sent, identity));
    listen("connect", () => {
      if (this._accepted && !this._sent) this._controller._setUser();
      this._accepted = this._sent;
    });
    listen("expired", (/** @type {any} */ expired) => expired?.room === undefined && this._onExpired());
    // Without a newer token the connection goes on without a user, so that rooms with keys stay joined.
    listen("connect_error", (/** @type {any} */ err) => {
      if (!ENDED.includes(err.message) || this._isRefused) return;
      this._isRefused = true;
      warn(`${err.message}. Call NoDevent.setToken(source).`);
      socket.connect();
    });
    listen("disconnect", () => this._renewal._stop());
    this._emit = (/** @type {any[]} */ ...args) => socket.emit(...args);
  }

  /** Calls `send` with what the connect packet contains, as soon as the source has returned a token. @param {(data: any) => void} send */
  async _connect(send) {
    const attempt = ++this._attempt;
    if (this._isRefused) {
      this._isRefused = false;
      return send((this._sent = 0));
    }
    let token;
    try {
      token = await this._next();
    } catch {
      return void setTimeout(() => attempt === this._attempt && this._connect(send), this._renewal._nextDelay());
    }
    if (attempt !== this._attempt) return;
    const since = this._controller._positions();
    this._sent = token;
    send(token && { token, since, since_user: this._controller.user.position });
  }

  /** The next token of the source. @returns {Promise<any>} */
  async _next() {
    const [source, visitors] = [this._source, this._visitors];
    let token;
    try {
      token = typeof source === "function" ? await source() : source;
    } catch (error) {
      warn(`no token: ${error}. The client retries.`);
      throw error;
    }
    // It is that of a visitor who has left, or of another source.
    if (source !== this._source || visitors !== this._visitors) return this._next();
    return (this._last = token);
  }

  _stop() {
    this._attempt++;
    this._renewal._stop();
  }

  /** The visitor has left: tokens that were requested before are not used. */
  _forget() {
    this._visitors++;
  }

  /** Presents a new token on the live connection, if the source has one. */
  async _renew() {
    const last = this._last;
    let token;
    try {
      token = await this._next();
    } catch {
      return this._renewal._retry();
    }
    if (!token || token === last || !this._controller._canSend()) return;
    this._emit?.("token", { token }, (/** @type {any} */ err, /** @type {any} */ identity) => {
      if (err) return warn(`token refused: ${err}.`);
      this._accepted = token;
      this._controller._setUser(identity.user);
      this._schedule(token, identity);
    });
  }

  /** The server has accepted a token. @param {any} token @param {any} identity */
  _schedule(token, identity) {
    // The same token on another connection is not the next one.
    if (token === this._scheduled) this._renewal._end = 0;
    this._scheduled = token;
    if (identity?.expires_in >= 0) this._renewal._start(identity.expires_in, expiryOf(token));
  }

  /** The connection needs a new token: at once, unless the one before was hardly valid either. */
  _onExpired() {
    if (!this._renewal._failures++) this._renew();
    else if (!this._renewal._timer) this._renewal._retry();
  }
}
