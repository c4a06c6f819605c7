// Owns: lines in the browser's console: one line per problem, with the fix. Knows nothing of rooms.

/** The fix for each refusal of a join. */
export const FIXES = /** @type {Record<string, string>} */ ({
  "Must provide key": "Call room.setKey(key), or set data-nodevent-key-url on the script tag.",
  "Bad sig": "The key is not a key: pass the one from nodevent_data unchanged.",
  "Lifetime too long": "The key is valid for longer than the server's max_key_lifetime.",
  "Time has passed": "Set data-nodevent-key-url on the script tag, or pass a function to room.setKey, to renew keys.",
  "Bad key": "The key belongs to another room or secret: sign it for this room with the server's secret.",
  "Bad room": "The name must be 1 to 255 bytes of text.",
  "Too many rooms": "Leave rooms that are no longer shown (<nodevent-room> does), or raise limits.max_rooms_per_connection.",
  "Too many joins": "The client retries. If it persists, raise limits.joins_per_second.",
});

/** @param {string} text */
export const warn = (text) => globalThis.console?.warn("NoDevent: " + text);
