// Sends forms without leaving the page, and hands what comes back to the page that asked. Without this
// module the same forms work, with a page load each.

/**
 * @param {Record<string, (record: object | null, form: HTMLFormElement) => void>} answers  what to do with
 *   the application's answer, by the form's `data-answer`
 */
export function forms(answers) {
  document.addEventListener("submit", (submit) => {
    const form = submit.target;
    const answer = answers[form.dataset.answer];
    if (!answer) return;
    submit.preventDefault();
    if (form.dataset.confirm && !confirmed(form)) return;
    send(form).then((record) => record !== undefined && answer(record, form));
  });
  document.addEventListener("keydown", (key) => {
    if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) key.target.form?.requestSubmit();
  });
}

/** The record, `null` where nothing is left of it, `undefined` where the application refused. */
async function send(form) {
  const button = form.querySelector("button, [type=submit]");
  button.disabled = true;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      // The page's own token: that in a form copied from a template belongs to the template's address.
      headers: { Accept: "application/json", "X-CSRF-Token": document.querySelector("meta[name=csrf-token]").content },
      body: new FormData(form),
    });
    const said = answer.status === 204 ? null : await answer.json();
    if (!answer.ok) return complain(form, said.errors?.join(", ") ?? `The application answered ${answer.status}.`);
    complain(form, "");
    return said;
  } catch {
    return complain(form, "The application cannot be reached. Nothing was lost: try again.");
  } finally {
    button.disabled = false;
  }
}

function complain(form, text) {
  let place = form.querySelector(".errors");
  if (!place && text) {
    place = document.createElement("p");
    place.className = "errors";
    place.setAttribute("role", "alert");
    form.prepend(place);
  }
  if (!place) return;
  place.textContent = text;
  place.hidden = !text;
}

/** A first press asks, a second within four seconds does it. */
function confirmed(form) {
  const button = form.querySelector("button, [type=submit]");
  if (button.dataset.asked) return true;
  const label = button.tagName === "INPUT" ? "value" : "textContent";
  const before = button[label];
  button[label] = form.dataset.confirm;
  button.dataset.asked = "yes";
  setTimeout(() => {
    button[label] = before;
    delete button.dataset.asked;
  }, 4_000);
  return false;
}
