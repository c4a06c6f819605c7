// Owns: the parts of a page that show a room: which rooms are joined for them, and which publications each
// of them still lacks. Used by the custom element and the Stimulus controller, with the public API of
// `NoDevent` only.

import { expiryOf } from "../nodevent/keys.js";
import { distance, parse } from "../nodevent/position-tracker.js";

/** The only refusal for which a newer key of the page helps. */
const EXPIRED = "Time has passed";

/** Publications kept for parts that join a room later than others, with older content. */
const MAX_RECENT = 100;

/**
 * @typedef {object} Entry a room that at least one part shows
 * @property {any} room
 * @property {Set<Membership>} members
 * @property {any[]} recent publications, oldest first
 * @property {string | undefined} key of those that the members have, the one that ends last
 * @property {(() => void)[]} removers
 */

/** Shared by all scripts of the page. @type {Map<string, Entry>} */
const entries = (/** @type {any} */ (globalThis)[Symbol.for("nodevent.memberships")] ||= new Map());

/** @param {string} name @returns {Entry} */
function entryOf(name) {
  const known = entries.get(name);
  if (known) return known;
  const { NoDevent } = /** @type {any} */ (globalThis);
  const room = NoDevent.room(name);
  const members = new Set();
  /** @type {any[]} */
  const recent = [];
  const notify = (/** @type {string} */ event, /** @type {any} */ detail) => {
    for (const member of members) member.notify(event, detail);
  };
  const removers = [
    room.onAny((/** @type {string} */ _event, /** @type {any} */ _message, /** @type {any} */ publication) => {
      if (recent.push(publication) > MAX_RECENT) recent.shift();
      for (const member of members) member.deliver(publication);
    }),
    room.on("gap", (/** @type {string} */ position) => {
      recent.length = 0;
      for (const member of members) member.gap(position);
    }),
    room.on("join", (/** @type {any} */ err, /** @type {any} */ state) => notify(err ? "refused" : "joined", err || state)),
    room.on("key-refused", (/** @type {any} */ reason) => notify("refused", reason)),
    // The visitor has left: neither the keys of these members nor what they have received is for the next one.
    NoDevent.on("leave-all", () => {
      close(name, entry);
      for (const member of members) member.isOver = true;
    }),
  ];
  /** @type {Entry} */
  const entry = { room, members, recent, removers, key: undefined };
  entries.set(name, entry);
  return entry;
}

/** @param {string} name @param {Entry} entry */
function close(name, { removers }) {
  entries.delete(name);
  for (const remove of removers) remove();
}

/** Whether a key ends before another one. @param {string} key @param {string | undefined} other */
const isEarlier = (key, other) => Number(expiryOf(key)) < Number(expiryOf(other));

export class Membership {
  /** The visitor for whom it was rendered has left. */
  isOver = false;

  /**
   * @param {{room: string, key?: string, position?: string, keyUrl?: string}} data
   * @param {(name: string, detail: any, own: boolean, position?: string) => void} dispatch receives the application's events, and
   *   `joined`, `refused` and `gap` with `own` set. `position` is that of the publication, or the one before the gap
   */
  constructor({ room: name, key, position, keyUrl }, dispatch) {
    this.name = name;
    this.dispatch = dispatch;
    this.position = parse(position) ? position : undefined;
    const entry = entryOf(name);
    entry.members.add(this);
    const { room, recent } = entry;
    if (room.joined || room.position) this.catchUp(room.position, recent);
    else room.since(position);
    // As room data, not with `setKey`: markup does not choose the key endpoint.
    if (!room.joined && (key || keyUrl)) {
      // An older part of the page may have an older key.
      if (key && !isEarlier(key, entry.key)) entry.key = key;
      /** @type {any} */ (globalThis).NoDevent.room({ room: name, key: key ? entry.key : undefined, key_url: keyUrl });
    }
    room.join();
  }

  /** Others joined before: delivers the publications that this part lacks. @param {string | undefined} newest @param {any[]} recent */
  catchUp(newest, recent) {
    const [mine, last] = [parse(this.position), parse(newest)];
    if (!mine || !last || distance(mine, last) <= 0) return;
    const missed = recent.filter((publication) => {
      const next = parse(publication.position);
      return next && distance(mine, next) > 0;
    });
    const first = parse(missed[0]?.position);
    if (first && distance(mine, first) === 1) for (const publication of missed) this.deliver(publication);
    else this.gap(newest);
  }

  /** @param {any} publication */
  deliver({ event, message, position }) {
    const next = parse(position);
    if (next) {
      // The content of this part is newer than this publication.
      if (distance(parse(this.position), next) <= 0) return;
      this.position = position;
    }
    this.dispatch(event, message, false, position);
  }

  /** The content of this part is newer now: publications up to its position are in it. @param {string | undefined} position */
  advance(position) {
    const next = parse(position);
    if (next && distance(parse(this.position), next) > 0) this.position = position;
  }

  /** @param {string | undefined} position */
  gap(position) {
    const before = this.position;
    this.position = position;
    this.dispatch("gap", position, true, before);
  }

  /** @param {string} event @param {any} detail */
  notify(event, detail) {
    if (event === "joined" && !this.position) this.position = detail?.position || undefined;
    this.dispatch(event, detail, true);
  }

  /** The key in use, for a page that is cached and shown again. */
  get key() {
    return entries.get(this.name)?.room.getKey();
  }

  /**
   * Joins again with a key that ends later than the one that has expired, and than all that the page has presented. Returns
   * false if there is none.
   * @param {any} reason of the refusal @param {string | undefined} key
   */
  renew(reason, key) {
    const entry = entries.get(this.name);
    if (reason !== EXPIRED || !key || !entry) return false;
    if (![this.key, entry.key].every((other) => !other || isEarlier(other, key))) return false;
    entry.key = key;
    /** @type {any} */ (globalThis).NoDevent.room({ room: this.name, key });
    return true;
  }

  /** Ends this part's use of the room. The last part leaves, unless the next page shows the room too. */
  end() {
    const entry = entries.get(this.name);
    if (!entry?.members.delete(this)) return;
    setTimeout(() => {
      if (entry.members.size || entries.get(this.name) !== entry) return;
      close(this.name, entry);
      entry.room.leave();
    });
  }
}

/** True while Turbo shows a cached page until the new one arrives. */
export const isPreview = () => document.documentElement.hasAttribute("data-turbo-preview");
