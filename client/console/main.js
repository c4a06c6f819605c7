// The console page: connects what the other files own.

import { ask, follow } from "./about.js";
import { $, make } from "./dom.js";
import { emitWith } from "./emit.js";
import { Link } from "./link.js";
import { Plot } from "./plot.js";
import { Rooms } from "./rooms.js";
import { Stream } from "./stream.js";

const link = new Link();
const plot = new Plot();
const stream = new Stream();
const rooms = new Rooms(link);
emitWith(link);

/** @type {import("./about.js").About["namespaces"]} */
let namespaces = [];

link.on("state", (/** @type {string} */ text, /** @type {string} */ kind) => {
  $("status").dataset.state = kind;
  /** @type {HTMLElement} */ ($("status").lastElementChild).textContent = text;
  label();
});
link.on("transport", (/** @type {string | undefined} */ name) => ($("transport").textContent = name ?? "–"));
link.on("roundtrip", (/** @type {number | undefined} */ ms) => ($("roundtrip").textContent = ms === undefined ? "–" : `${ms.toFixed(1)} ms`));
link.on("dialect", (/** @type {import("./dialects.js").Dialect} */ dialect) => rooms.moved(dialect));
link.on("emission", (/** @type {import("./stream.js").Heard} */ heard) => {
  plot.heard();
  rooms.heard(heard.room);
  stream.add(heard);
});

function connect() {
  const name = $("namespace").value.trim().replace(/^\/?/, "/");
  $("namespace").value = name;
  const known = namespaces.find((namespace) => namespace.name === name);
  $("hint").textContent = `nodevent emit ${name} <room> <event> '{"text": "hello"}'`;
  history.replaceState(null, "", `#${encodeURI(name)}`);
  link.open(known ?? { name, dialect: "nodevent" }, $("transports").value);
}

/** The namespace that the address names, if it can be read. */
function addressed() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** Whether what the button does is to end the connection there is. */
const ends = () => !!link.socket && $("namespace").value.trim().replace(/^\/?/, "/") === link.namespace?.name;
const label = () => ($("toggle").textContent = ends() ? "Disconnect" : "Connect");

$("connect").addEventListener("submit", (event) => {
  event.preventDefault();
  if (ends()) link.close();
  else connect();
});
$("namespace").addEventListener("input", label);
$("transports").addEventListener("change", connect);

/** @type {Map<string, () => void>} */
const keys = new Map([
  ["j", () => $("join-room").focus()],
  ["e", () => $("emit-room").focus()],
  ["/", () => $("filter").focus()],
  ["p", () => stream.pause()],
  ["c", () => stream.clear()],
]);

addEventListener("keydown", (event) => {
  const writes = /** @type {HTMLElement} */ (event.target).closest("input, textarea, select");
  if (event.key === "Escape" && writes) return /** @type {HTMLElement} */ (writes).blur();
  const act = keys.get(event.key);
  if (writes || event.ctrlKey || event.metaKey || event.altKey || !act) return;
  event.preventDefault();
  act();
});

const about = await ask(link.base);
if (about) {
  namespaces = about.namespaces;
  $("namespaces").append(...namespaces.map(({ name }) => make("option", { value: name })));
  if (about.version) $("about").textContent = `NoDevent ${about.version}`;
  follow(link.base, (now) => (plot.connections = now?.connections));
}
$("namespace").value = addressed() || namespaces[0]?.name || "/nodevent";
connect();
