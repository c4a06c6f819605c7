// Puts a record's values where the HTML says they belong. Text is only ever set as text: nothing that
// somebody wrote is read as HTML.
import { showTime } from "./times.js";

/** `at({author: {name: "x"}}, "author.name")` is `"x"`. */
const at = (record, path) => path.split(".").reduce((value, part) => value?.[part], record);

const each = (node, attribute, action) => {
  for (const found of node.querySelectorAll(`[data-${attribute}]`)) action(found, found.dataset[attribute]);
};

/** Fills `node`; a part that the record does not mention stays as it is. */
export function fill(node, record, visitor) {
  each(node, "text", (found, path) => {
    const value = at(record, path);
    if (value !== undefined) found.textContent = value;
  });
  each(node, "count", (found, path) => {
    const value = at(record, path);
    if (value !== undefined) count(found, value);
  });
  each(node, "time", (found, path) => at(record, path) && showTime(found, at(record, path)));
  each(node, "if", (found, path) => at(record, path) !== undefined && (found.hidden = !at(record, path)));
  each(node, "avatar", (found, path) => at(record, path) && avatar(found, at(record, path)));
  each(node, "link", (found, kind) => (found.href = `/${kind}s/${record[`${kind}_id`] ?? record.id}`));
  each(node, "action", (found, kind) => (found.action = `/${kind}s/${record.id}`));
  each(node, "value", (found, path) => value(found, at(record, path)));
  if (visitor && record.author) node.toggleAttribute("data-own", record.author.id === visitor);
}

/** A copy of a `<template>`'s element. */
export function stamp(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

function avatar(node, author) {
  node.textContent = author.initials;
  node.dataset.hue = author.hue;
}

/** A number that shows that it changed. */
function count(node, value) {
  const before = Number(node.dataset.value);
  node.dataset.value = value;
  if (before === value) return;
  node.classList.remove("up", "down");
  void node.offsetWidth; // lets the animation start anew
  node.classList.add(value > before ? "up" : "down");
}

/** A field of an edit form, unless somebody is writing in it. */
function value(field, text) {
  if (text === undefined || field.closest("details")?.open) return;
  field.value = text;
  field.defaultValue = text;
}
