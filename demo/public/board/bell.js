// The bell: the mentions in the visitor's mailbox, which stay there until one of the visitor's pages acknowledges them.
// All pages of the visitor show the same ones.
import { fill, stamp } from "./fill.js";

const SHOWN = 30; // mentions in the list, the newest ones
const READ_AFTER = 1_500; // a mention that is on the screen for this long was read. Milliseconds

export function bell() {
  const inbox = window.NoDevent?.inbox;
  if (!inbox) return;
  const [badge, text, list, none, all] = ["unread", "bell-text", "mentions", "no-mentions", "read-all"].map((id) => document.getElementById(id));
  const ringing = document.getElementById("bell");
  let before = 0;

  inbox.onChange((unread) => {
    badge.hidden = !unread;
    badge.textContent = unread > 99 ? "99+" : unread;
    text.textContent = unread ? `${unread} unread ${unread === 1 ? "mention" : "mentions"}` : "No unread mentions";
    none.hidden = unread > 0;
    all.hidden = unread < 2;
    if (unread > before) ring(ringing);
    before = unread;
    const mentions = inbox.messages.filter(({ event }) => event === "mention");
    list.replaceChildren(...mentions.slice(-SHOWN).reverse().map((mention) => line(mention, inbox)));
    mentions.forEach((mention) => watch(mention, inbox));
  });
  all.addEventListener("click", () => inbox.acknowledgeAll());
}

/** A mention, as a link to its comment. Following it acknowledges it. */
function line({ id, message, sent }, inbox) {
  const item = stamp("mention-template");
  fill(item, { ...message, sent: new Date(sent).toISOString() });
  const link = item.querySelector("a");
  link.href = `/discussions/${Number(message.discussion.id)}#comment_${Number(message.comment)}`;
  link.addEventListener("click", () => {
    document.getElementById("bell").open = false;
    inbox.acknowledge(id);
  });
  return item;
}

const watched = new Set();

/** Acknowledges a mention as soon as the reader has seen its comment on this page. */
function watch({ id, message }, inbox) {
  const comment = document.getElementById(`comment_${Number(message.comment)}`);
  if (!comment || watched.has(id)) return;
  watched.add(id);
  let timer;
  const isRead = () => {
    if (!document.hasFocus()) return (timer = setTimeout(isRead, READ_AFTER));
    inbox.acknowledge(id);
    observer.disconnect();
  };
  const observer = new IntersectionObserver((entries) => {
    clearTimeout(timer);
    if (entries.at(-1).isIntersecting) timer = setTimeout(isRead, READ_AFTER);
  });
  observer.observe(comment);
}

function ring(node) {
  node.classList.remove("ringing");
  void node.offsetWidth; // restarts the animation
  node.classList.add("ringing");
}
