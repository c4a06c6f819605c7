// Types for pages that load the custom element: `import "nodevent/stream-source"`.

/** `<nodevent-stream-source room="…" key="…" position="…" key-url="…">`, which the gem's `nodevent_stream_from` makes. */
declare class NoDeventStreamSourceElement extends HTMLElement {}
// The file defines the element, and exports nothing.
export type { NoDeventStreamSourceElement };

declare global {
  interface HTMLElementTagNameMap {
    "nodevent-stream-source": NoDeventStreamSourceElement;
  }
  interface HTMLElementEventMap {
    /** The element's room was joined; `detail` is its state, if history is on. */
    "nodevent-joined": CustomEvent<{ position: string | null; recovered: boolean } | undefined>;
    /** The server refused the join, or the application the key; `detail` is the reason. */
    "nodevent-refused": CustomEvent<string>;
    /**
     * Streams are lost for good. The element loads the page again, unless a listener calls `preventDefault()`, or the page was
     * loaded for the same position before.
     */
    "nodevent-gap": CustomEvent<string | undefined>;
  }
}
