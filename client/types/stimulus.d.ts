// Types of the Stimulus controller: `import NodeventController from "nodevent/stimulus"`.

import { Controller } from "@hotwired/stimulus";

/** Register it as `nodevent`. It joins the room of its element and dispatches what arrives. */
export default class NodeventController extends Controller<HTMLElement> {
  static values: { room: StringConstructor; key: StringConstructor; position: StringConstructor; keyUrl: StringConstructor };
  readonly roomValue: string;
  readonly keyValue: string;
  readonly positionValue: string;
  readonly keyUrlValue: string;
  /** An action for a sign-out: `data-action="nodevent#leaveAll"`. */
  leaveAll(): void;
}
