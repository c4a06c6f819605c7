// Owns: fetching keys from the application and reading their expiry. Knows nothing of rooms.

import { elements } from "./document.js";

/** The application did not return a key. */
export class KeyError extends Error {
  /** @param {string} message @param {boolean} [isTemporary] true if a retry may help */
  constructor(message, isTemporary = false) {
    super(message);
    this._isTemporary = isTemporary;
  }
}

/** A URL relative to the page. `<base>` does not count: markup must not choose where keys come from. @param {string} url */
export const resolve = (url) => new URL(url, globalThis.location?.href);

/** The key endpoint in a URL: without the namespace, in which those of one application differ. @param {string} url */
export const endpointOf = (url) => resolve(url).href.replace(/\?namespace=[^&]*$/, "");

/**
 * A key function that requests keys from the application: `POST {"room": name}`; the response is `{"key": "…"}`.
 * Only the page's own origin gets cookies and the CSRF token, and it cannot redirect the request to another one.
 * @param {string} url
 * @returns {(room: {id: string}) => Promise<any>} rejects with a `KeyError`
 */
export const keyFrom = (url) => async (room) => {
  const target = resolve(url);
  const isOwn = target.origin === globalThis.location?.origin;
  const token = isOwn && elements("meta[name=csrf-token]")?.[0]?.content;
  const response = await fetch(target, {
    method: "POST",
    mode: isOwn ? "same-origin" : "cors",
    headers: { accept: "application/json", "content-type": "application/json", ...(token && { "x-csrf-token": token }) },
    body: JSON.stringify({ room: room.id }),
  }).catch((error) => {
    throw new KeyError(`POST ${url} failed (${error.message})`, true);
  });
  const { status } = response;
  const type = response.headers.get("content-type") || "";
  const reason = `POST ${url} returned ${status} (${type})`;
  if (status >= 500 || status === 429) throw new KeyError(reason, true);
  // A redirect to a login page ends with status 200 and HTML.
  if (!response.ok || !type.includes("json")) throw new KeyError(reason);
  const { key } = await response.json();
  if (typeof key !== "string" && key !== null) throw new KeyError(reason + " without a key");
  return key;
};

/** The time at which a key expires: of a room key, or of a JWT. Milliseconds. @param {any} key @returns {number | undefined} */
export function expiryOf(key) {
  try {
    const [, time, claims] = /^(?:\w+:(\d{13})|[\w-]+\.([\w-]+)\.[\w-]+)$/.exec(key) || [];
    return time ? +time : JSON.parse(atob(claims.replace(/-/g, "+").replace(/_/g, "/"))).exp * 1000 || undefined;
  } catch {
    // Not a key that has an expiry.
  }
}
