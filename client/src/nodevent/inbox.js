// Owns: the mailbox of the page's user: its messages, their order, the acknowledgements, and how many are unread. A message
// that a listener has received is not delivered to the page again; one that was acknowledged while the connection was
// lost is acknowledged again.
//
// The mailbox is opened with the first listener. Its events are those of the messages.

import { call, Emitter } from "../emitter.js";
import { Listenable } from "./listenable.js";
import { warn } from "./log.js";
import { retryDelay } from "./renewal.js";

/** Acknowledgements that are sent at a time. */
const MAX_IDS = 500;

export class Inbox extends Listenable {
  /** @param {import("./controller.js").NoDeventController} controller */
  constructor(controller) {
    super();
    this._controller = controller;
    this._isWanted = false;
    /** Messages in the mailbox that the page has not acknowledged. */
    this.unread = 0;
    this._total = 0; // the server's count
    this._reported = "0"; // the count and the ids of the last `change`
    this._changes = new Emitter();
    /** @type {Map<string, any>} messages that are not acknowledged, oldest first */
    this._messages = new Map();
    /** @type {Set<string>} ids that the page has acknowledged and the server has not confirmed */
    this._acknowledged = new Set();
    /** @type {Set<string> | undefined} ids of the first pages of a connection, until all are here */
    this._found = undefined;
    this._visit = 0; // number of connections and users
    this._failures = 0; // number of consecutive acknowledgements that failed
    /** @type {any} */
    this._timer = undefined;
    this._isSending = false;
  }

  /**
   * Listens for messages with this event, also for those that are here already.
   * @param {any} event @param {Function} fn `(message, ack, details) => …`
   */
  on(event, fn) {
    const chain = super.on(event, fn);
    this._want();
    for (const message of this._messages.values())
      if (message.event === event && this._messages.has(message.id)) call(fn, this, this._arguments(message));
    return chain;
  }

  /** The messages that are not acknowledged, oldest first. */
  get messages() {
    return [...this._messages.values()];
  }

  /**
   * Calls a function with the number of unread messages, now and whenever it or `messages` change. Returns a function that ends it.
   * @param {(unread: number) => void} fn
   */
  onChange(fn) {
    this._changes.on("change", fn);
    this._want();
    call(fn, this, [this.unread]);
    return () => void this._changes.off("change", fn);
  }

  _want() {
    this._isWanted = true;
    this._open();
  }

  /** @param {any} socket @param {(event: string, fn: Function) => void} listen */
  _attach(socket, listen) {
    this._socket = socket;
    listen("mailbox", (/** @type {any} */ page) => page && this._onPage(page));
    listen("acknowledged", (/** @type {any} */ notice) => notice && this._onAcknowledged(notice));
  }

  /** Asks for the mailbox, once per connection. */
  _open() {
    if (!this._isWanted || this._isOpen || !this._controller._canSend()) return;
    this._isOpen = true;
    this._socket.emit("mailbox", {}, (/** @type {any} */ error) => {
      this._isRefused = !!error;
      if (error) warn(`inbox refused: ${error}. The inbox needs a token, and mailbox in the server's configuration.`);
    });
  }

  _onConnect() {
    this._isOpen = this._isRefused = false;
    this._onVisit();
    this._open();
  }

  /** Another connection or another user: what was sent before is not acknowledged any more. */
  _onVisit() {
    this._visit++;
    this._failures = 0;
    this._isSending = false;
    clearTimeout(this._timer);
  }

  /** The connection has another user, and so another mailbox. @param {string} [id] */
  _onUser(id) {
    this._messages.clear();
    this._acknowledged.clear();
    this._onVisit();
    this._count(0);
    if (!id || !this._isRefused) return;
    this._isOpen = this._isRefused = false;
    this._open();
  }

  /** @param {any} page */
  _onPage({ messages, unread, first, last }) {
    if (first) this._found = new Set();
    for (const message of messages) {
      const { id } = message;
      this._found?.add(id);
      if (this._acknowledged.has(id) || this._messages.has(id)) continue;
      this._messages.set(id, message);
      this._fire(message.event, ...this._arguments(message));
    }
    if (last && this._found) {
      // What is not in the mailbox any more was acknowledged elsewhere, or has expired.
      for (const id of this._messages.keys()) if (!this._found.has(id)) this._messages.delete(id);
      for (const id of this._acknowledged) if (!this._found.has(id)) this._acknowledged.delete(id);
      this._found = undefined;
      this._send();
    }
    this._count(unread);
  }

  /** @param {any} message */
  _arguments(message) {
    const { id, sent } = message;
    return [message.message, () => this.acknowledge(id), { id, sent }];
  }

  /** Acknowledges a message: it is removed from the mailbox. @param {string} id */
  acknowledge(id) {
    if (!this._messages.delete(id)) return;
    this._acknowledged.add(id);
    this._count();
    // What is acknowledged in one go is sent together.
    queueMicrotask(() => this._send());
  }

  /** Acknowledges all messages that are here. */
  acknowledgeAll() {
    for (const id of this._messages.keys()) this.acknowledge(id);
  }

  _send() {
    if (this._isSending || !this._acknowledged.size || !this._isOpen || !this._controller._canSend()) return;
    const ids = [...this._acknowledged].slice(0, MAX_IDS);
    const visit = this._visit;
    this._isSending = true;
    this._socket.emit("acknowledge", { ids }, (/** @type {any} */ error, /** @type {any} */ result) => {
      // It is about the mailbox of an earlier user, or of a connection that was lost.
      if (visit !== this._visit) return;
      this._isSending = false;
      if (error) return void (this._timer = setTimeout(() => this._send(), retryDelay(this._failures++)));
      this._failures = 0;
      for (const id of ids) this._acknowledged.delete(id);
      this._count(result.unread);
      this._send();
    });
  }

  /** @param {any} notice */
  _onAcknowledged({ ids, up_to, unread }) {
    const isIncluded = (/** @type {string} */ id) => ids.includes(id) || (up_to && Number(id) <= Number(up_to));
    for (const list of [this._messages, this._acknowledged])
      for (const id of list.keys()) if (isIncluded(id)) list.delete(id);
    this._count(unread);
  }

  /** Counts the unread messages: the server has not confirmed some acknowledgements yet. @param {number} [total] */
  _count(total = this._total) {
    this._total = total;
    const unread = Math.max(0, total - this._acknowledged.size);
    const reported = [unread, ...this._messages.keys()].join();
    if (reported === this._reported) return;
    this._reported = reported;
    this.unread = unread;
    this._changes._fire("change", unread);
  }

  _destroy() {
    this._isWanted = false;
    this._onVisit();
    this._messages.clear();
    this._acknowledged.clear();
    this._changes.off();
    this.off();
  }
}
