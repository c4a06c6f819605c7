// A list on the page whose items are records. Records come from events, from the responses to forms and from
// fetching the whole list, in any order and more than once. The list always shows the newest state.
import { fill, stamp } from "./fill.js";
import { bow, enter, reorder } from "./motion.js";

export class Collection {
  /**
   * @param {HTMLElement} list  holds one element with `data-id` and `data-updated` per record
   * @param {string} template  the id of the `<template>` for a new one
   * @param {{visitor: string, newestFirst?: boolean, added?: (record: object, item: HTMLElement) => void,
   *   dropped?: (id: number) => void}} options
   */
  constructor(list, template, { visitor, newestFirst = false, added = () => {}, dropped = () => {} }) {
    Object.assign(this, { list, template, visitor, newestFirst, added, dropped });
    this.items = new Map([...list.children].map((item) => [Number(item.dataset.id), item]));
    this.gone = new Set();
    this.touched = new Set();
  }

  /** Adds the record or updates its item. Ignores a state older than the one shown. */
  put(record) {
    if (this.gone.has(record.id)) return;
    this.touched.add(record.id);
    const item = this.items.get(record.id);
    if (!item) this.add(record);
    else if (!(record.updated_at < item.dataset.updated)) this.change(item, record);
  }

  /** The record was deleted: also ignores events about it that arrive later. */
  remove(id) {
    this.gone.add(id);
    this.drop(id);
  }

  /** Removes the item of a record from the list. */
  drop(id) {
    const item = this.items.get(id);
    if (!item) return;
    this.items.delete(id);
    bow(item);
    this.dropped(id);
  }

  /** Starts tracking the records that change while the list is being fetched; `replace` does not overwrite them. */
  expect() {
    this.touched.clear();
  }

  /** Replaces the list by the application's current one. */
  replace(records) {
    const present = new Set(records.map(({ id }) => id));
    for (const record of this.newestFirst ? records.slice().reverse() : records) {
      if (!this.touched.has(record.id)) this.put(record);
    }
    for (const id of this.items.keys()) if (!present.has(id) && !this.touched.has(id)) this.drop(id);
  }

  add(record) {
    const item = stamp(this.template);
    item.dataset.id = record.id;
    if (item.id) item.id = item.id.replace(/\d+$/, record.id);
    this.items.set(record.id, item);
    this.write(item, record);
    if (this.newestFirst) reorder(this.list, () => this.list.prepend(item));
    else this.list.append(item);
    enter(item);
    this.added(record, item);
  }

  change(item, record) {
    const newer = record.updated_at > item.dataset.updated;
    this.write(item, record);
    if (newer && this.newestFirst && this.list.firstElementChild !== item) {
      reorder(this.list, () => this.list.prepend(item));
    }
    if (newer) enter(item, "changed");
  }

  write(item, record) {
    item.dataset.updated = record.updated_at;
    fill(item, record, this.visitor);
  }
}
