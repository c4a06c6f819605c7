// The visitor of the page: new tokens for a page that stays open, and what happens when the visitor has signed out.
import { fill } from "./fill.js";

/** A token that the application has sent already: that of the page, or one with the visitor's new name. */
let token = document.querySelector("meta[name=nodevent-token]")?.content;

/** The next token. The application has none for a visitor who has signed out. */
async function nextToken() {
  const known = token;
  token = null;
  if (known) return known;
  const response = await fetch("/live_token", { cache: "no-store" });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.text(); // empty after a sign-out
}

/** @param {string} visitor  the id of the visitor for whom the page was rendered */
export function watchTheVisitor(visitor) {
  const nodevent = window.NoDevent;
  if (!nodevent) return;
  let isLeaving = false;
  document.getElementById("sign-out").addEventListener("submit", () => (isLeaving = true));
  nodevent.setToken(nextToken);
  nodevent.on("user-changed", (user) => {
    if (user === visitor || isLeaving) return;
    if (user) return location.reload(); // another visitor has signed in, in another tab
    nodevent.close();
    const signal = document.getElementById("signal");
    signal.dataset.state = "off";
    signal.firstElementChild.textContent = "Signed out";
    const dialog = document.getElementById("signed-out");
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // browsers that do not know `closedby`
    dialog.showModal();
  });
}

/**
 * Shows the visitor's new name wherever the page has it, and presents a token with it.
 * @param {{name: string, initials: string, hue: number, token: string}} me
 */
export function rename(me) {
  token = me.token;
  window.NoDevent?.setToken(nextToken);
  for (const node of document.querySelectorAll("[data-my-name]")) node.textContent = me.name;
  fill(document.body, { me });
}
