// Starts the page: which of the two it is, what the server sent with it, and who is looking.
// Everything on a page was drawn by the server; these modules only change it when something happens.
import { discussionsPage } from "./discussions.js";
import { discussionPage } from "./discussion.js";
import { forms } from "./forms.js";
import { watchTheSignal } from "./live.js";
import { keepTime } from "./times.js";

const data = JSON.parse(document.getElementById("page").textContent);
const visitor = document.body.dataset.visitor;

const page = data?.discussion ? discussionPage(data, visitor) : discussionsPage(data, visitor);

watchTheSignal(document.getElementById("signal"));
forms({ ...page.answers, renamed: ({ name }) => (document.getElementById("my-name").textContent = name) });
keepTime();
