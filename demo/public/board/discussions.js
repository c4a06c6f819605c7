// The list of discussions: the room of the class has new ones, and the room of each discussion has its changes.
import { Collection } from "./collection.js";
import { fill, stamp } from "./fill.js";
import { fetchPage, follow, renew, soon } from "./live.js";
import { enter } from "./motion.js";
import { Readers } from "./readers.js";

const FEED = 12; // lines kept under "Just now"

export function discussionsPage(data, visitor) {
  const feed = document.getElementById("feed");
  const empty = document.getElementById("empty");
  const leaving = new Map();

  const list = new Collection(document.getElementById("discussions"), "discussion-template", {
    visitor,
    newestFirst: true,
    added: (discussion) => {
      empty.hidden = true;
      subscribe(discussion);
    },
    dropped: (id) => {
      empty.hidden = list.items.size > 0;
      leaving.get(id)?.();
      leaving.delete(id);
    },
  });

  const refresh = soon(async () => {
    list.expect();
    const now = await fetchPage("/discussions.json").catch(() => null);
    if (!now) return;
    [now, ...now.discussions].forEach(({ nodevent }) => renew(nodevent));
    renew(now.board);
    list.replace(now.discussions);
  });

  const subscribe = (discussion) => {
    if (leaving.has(discussion.id)) return;
    const handlers = {
      update: (changed) => list.put(changed),
      destroy: ({ id }) => list.remove(id),
      comment_create: (comment) => news(feed, comment, list.items.get(comment.discussion_id)),
      comment_destroy: ({ id }) => feed.querySelector(`[data-comment="${Number(id)}"]`)?.remove(),
    };
    leaving.set(discussion.id, follow(discussion.nodevent, handlers, refresh));
  };

  follow(data.nodevent, { create: (discussion) => list.put(discussion) }, refresh);
  data.discussions.forEach(subscribe);
  const readers = new Readers(data.board, document.querySelector(".rail"), { visitor, stale: refresh });
  window.NoDevent?.room(data.board.room).on("renamed", ({ user, info }) => readers.rename(user, info));

  return {
    formHandlers: {
      started: (discussion, form) => {
        form.reset();
        form.closest("details").open = false;
        list.put(discussion);
      },
    },
  };
}

function news(feed, comment, discussion) {
  if (!discussion || feed.querySelector(`[data-comment="${Number(comment.id)}"]`)) return;
  const line = stamp("news-template");
  line.dataset.comment = comment.id;
  fill(line, { ...comment, discussion: { title: discussion.querySelector("[data-text=title]").textContent } });
  feed.prepend(line);
  enter(line);
  while (feed.children.length > FEED) feed.lastElementChild.remove();
}
