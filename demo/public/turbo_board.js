// All of this board that is not stock Turbo.
import { Turbo } from "@hotwired/turbo-rails";

// A form stays on the page when it is morphed, so that a reply is not lost while it is written.
addEventListener("turbo:submit-end", ({ target, detail }) => {
  if (!detail.success) return;
  target.reset();
  target.closest("details")?.removeAttribute("open");
  if (target.matches(".compose")) addEventListener("turbo:render", showLastReply, { once: true });
});

function showLastReply() {
  document.querySelector("#comments > :last-child")?.scrollIntoView({ block: "nearest" });
}

// A notice stays too, until the visitor sends something or leaves the page.
addEventListener("turbo:submit-start", () => document.querySelectorAll(".notice").forEach((notice) => notice.remove()));

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
