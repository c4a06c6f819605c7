// Sends forms without leaving the page, and passes the response to the page's handler. Without this module the
// same forms work, with a page load each.

/**
 * @param {Record<string, (record: object | null, form: HTMLFormElement) => void>} handlers  receive the
 *   application's response, by the form's `data-answer`
 */
export function forms(handlers) {
  document.addEventListener("submit", (submit) => {
    const form = submit.target;
    const handle = handlers[form.dataset.answer];
    if (!handle) return;
    submit.preventDefault();
    if (form.dataset.confirm && !confirmed(form)) return;
    send(form).then((record) => record !== undefined && handle(record, form));
  });
  document.addEventListener("keydown", (key) => {
    if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) key.target.form?.requestSubmit();
  });
}

/** Returns the record, `null` if it was deleted, `undefined` if the application refused. */
async function send(form) {
  const button = form.querySelector("button, [type=submit]");
  button.disabled = true;
  try {
    const response = await fetch(form.action, {
      method: "POST",
      // Uses the page's token: the token in a form copied from a template belongs to the template's URL.
      headers: { Accept: "application/json", "X-CSRF-Token": document.querySelector("meta[name=csrf-token]").content },
      body: new FormData(form),
    });
    const record = response.status === 204 ? null : await response.json();
    if (!response.ok) return showError(form, record.errors?.join(", ") ?? `The application returned status ${response.status}.`);
    showError(form, "");
    return record;
  } catch {
    return showError(form, "The application cannot be reached. Your text is still here: try again.");
  } finally {
    button.disabled = false;
  }
}

function showError(form, text) {
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

/** The first press asks for confirmation; a second one within four seconds confirms. */
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
