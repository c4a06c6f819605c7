// The visitor of the page: new tokens for a page that stays open, and what happens when the visitor has signed out.
import { fill } from "./fill.js";

/** The token that came with the page, and later ones from the application, which has none for a visitor who has signed out. */
function tokens() {
  let token = document.querySelector("meta[name=nodevent-token]")?.content;
  return async () => {
    const first = token;
    token = null;
    if (first) return first;
    const response = await fetch("/live_token", { cache: "no-store" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    return response.text(); // empty after a sign-out
  };
}

/** @param {string} visitor  the id of the visitor for whom the page was rendered */
export function watchTheVisitor(visitor) {
  const nodevent = window.NoDevent;
  if (!nodevent) return () => {};
  const source = tokens();
  let isLeaving = false;
  document.getElementById("sign-out").addEventListener("submit", () => (isLeaving = true));
  nodevent.setToken(source);
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
  return () => nodevent.setToken(source);
}

/** Shows the visitor's new name wherever the page has it. @param {{name: string, initials: string, hue: number}} me */
export function showMyName(me) {
  for (const node of document.querySelectorAll("[data-my-name]")) node.textContent = me.name;
  fill(document.body, { me });
}
