// Types for pages that load the custom element: `import "nodevent/room-element"`.

/** `<nodevent-room room="…" key="…" position="…" key-url="…">`, also with the attributes of `nodevent_data`. */
declare class NoDeventRoomElement extends HTMLElement {}
// The file defines the element, and exports nothing.
export type { NoDeventRoomElement };

declare global {
  interface HTMLElementTagNameMap {
    "nodevent-room": NoDeventRoomElement;
  }
  interface HTMLElementEventMap {
    /** The element's room was joined; `detail` is its state, if history is on. */
    "nodevent-joined": CustomEvent<{ position: string | null; recovered: boolean } | undefined>;
    /** The server refused the join, or the application the key; `detail` is the reason. */
    "nodevent-refused": CustomEvent<string>;
    /** Publications are lost for good. */
    "nodevent-gap": CustomEvent<string | undefined>;
  }
}
