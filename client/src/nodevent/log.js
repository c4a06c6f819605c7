// Owns: lines in the browser's console: one line per problem, with the fix. Knows nothing of rooms.

/** The fix for each refusal of a join. The server's text finds nothing else in it: it has no prototype. */
export const FIXES = /** @type {Record<string, string>} */ (/** @type {unknown} */ ({
  __proto__: null,
  "Must provide key": "Call room.setKey(key), or set data-nodevent-key-url on the script tag.",
  "Bad sig": "Pass the key from nodevent_data unchanged.",
  "Lifetime too long": "See max_key_lifetime.",
  "Time has passed": "Call room.setKey(key), or set data-nodevent-key-url on the script tag.",
  "Bad key": "Sign it with the server's secret.",
  "Bad room": "Use 1 to 255 bytes.",
  "Too many rooms": "See max_rooms_per_connection.",
  "Too many joins": "See joins_per_second.",
}));

/** @param {string} text */
export const warn = (text) => console.warn("NoDevent: " + text);
