// The console page: connects the parts defined in the other files.

import { fetchAbout, watchAbout } from "./about.js";
import { $, make } from "./dom.js";
import { setUpEmitForm } from "./emit.js";
import { ConsoleConnection } from "./connection.js";
import { Plot } from "./plot.js";
import { Rooms } from "./rooms.js";
import { Stream } from "./stream.js";

const connection = new ConsoleConnection();
const plot = new Plot();
const stream = new Stream();
const rooms = new Rooms(connection);
setUpEmitForm(connection);

/** @type {import("./about.js").About["namespaces"]} */
let namespaces = [];

connection.on("state", (/** @type {string} */ text, /** @type {string} */ kind) => {
  $("status").dataset.state = kind;
  /** @type {HTMLElement} */ ($("status").lastElementChild).textContent = text;
  label();
});
connection.on("transport", (/** @type {string | undefined} */ name) => ($("transport").textContent = name ?? "–"));
connection.on("roundtrip", (/** @type {number | undefined} */ ms) => ($("roundtrip").textContent = ms === undefined ? "–" : `${ms.toFixed(1)} ms`));
connection.on("dialect", (/** @type {import("./dialects.js").Dialect} */ dialect) => rooms.rejoin(dialect));
connection.on("publication", (/** @type {import("./stream.js").Publication} */ publication) => {
  plot.count();
  rooms.count(publication.room);
  stream.add(publication);
});

function connect() {
  const name = $("namespace").value.trim().replace(/^\/?/, "/");
  $("namespace").value = name;
  const listed = namespaces.find((namespace) => namespace.name === name);
  $("hint").textContent = `nodevent emit ${name} <room> <event> '{"text": "hello"}'`;
  history.replaceState(null, "", `#${encodeURI(name)}`);
  connection.open(listed ?? { name, dialect: "nodevent" }, $("transports").value);
}

/** The namespace in the page's URL; empty if it cannot be decoded. */
function namespaceFromUrl() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** True if the button disconnects, false if it connects. */
const disconnects = () => !!connection.socket && $("namespace").value.trim().replace(/^\/?/, "/") === connection.namespace?.name;
const label = () => ($("toggle").textContent = disconnects() ? "Disconnect" : "Connect");

$("connect").addEventListener("submit", (event) => {
  event.preventDefault();
  if (disconnects()) connection.close();
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
  const field = /** @type {HTMLElement} */ (event.target).closest("input, textarea, select");
  if (event.key === "Escape" && field) return /** @type {HTMLElement} */ (field).blur();
  const act = keys.get(event.key);
  if (field || event.ctrlKey || event.metaKey || event.altKey || !act) return;
  event.preventDefault();
  act();
});

const about = await fetchAbout(connection.base);
if (about) {
  namespaces = about.namespaces;
  $("namespaces").append(...namespaces.map(({ name }) => make("option", { value: name })));
  if (about.version) $("about").textContent = `NoDevent ${about.version}`;
  connection.hasApplication = about.application === true;
  if (connection.hasApplication) {
    $("join-key").placeholder = "by the application";
    $("emit-key").placeholder = "not required";
    $("emit-key-hint").textContent = "The application signs keys for this page, and emits for it.";
  }
  watchAbout(connection.base, (now) => (plot.connections = now?.connections));
}
$("namespace").value = namespaceFromUrl() || namespaces[0]?.name || "/nodevent";
connect();
