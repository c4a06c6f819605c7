// The script tag: `<script src="https://host/api/nodevent">` defines `NoDevent`, connected to the
// server and the namespace of its own address. Nothing is echoed into it, so it is one static file.

import { connect } from "./nodevent/connect.js";
import { NoDeventController } from "./nodevent/controller.js";

const page = /** @type {any} */ (globalThis);
const { document } = page;
// A module is not told which tag it came by.
const script = document?.currentScript || document?.querySelector("[type=module][src*='/api/']");

/** One controller per address, also where the tag is run again (Turbo does) or stands twice. */
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
