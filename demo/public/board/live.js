// The page's use of NoDevent: the rooms it joins, and refreshing the page if it may have missed events. Knows
// nothing of discussions.

/** Rooms that need a key, because they came without one or their last join was refused, with the number of times. */
const refused = new Map();

/**
 * Joins a room with its key and subscribes to its events. Without a key, it asks for the page's state again, which has one.
 * @param {{room: string, key?: string}} pass  the application's `room_json` for this page; in an event it has no key
 * @param {Record<string, (message: any) => void>} handlers  a function for each event
 * @param {() => void} stale  called when the page may be outdated: after the first join (it was rendered before),
 *   after a join that could not recover all missed events, and after a refusal, to get a new key (see `renew`)
 * @returns {() => void} leaves the room
 */
export function follow(pass, handlers, stale) {
  const room = window.NoDevent?.room(pass.room);
  if (!room) return () => {};
  let current = false;
  for (const [event, handler] of Object.entries(handlers)) room.on(event, handler);
  room.on("gap", stale);
  room.on("join", (refusal, state) => {
    if (refusal) return refreshLater(pass.room, stale);
    refused.delete(pass.room);
    if (!current || !state?.recovered) stale();
    current = true;
  });
  if (pass.key) {
    room.setKey(pass.key);
    room.join();
  } else {
    refreshLater(pass.room, stale);
  }
  return () => room.leave();
}

function refreshLater(name, stale) {
  const times = (refused.get(name) ?? 0) + 1;
  refused.set(name, times);
  setTimeout(stale, Math.min(30_000, 200 * 2 ** times));
}

/** Sets a new key on a room that needs one, and joins it. */
export function renew(pass) {
  if (!refused.has(pass.room) || !pass.key) return;
  const room = window.NoDevent.room(pass.room);
  room.setKey(pass.key);
  room.join();
}

/** Shows in text and colour whether the page is connected. */
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

/** Returns a debounced version of `action`: it runs shortly after the last of several calls. */
export function soon(action, delay = 120) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  };
}

/** Fetches the current data of this page; `null` if it no longer exists. */
export async function fetchPage(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (response.status === 404) return null;
  if (!response.ok) throw new Error(`${path} returned ${response.status}`);
  return response.json();
}
