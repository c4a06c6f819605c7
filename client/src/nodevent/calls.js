// Owns: requests of the page whose response has not come: until when they wait, and which of them are not sent yet.
// What has ended is never sent.

/** Time for a response: longer than the server waits for the application. Milliseconds. */
const TIMEOUT = 60_000;

/** Requests that wait for a connection. */
const MAX_WAITING = 100;

const TOO_MANY = "Too many calls wait for a connection: call again after connect";

export class Calls {
  /** @param {import("./controller.js").NoDeventController} controller */
  constructor(controller) {
    this._controller = controller;
    /**
     * What ends each request, and what is not sent yet.
     * @type {Map<(error?: any, result?: any) => void, [string, any] | undefined>}
     */
    this._pending = new Map();
  }

  /**
   * Sends an event, and resolves to the second value of its acknowledgement.
   * @param {string} event @param {any} data @returns {Promise<any>}
   */
  _request(event, data) {
    return new Promise((resolve, reject) => {
      const end = (/** @type {any} */ error, /** @type {any} */ result) => {
        clearTimeout(timer);
        this._pending.delete(end);
        if (error) reject(Object.assign(Error(error), result));
        else resolve(result);
      };
      const fail = (end._onDisconnect = () => end("No response", { status: 0 }));
      // A connection that is lost acknowledges nothing, and the stock client does not say so.
      const timer = setTimeout(fail, TIMEOUT);
      const controller = this._controller;
      if (!controller.socket) return fail();
      const isReady = controller._canSend();
      if (!isReady && this._waiting().length >= MAX_WAITING) return end(TOO_MANY, { status: 429 });
      this._pending.set(end, [event, data]);
      if (isReady) this._flush();
    });
  }

  _waiting() {
    return [...this._pending].filter(([, request]) => request);
  }

  /** Sends what waits for a connection. */
  _flush() {
    for (const [end, request] of this._waiting()) {
      // One that was sent before may have ended this one.
      if (!this._pending.has(end)) continue;
      this._pending.set(end, undefined);
      this._controller.socket.emit(.../** @type {[string, any]} */ (request), end);
    }
  }

  /** Ends all requests: their responses are for a visitor who has left. @param {string} reason */
  _cancel(reason) {
    for (const end of this._pending.keys()) end(reason, { status: 0 });
  }
}
