// All of this board that is not stock Turbo.
import { Turbo } from "@hotwired/turbo-rails";

// A form stays on the page when it is morphed, so that a reply is not lost while it is written.
addEventListener("turbo:submit-end", ({ target, detail }) => {
  if (!detail.success) return;
  target.reset();
  target.closest("details")?.removeAttribute("open");
});

// Turbo ignores a refresh that arrives while it loads a page, which may not have the change yet.
let refreshed = 0;
let requested = 0;
addEventListener("turbo:before-stream-render", ({ target }) => {
  if (target.action === "refresh") refreshed = performance.now();
});
addEventListener("turbo:visit", () => (requested = performance.now()));
addEventListener("turbo:load", () => {
  if (refreshed > requested) Turbo.session.refresh(document.baseURI);
});
