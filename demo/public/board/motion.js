// Small animations that show what changed. Each ends by itself; none of the larger ones runs with reduced motion.
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Marks an item that is new (`"arrived"`) or changed (`"changed"`) until its animation is over. */
export function enter(item, how = "arrived") {
  item.classList.remove(how);
  void item.offsetWidth; // restarts the animation
  item.classList.add(how);
  item.addEventListener("animationend", ({ target, animationName }) => {
    if (target === item && animationName === "mark") item.classList.remove(how);
  });
}

/** Folds an item away, then removes it. */
export function bow(item) {
  if (calm.matches) return item.remove();
  const { height } = item.getBoundingClientRect();
  item.inert = true;
  item.style.overflow = "hidden";
  item
    .animate(
      [
        { height: `${height}px`, opacity: 1 },
        { height: `${height}px`, opacity: 0, offset: 0.4 },
        { height: 0, paddingBlock: 0, marginBlock: 0, opacity: 0 },
      ],
      { duration: 380, easing: "cubic-bezier(.3,.7,.2,1)" },
    )
    .finished.finally(() => item.remove());
}

/** Animates the items of a list from their old positions to those after `change`. */
export function reorder(list, change) {
  const before = new Map([...list.children].map((item) => [item, item.getBoundingClientRect().top]));
  change();
  if (calm.matches) return;
  for (const [item, top] of before) {
    const moved = top - item.getBoundingClientRect().top;
    if (moved) item.animate([{ translate: `0 ${moved}px` }, { translate: "0 0" }], { duration: 420, easing: "cubic-bezier(.2,.8,.2,1)" });
  }
}
