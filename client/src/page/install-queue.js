// Owns: the queue, a stand-in for `NoDevent` until the server's script has loaded. It records calls;
// script.js replays them in order. Objects that the page got from the queue then forward to the real ones.

import { existing, pageId } from "../nodevent/page-id.js";

const page = /** @type {any} */ (globalThis);

/** The member of the queue that script.js calls with the real `NoDevent`. */
const QUEUE = Symbol.for("nodevent.queue");

/** @type {(() => void)[]} recorded calls */
const calls = [];

/**
 * An object that records calls until `resolve` gets the real object, and forwards them from then on.
 * @param {any} values members with a known value before that
 */
function recorder(values) {
  /** @type {any} */
  let real;
  /** @param {(target: any) => any} run @param {any} [known] */
  const record = (run, known = {}) => {
    const result = recorder(known);
    calls.push(() => result._resolve(run(real)));
    return result._proxy;
  };
  const proxy = new Proxy(() => {}, {
    get(_, /** @type {string} */ name) {
      if (real) return typeof real[name] === "function" ? real[name].bind(real) : real[name];
      if (name in values) return values[name];
      // `await` and string conversion look for these members.
      if (name === "then" || typeof name === "symbol") return;
      return (/** @type {any[]} */ ...args) => record((target) => target[name](...args));
    },
    apply: () => (real ? real() : record((target) => target())),
  });
  return { _proxy: proxy, _record: record, _resolve: (/** @type {any} */ object) => (real = object) };
}

/** Defines `NoDevent`, unless it exists. */
export function installQueue() {
  if (typeof existing?.room === "function") return;
  /** @type {Map<string, any>} the same object for the same name, as in the real `NoDevent` */
  const rooms = new Map();
  /** @type {any} */
  const members = {};
  /** An object that is a member of `NoDevent`. @param {string} name @param {any} known */
  const member = (name, known) => (members[name] ||= root._record((/** @type {any} */ target) => target[name], known));
  /** @type {any} */
  const root = recorder({
    connected: () => false,
    pageId,
    get user() {
      return member("user", { id: undefined, position: undefined });
    },
    get page() {
      return member("page", { id: undefined, position: undefined });
    },
    get all() {
      return member("all", { position: undefined });
    },
    get inbox() {
      return member("inbox", { unread: 0, messages: [] });
    },
    // A promise, because a recorder is not one.
    call: (/** @type {any[]} */ ...args) => new Promise((resolve, reject) => root._record((/** @type {any} */ target) => target.call(...args).then(resolve, reject))),
    /** @param {any} data */
    room(data) {
      const id = String(data?.room ?? data);
      const run = (/** @type {any} */ target) => target.room(data);
      const known = rooms.get(id);
      // Room data sets the key and the position of a room that is known already.
      if (known && data?.room) root._record(run);
      const room = known || root._record(run, { id, joined: false, position: undefined });
      rooms.set(id, room);
      return room;
    },
    /** @param {any} object */
    [QUEUE](object) {
      root._resolve(object);
      for (const call of calls.splice(0)) {
        try {
          call();
        } catch (error) {
          // One wrong call must not stop the others.
          setTimeout(() => {
            throw error;
          });
        }
      }
    },
  });
  page.NoDevent = page.Nodevent = root._proxy;
}
