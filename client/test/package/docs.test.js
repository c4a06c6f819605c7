// docs/browser.md and the types agree: every option, event, method and refusal is in both.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

const docs = new URL("../../../docs/", import.meta.url);
const page = readFileSync(new URL("browser.md", docs), "utf8");
const types = readFileSync(new URL("../../types/nodevent.d.ts", import.meta.url), "utf8");

/** The body of a declaration, without the bodies of nested functions and objects. */
function body(declaration) {
  const [, text] = types.split(declaration + " {");
  assert.ok(text, `the types have no ${declaration}`);
  return text.slice(0, text.indexOf("\n}"));
}

/** The names of its public members. */
const members = (declaration) => new Set([...body(declaration).matchAll(/^  (?:readonly )?(\w+)[?]?[(:<]/gm)].map(([, name]) => name));
/** The names of its events. */
const events = (declaration) => [...body(declaration).matchAll(/event: ((?:"[\w-]+"(?: \| )?)+)/g)].flatMap(([, names]) => names.match(/[\w-]+/g));
const named = (name) => new RegExp("`(?:[^`]*\\W)?" + name + "\\b[^`]*`").test(page);

for (const declaration of [
  "export class NoDeventController implements Listenable",
  "export interface ConnectionOptions",
  "export interface ConnectOptions extends ConnectionOptions",
  "export interface Room<Events extends EventMap = EventMap> extends Listenable",
  "interface Listenable",
]) {
  test(`every member of ${/(?:interface|class) (\w+)/.exec(declaration)[1]} is in the page`, () => {
    const names = [...members(declaration)].filter((name) => name !== "constructor");
    assert.ok(names.length > 3, names.join());
    assert.deepEqual(names.filter((name) => !named(name)), []);
  });
}

test("every option in the page's table exists", () => {
  const [, table] = /\| option \| default \| \|\n\|[-|]+\n((?:\|.*\n)+)/.exec(page);
  const names = table.split("\n").flatMap((row) => row.split("|")[1]?.match(/\w+/g) ?? []);
  const known = new Set([...members("export interface ConnectionOptions"), ...members("export interface ConnectOptions extends ConnectionOptions")]);
  assert.deepEqual(new Set(names), known);
});

test("every event of a room and of the connection is in the page", () => {
  const names = ["interface RoomOn<Events extends EventMap>", "interface ControllerOn"].flatMap(events);
  assert.ok(names.includes("gap") && names.includes("reconnect_failed"), names.join());
  assert.deepEqual(names.filter((name) => !named(name)), []);
});

test("every refusal is in the page", () => {
  const [, union] = /type Refusal =([^;]+);/.exec(types);
  const words = [...union.matchAll(/"([^"]+)"/g)].map(([, word]) => word);
  assert.equal(words.length, 9);
  assert.deepEqual(words.filter((word) => !page.includes(`\`${word}\``)), []);
});

test("every link target of the page exists", () => {
  const targets = [...page.matchAll(/(?:\]\(|src="|srcset=")([^)"#:]+)[)"#]/g)].map(([, path]) => path);
  assert.ok(targets.includes("examples/use_room.js") && targets.includes("images/console-dark.png"), targets.join());
  assert.deepEqual(targets.filter((path) => !existsSync(new URL(path, docs))), []);
});
