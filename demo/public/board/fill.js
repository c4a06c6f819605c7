// Puts a record's values into the elements that the HTML marks for them. Text is always set as text: user input
// is never parsed as HTML.
import { showTime } from "./times.js";

/** `at({author: {name: "x"}}, "author.name")` is `"x"`. */
const at = (record, path) => path.split(".").reduce((value, part) => value?.[part], record);

const each = (node, attribute, action) => {
  for (const found of node.querySelectorAll(`[data-${attribute}]`)) action(found, found.dataset[attribute]);
};

/** Fills `node`. Parts that the record does not contain stay as they are. */
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

/** A number that is animated when it changes. */
function count(node, value) {
  const before = Number(node.dataset.value);
  node.dataset.value = value;
  if (before === value) return;
  node.classList.remove("up", "down");
  void node.offsetWidth; // restarts the animation
  node.classList.add(value > before ? "up" : "down");
}

/** Fills a field of an edit form, unless the form is open. */
function value(field, text) {
  if (text === undefined || field.closest("details")?.open) return;
  field.value = text;
  field.defaultValue = text;
}
