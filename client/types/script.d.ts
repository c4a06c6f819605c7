// Types for pages that load the client with a script tag: `/// <reference types="nodevent/script" />`.

import type { NoDeventController as Controller } from "nodevent";

declare global {
  /** Connected to the server and the namespace in the script's URL. */
  var NoDevent: Controller;
  /** The same under the name that some old READMEs use. */
  var Nodevent: Controller;
  var NoDeventController: typeof Controller;
}
