// Owns: the parts of a page that show a room: which rooms are joined for them, and which publications each
// of them still lacks. Used by the custom element and the Stimulus controller, with the public API of
// `NoDevent` only.

import { distance, parse } from "../nodevent/position-tracker.js";

/** Publications kept for parts that join a room later than others, with older content. */
const MAX_RECENT = 100;

/**
 * @typedef {object} Entry a room that at least one part shows
 * @property {any} room
 * @property {Set<Membership>} members
 * @property {any[]} recent publications, oldest first
 * @property {(() => void)[]} removers
 */

/** Shared by all scripts of the page. @type {Map<string, Entry>} */
const entries = (/** @type {any} */ (globalThis)[Symbol.for("nodevent.memberships")] ||= new Map());

/** @param {string} name @returns {Entry} */
function entryOf(name) {
  const known = entries.get(name);
  if (known) return known;
  const room = /** @type {any} */ (globalThis).NoDevent.room(name);
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
  ];
  const entry = { room, members, recent, removers };
  entries.set(name, entry);
  return entry;
}

export class Membership {
  /**
   * @param {{room: string, key?: string, position?: string, keyUrl?: string}} data
   * @param {(name: string, detail: any, own: boolean) => void} dispatch receives the application's events, and
   *   `joined`, `refused` and `gap` with `own` set
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
    if (!room.joined && (key || keyUrl)) /** @type {any} */ (globalThis).NoDevent.room({ room: name, key: key || undefined, key_url: keyUrl });
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
    this.dispatch(event, message, false);
  }

  /** The content of this part is newer now: publications up to its position are in it. @param {string | undefined} position */
  advance(position) {
    const next = parse(position);
    if (next && distance(parse(this.position), next) > 0) this.position = position;
  }

  /** @param {string | undefined} position */
  gap(position) {
    this.position = position;
    this.notify("gap", position);
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

  /** Joins again with a newer key than the one that was refused. Returns false if it is the same. @param {string | undefined} key */
  renew(key) {
    if (!key || key === this.key) return false;
    /** @type {any} */ (globalThis).NoDevent.room({ room: this.name, key });
    return true;
  }

  /** Ends this part's use of the room. The last part leaves, unless the next page shows the room too. */
  end() {
    const entry = entries.get(this.name);
    if (!entry?.members.delete(this)) return;
    setTimeout(() => {
      if (entry.members.size || entries.get(this.name) !== entry) return;
      entries.delete(this.name);
      for (const remove of entry.removers) remove();
      entry.room.leave();
    });
  }
}

/** True while Turbo shows a cached page until the new one arrives. */
export const isPreview = () => document.documentElement.hasAttribute("data-turbo-preview");
