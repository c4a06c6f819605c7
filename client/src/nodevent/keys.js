// Owns: fetching keys from the application and reading their expiry. Knows nothing of rooms.

/** The application did not return a key. */
export class KeyError extends Error {
  /** @param {string} message @param {boolean} [isTemporary] true if a retry may help */
  constructor(message, isTemporary = false) {
    super(message);
    this._isTemporary = isTemporary;
  }
}

/**
 * A key function that requests keys from the application: `POST {"room": name}` with the page's cookies
 * and CSRF token; the response is `{"key": "…"}`.
 * @param {string} url
 * @returns {(room: {id: string}) => Promise<any>} rejects with a `KeyError`
 */
export const keyFrom = (url) => async (room) => {
  const token = /** @type {any} */ (globalThis.document)?.querySelector("meta[name=csrf-token]")?.content;
  const response = await fetch(url, {
    method: "POST",
    headers: { accept: "application/json", "content-type": "application/json", ...(token && { "x-csrf-token": token }) },
    body: JSON.stringify({ room: room.id }),
    cache: "no-store",
  }).catch((error) => {
    throw new KeyError(`POST ${url} failed (${error.message})`, true);
  });
  const type = response.headers.get("content-type") || "";
  const reason = `POST ${url} returned ${response.status} (${type})`;
  if (response.status >= 500 || response.status === 429) throw new KeyError(reason, true);
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
