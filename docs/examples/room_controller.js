// A Stimulus controller: every event of a room becomes an event of the element, `room:<name>`.
//
//   <ul data-controller="room comments" data-room-name-value="Discussion_12" data-room-key-value="<%= key %>"
//       data-action="room:created->comments#append room:gap->comments#reload"> … </ul>
//
// `NoDevent` comes from the script tag of `javascript_include_nodevent`.
import { Controller } from "@hotwired/stimulus";

const elements = new Map(); // room → how many elements use it: the last one leaves

export default class extends Controller {
  static values = { name: String, key: String };

  connect() {
    const room = (this.room = NoDevent.room(this.nameValue));
    this.undo = [
      room.onAny((event, message) => this.dispatch(event, { detail: message })),
      room.on("gap", () => this.dispatch("gap")),
      room.on("join", (err) => this.element.toggleAttribute("data-room-joined", !err)),
    ];
    elements.set(room, (elements.get(room) ?? 0) + 1);
    room.setKey(this.keyValue || undefined).join();
  }

  disconnect() {
    for (const undo of this.undo) undo();
    const others = elements.get(this.room) - 1;
    elements.set(this.room, others);
    if (!others) this.room.leave();
  }
}
