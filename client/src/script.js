// The script tag: `<script src="https://host/api/nodevent">` defines `NoDevent`, connected to the
// server and the namespace in its own URL. The file is static: the server inserts nothing into it.

import { connect } from "./nodevent/connect.js";
import { NoDeventController } from "./nodevent/controller.js";
import { currentScript, elements } from "./nodevent/document.js";
import { existing } from "./nodevent/page-id.js";

const page = /** @type {any} */ (globalThis);

const HINT = 'cannot find the server without <script src="https://SERVER/api/NAMESPACE"> or NoDevent.connect({ url }).';

/** The element that loaded this script, if there is one. */
function scriptElement() {
  if (!page.document) return;
  const current = currentScript();
  if (current?.src) return current;
  const url = urlFromStack();
  return [...elements("script[src]")].find((script) => script.src === url) || { src: url };
}

/** The URL of this script in the stack of an error: modules have no `currentScript`. Code from `eval` has no URL. */
function urlFromStack() {
  const [frame] = /^.*https?:.*$/m.exec(Error().stack || "") || [""];
  // "eval at" is V8's, " > eval" and " > Function" are Firefox's.
  return /eval at | > /.test(frame) ? "" : /https?:\/\/[^\s()]+?(?=:\d+:\d+\)?$)/.exec(frame)?.[0];
}

/** One controller per URL, also if the tag runs again (Turbo does this) or is in the page twice. */
const controllers = (page[Symbol.for("nodevent")] ||= {});

/** @param {any} script */
function controllerOf(script) {
  const [, url, namespace] = /^([^?#]*)\/api\/([^?#]+)/.exec(script?.src) || [];
  // A namespace is not a file: this is a bundle in a folder named `api`.
  if (!url || /\.m?js$/.test(namespace)) return Object.assign(new NoDeventController(), { _hint: HINT });
  return (controllers[url + namespace] ||= connect({
    url,
    namespace: decodeURIComponent(namespace),
    keyUrl: script.dataset?.nodeventKeyUrl,
    token: () => elements("meta[name=nodevent-token]")?.[0]?.content,
  }));
}

const queue = existing?.[Symbol.for("nodevent.queue")];
page.NoDeventController = NoDeventController;
page.NoDevent = page.Nodevent = controllerOf(scriptElement());
page.NoDevent.connect = page.NoDeventController.connect = connect;
queue?.(page.NoDevent);
