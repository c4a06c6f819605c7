// The script tag: `<script src="https://host/api/nodevent">` defines `NoDevent`, connected to the
// server and the namespace in its own URL. The file is static: the server inserts nothing into it.

import { connect } from "./nodevent/connect.js";
import { NoDeventController } from "./nodevent/controller.js";

const page = /** @type {any} */ (globalThis);
const { document } = page;
// `currentScript` is null in a module.
const script = document?.currentScript || document?.querySelector("[type=module][src*='/api/']");

/** One controller per URL, also if the tag runs again (Turbo does this) or is in the page twice. */
const controllers = (page[Symbol.for("nodevent")] ||= {});

/** @param {string} src */
function controllerOf(src) {
  const [, url, namespace] = /^([^?#]*)\/api\/([^?#]+)/.exec(src) || [];
  if (!url) return new NoDeventController();
  return (controllers[url + namespace] ||= connect({ url, namespace: decodeURIComponent(namespace) }));
}

page.NoDeventController = Object.assign(NoDeventController, { connect });
page.NoDevent = page.Nodevent = controllerOf(script?.src || "");
page.NoDevent.connect = connect;
