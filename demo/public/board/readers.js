// Who is in a room: the members of its presence, as a list of people and their number. A person with three tabs is one
// member. Knows the page's elements for them, and nothing of discussions.
import { fill, stamp } from "./fill.js";
import { follow } from "./live.js";
import { enter } from "./motion.js";

const SHOWN = 12; // people in the list

export class Readers {
  /**
   * @param {{room: string, key?: string}} pass  the application's data of the room
   * @param {HTMLElement} rail  has the list and the number
   * @param {{visitor: string, stale: () => void}} options  `stale` as for `follow`
   */
  constructor(pass, rail, { visitor, stale }) {
    Object.assign(this, { rail, visitor, members: new Map(), changes: 0 });
    this.room = window.NoDevent?.room(pass.room);
    this.room?.on("join", (refusal) => refusal || this.refresh());
    this.room?.on("gap", () => this.refresh());
    const handlers = {
      "nodevent:enter": ({ user, info, count }) => this.change(count, () => this.members.set(user, info)),
      "nodevent:leave": ({ user, count }) => this.change(count, () => this.members.delete(user)),
      "nodevent:count": ({ count, large }) => (large ? this.change(count, () => this.members.clear()) : this.refresh()),
    };
    follow(pass, handlers, stale);
  }

  /** Asks who is here. If a person has entered or left meanwhile, it asks again. */
  async refresh() {
    const before = this.changes;
    const list = await this.room.presence().catch(() => null);
    if (!list) return; // the connection was lost: the next join asks again
    if (before !== this.changes) return this.refresh();
    this.members = new Map(list.members.map(({ user, info }) => [user, info]));
    this.show(list.count);
  }

  change(count, apply) {
    this.changes++;
    apply();
    this.show(count);
  }

  /** A person has another name now. */
  rename(user, info) {
    if (!this.members.has(user)) return;
    this.members.set(user, info);
    this.show(this.count);
  }

  show(count) {
    this.count = count;
    fill(this.rail, { here: count });
    const list = this.rail.querySelector(".readers");
    const people = [...this.members].sort(([a], [b]) => (b === this.visitor) - (a === this.visitor)).slice(0, SHOWN);
    const before = new Map([...list.children].map((item) => [item.dataset.user, item]));
    const isFirst = !before.size;
    const items = people.map(([user, info]) => {
      const item = before.get(user) ?? stamp("reader-template");
      item.dataset.user = user;
      item.toggleAttribute("data-me", user === this.visitor);
      fill(item, { info: info ?? { name: "Visitor", initials: "?", hue: 0 } });
      if (!before.has(user) && !isFirst) enter(item);
      return item;
    });
    list.replaceChildren(...items);
    const more = this.rail.querySelector("#more-readers");
    more.hidden = count <= people.length;
    more.textContent = people.length ? `and ${count - people.length} more` : `${count} people`;
  }
}
