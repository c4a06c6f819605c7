// Owns: the id that the application has written into the page's HTML (`NoDevent::Realtime` of the gem). With it the
// server finds the rooms to which the application has subscribed this page. Turbo replaces the body, and so the id,
// with each visit.

import { elements } from "./document.js";

/** Events after which the page may have another id. */
const EVENTS = ["DOMContentLoaded", "turbo:load", "turbo:render"];

/** The id of the document that is shown. A preview of Turbo is an older one. @returns {string | undefined} */
export const connectionId = () => elements("html:not([data-turbo-preview])>body")?.[0]?.dataset.socketConnectionId;

/** Whether two ids are of one session, whose cookie the connection was opened with. @param {string} one @param {string} other */
export const isSameSession = (one, other) => one.slice(0, 8) === other.slice(0, 8);

/** Calls `fn` when the document may have another id. @param {() => void} fn @returns {() => void} ends that */
export function onVisit(fn) {
  for (const type of EVENTS) globalThis.addEventListener?.(type, fn);
  return () => {
    for (const type of EVENTS) globalThis.removeEventListener?.(type, fn);
  };
}
