// Starts the page: chooses one of the two pages and passes on its data and the visitor.
// The server renders everything on a page; these modules only update it when an event arrives.
import { bell } from "./bell.js";
import { discussionsPage } from "./discussions.js";
import { discussionPage } from "./discussion.js";
import { forms } from "./forms.js";
import { watchTheSignal } from "./live.js";
import { mentionButtons } from "./mention.js";
import { panels } from "./panels.js";
import { keepTime } from "./times.js";
import { rename, watchTheVisitor } from "./user.js";

const data = JSON.parse(document.getElementById("page").textContent);
const visitor = document.body.dataset.visitor;

const page = data?.discussion ? discussionPage(data, visitor) : discussionsPage(data, visitor);

watchTheSignal(document.getElementById("signal"));
watchTheVisitor(visitor);
bell();
forms({
  ...page.formHandlers,
  renamed: (me, form) => {
    rename(me);
    form.closest("details").open = false;
  },
  signed_in: () => location.reload(),
});
mentionButtons(document.querySelector(".compose textarea"));
panels();
keepTime();
