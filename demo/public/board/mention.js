// Buttons that write "@" and a person's name into the reply.

/** @param {HTMLTextAreaElement | null} field  without one, the buttons do nothing */
export function mentionButtons(field) {
  if (!field) return;
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-mention]");
    if (!button) return;
    const person = button.closest(".comment, .reader");
    if (person.matches("[data-own], [data-me]")) return;
    const name = person.querySelector("[data-text='author.name'], [data-text='info.name']").textContent;
    const before = field.value.slice(0, field.selectionStart).replace(/(\S)$/, "$1 ");
    const after = field.value.slice(field.selectionEnd).replace(/^ /, "");
    field.value = `${before}@${name} ${after}`;
    field.focus();
    field.selectionStart = field.selectionEnd = before.length + name.length + 2;
  });
}
