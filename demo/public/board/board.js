// Starts the page: chooses one of the two pages and passes on its data and the visitor.
// The server renders everything on a page; these modules only update it when an event arrives.
import { discussionsPage } from "./discussions.js";
import { discussionPage } from "./discussion.js";
import { forms } from "./forms.js";
import { watchTheSignal } from "./live.js";
import { keepTime } from "./times.js";

const data = JSON.parse(document.getElementById("page").textContent);
const visitor = document.body.dataset.visitor;

const page = data?.discussion ? discussionPage(data, visitor) : discussionsPage(data, visitor);

watchTheSignal(document.getElementById("signal"));
forms({ ...page.formHandlers, renamed: ({ name }) => (document.getElementById("my-name").textContent = name) });
keepTime();
