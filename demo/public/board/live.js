// The page's side of NoDevent: which rooms it follows, and what it does when it may have missed something.
// Knows nothing of discussions.

/** Rooms whose last join was refused, and how often in a row. */
const refused = new Map();

/**
 * Joins a room with its key and hears its events.
 * @param {{room: string, key: string}} pass  what the application's `room_json` gave this page
 * @param {Record<string, (message: any) => void>} heard  a function for each event
 * @param {() => void} stale  called when the page may be old: after the first join (it was drawn before),
 *   after one that could not recover what was missed, and after a refusal, because a fresh key is needed
 *   (see `renew`)
 * @returns {() => void} leaves the room
 */
export function follow(pass, heard, stale) {
  const room = window.NoDevent?.room(pass.room);
  if (!room) return () => {};
  let current = false;
  for (const [event, hear] of Object.entries(heard)) room.on(event, hear);
  room.on("gap", stale);
  room.on("join", (refusal, state) => {
    if (refusal) return askAgain(pass.room, stale);
    refused.delete(pass.room);
    if (!current || !state?.recovered) stale();
    current = true;
  });
  room.setKey(pass.key);
  room.join();
  return () => room.leave();
}

function askAgain(name, stale) {
  const times = (refused.get(name) ?? 0) + 1;
  refused.set(name, times);
  setTimeout(stale, Math.min(30_000, 200 * 2 ** times));
}

/** Gives a room that refused this page a fresh key; setting it joins again. */
export function renew(pass) {
  if (refused.has(pass.room)) window.NoDevent.room(pass.room).setKey(pass.key);
}

/** Shows whether the page is connected, in words and colour. */
export function watchTheSignal(signal) {
  const show = (state, text) => {
    signal.dataset.state = state;
    signal.firstElementChild.textContent = text;
  };
  const nodevent = window.NoDevent;
  if (!nodevent) return show("off", "Not live");
  nodevent.on("connect", () => show("live", "Live"));
  nodevent.on("disconnect", () => show("lost", "Reconnecting"));
  if (nodevent.connected()) show("live", "Live");
}

/** A function that runs `action` once, shortly after the last of several calls. */
export function soon(action, delay = 120) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  };
}

/** What the application says about this page now; `null` where it is gone. */
export async function fetchPage(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}
