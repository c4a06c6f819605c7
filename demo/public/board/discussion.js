// One discussion: its room has the events of the discussion and of its comments. Who reads it is the presence of another.
import { Collection } from "./collection.js";
import { fill } from "./fill.js";
import { fetchPage, follow, renew, soon } from "./live.js";
import { enter } from "./motion.js";
import { Readers } from "./readers.js";

export function discussionPage(data, visitor) {
  const { id } = data.discussion;
  const thread = document.getElementById("thread");
  const page = document.getElementById("main");

  const comments = new Collection(document.getElementById("comments"), "comment-template", {
    visitor,
    added: (comment, item) => comment.author.id === visitor || arrivedBelow(item),
  });

  const update = (discussion) => {
    if (discussion.updated_at < thread.dataset.updated) return;
    const opening = document.getElementById("opening");
    const rewritten = opening.querySelector("[data-text=title]").textContent !== discussion.title
      || opening.querySelector("[data-text=body]").textContent !== discussion.body;
    thread.dataset.updated = discussion.updated_at;
    document.title = `${discussion.title} · Parlour`;
    patchPage(page, opening, discussion);
    if (rewritten) enter(opening, "changed");
  };

  const close = () => {
    if (thread.hasAttribute("data-closed")) return;
    thread.setAttribute("data-closed", "");
    thread.querySelectorAll("form").forEach((form) => form.remove());
    document.getElementById("closed").hidden = false;
  };

  const refresh = soon(async () => {
    comments.expect();
    const path = `/discussions/${id}.json`;
    const now = await fetchPage(path).catch(() => undefined);
    if (now === undefined) return;
    if (now === null) return close();
    [now.discussion.nodevent, now.board, now.readers].forEach(renew);
    update(now.discussion);
    comments.replace(now.comments);
  });

  const handlers = {
    update,
    destroy: close,
    comment_create: (comment) => comments.put(comment),
    comment_update: (comment) => comments.put(comment),
    comment_destroy: (comment) => comments.remove(comment.id),
  };
  follow(data.discussion.nodevent, handlers, refresh);
  const readers = new Readers(data.readers, page.querySelector(".rail"), { visitor, stale: refresh });
  follow(data.board, { renamed: ({ user, info }) => readers.rename(user, info) }, refresh);

  return {
    formHandlers: {
      said: (comment, form) => {
        form.reset();
        comments.put(comment);
        comments.items.get(comment.id)?.scrollIntoView({ block: "nearest", behavior: "smooth" });
      },
      changed: (record, form) => {
        form.closest("details").open = false;
        if ("title" in record) update(record);
        else comments.put(record);
      },
      deleted: (_, form) => {
        const comment = form.closest(".comment");
        if (comment) comments.remove(Number(comment.dataset.id));
        else location.assign("/");
      },
    },
  };
}

/** The discussion's own text is in `opening`; its counts are in several places of the page. */
function patchPage(page, opening, discussion) {
  const { comments_count, updated_at } = discussion;
  fill(opening, discussion);
  for (const part of page.querySelectorAll(".replies, .rail")) fill(part, { comments_count, updated_at });
}

/** Shows a new comment: scrolls to it if the reader was at the end, otherwise shows a notice. */
function arrivedBelow(item) {
  const visible = document.querySelector(".compose").getBoundingClientRect().top;
  if (item.getBoundingClientRect().bottom < visible) return;
  const before = item.previousElementSibling?.getBoundingClientRect().bottom ?? 0;
  if (before < visible + 40) return item.scrollIntoView({ block: "nearest", behavior: "smooth" });
  const sign = document.getElementById("newcomer");
  sign.href = `#${item.id}`;
  sign.hidden = false;
  new IntersectionObserver(([seen], observer) => {
    if (!seen.isIntersecting) return;
    sign.hidden = true;
    observer.disconnect();
  }).observe(item);
}
