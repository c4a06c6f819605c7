// For pages that load the client with a script tag: `/// <reference types="nodevent/script" />`.

import type { NoDeventController as Controller } from "nodevent";

declare global {
  /** Connected to the server and the namespace of the script's own address. */
  var NoDevent: Controller;
  /** The same, as some READMEs of old spell it. */
  var Nodevent: Controller;
  var NoDeventController: typeof Controller;
}
