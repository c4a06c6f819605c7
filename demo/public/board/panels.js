// The panels of the bar: at most one is open, and Escape or a click elsewhere closes it.

export function panels() {
  const all = [...document.querySelectorAll(".bar details")];
  document.addEventListener("click", ({ target }) => {
    for (const panel of all) if (!panel.contains(target)) panel.open = false;
  });
  document.addEventListener("keydown", ({ key }) => {
    const open = key === "Escape" && all.find((panel) => panel.open);
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
}
