// Owns: the tokens that say who the page's visitor is: one for each connect, and a new one before it expires. Knows the
// controller's socket and the positions of its rooms.

import { warn } from "./log.js";

/** Longest delay that `setTimeout` accepts. Milliseconds. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** The server's texts about a token that was valid once. */
const ENDED = ["Token has expired", "Token has been revoked"];

/** After a failure the source is called again as if a token had been valid for this long. Milliseconds. */
const RETRY = 5000;

export class Tokens {
  /** @param {import("./controller.js").NoDeventController} controller @param {any} [source] a token, or a function that returns one or a promise of one */
  constructor(controller, source) {
    this._controller = controller;
    this._source = source;
    this._attempt = 0; // number of connects
    this._isRefused = false; // the next connect has no token
    this._sent = undefined; // the token of the last connect packet
    this._accepted = undefined; // the token that gave the connection its user
  }

  /** @param {any} socket @param {(event: string, fn: Function) => void} listen */
  _attach(socket, listen) {
    listen("identified", (/** @type {any} */ identity) => this._schedule(identity?.expires_in));
    listen("connect", () => {
      if (this._accepted && !this._sent) this._controller._setUser();
      this._accepted = this._sent;
    });
    listen("expired", (/** @type {any} */ expired) => expired?.room === undefined && this._renew());
    // Without a newer token the connection goes on without a user, so that rooms with keys stay joined.
    listen("connect_error", (/** @type {any} */ err) => {
      if (!ENDED.includes(err.message) || this._isRefused) return;
      this._isRefused = true;
      warn(`${err.message}. Call NoDevent.setToken(source).`);
      socket.connect();
    });
    listen("disconnect", () => clearTimeout(this._timer));
    this._emit = (/** @type {any[]} */ ...args) => socket.emit(...args);
  }

  /** Calls `send` with what the connect packet contains, as soon as the source has returned a token. @param {(data: any) => void} send */
  async _connect(send) {
    const attempt = ++this._attempt;
    if (this._isRefused) {
      this._isRefused = false;
      return send((this._sent = 0));
    }
    const token = await this._next().catch(() => {
      setTimeout(() => attempt === this._attempt && this._connect(send), RETRY);
      return 0;
    });
    if (attempt !== this._attempt || token === 0) return;
    const since = this._controller._positions();
    this._sent = token;
    send(token && { token, since, since_user: this._controller.user.position });
  }

  /** The next token of the source. */
  async _next() {
    const source = this._source;
    try {
      return (this._last = typeof source === "function" ? await source() : source);
    } catch (error) {
      warn(`no token: ${error}. The client retries.`);
      throw error;
    }
  }

  /** Presents a new token on the live connection, if the source has one. */
  async _renew() {
    const last = this._last;
    const token = await this._next().catch(() => this._schedule(RETRY));
    if (!token || token === last || !this._controller._canSend()) return;
    this._emit?.("token", { token }, (/** @type {any} */ err, /** @type {any} */ identity) => {
      if (err) return warn(`token refused: ${err}.`);
      this._accepted = token;
      this._controller._setUser(identity.user);
      this._schedule(identity.expires_in);
    });
  }

  /** Renews the token at 80 to 90 % of its lifetime. @param {number} lifetime milliseconds */
  _schedule(lifetime) {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._renew(), Math.min(MAX_TIMEOUT, lifetime * (0.8 + 0.1 * Math.random())));
  }
}
