// Owns: packets with binary data: extracting it before a packet is sent, and restoring it.

import * as text from "../socket/packet.js";

/** Added to the type of an event or an ack if attachments follow. */
const BINARY = 3;

/** @param {any} value */
const isBinary = (value) =>
  value instanceof ArrayBuffer || ArrayBuffer.isView(value) || (typeof Blob === "function" && value instanceof Blob);

/**
 * Replaces each binary part by a placeholder. Does not change the message itself.
 * @param {any} value
 * @param {any[]} found the parts, in the order of their placeholders
 * @returns {any}
 */
export function extract(value, found) {
  if (typeof value !== "object" || value === null) return value;
  if (isBinary(value)) return { _placeholder: true, num: found.push(value) - 1 };
  if (typeof value.toJSON === "function") return extract(value.toJSON(), found);
  if (Array.isArray(value)) return value.map((item) => extract(item, found));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, extract(item, found)]));
}

/**
 * The numbers of all placeholders in a message.
 * @param {any} value
 * @param {Set<unknown>} [found]
 */
function placeholders(value, found = new Set()) {
  if (typeof value === "object" && value !== null) {
    if (value._placeholder === true) found.add(value.num);
    else for (const item of Object.values(value)) placeholders(item, found);
  }
  return found;
}

/**
 * Replaces placeholders by their parts.
 * @param {any} value
 * @param {any[]} parts
 * @returns {any}
 */
export function restore(value, parts) {
  if (typeof value !== "object" || value === null) return value;
  if (value._placeholder === true) return parts[value.num];
  for (const name of Object.keys(value)) {
    const item = restore(value[name], parts);
    // Writes only what changed: an own `__proto__` from the network must stay a plain property.
    if (item !== value[name]) Object.defineProperty(value, name, { value: item, enumerable: true });
  }
  return value;
}

/** @param {text.Packet} packet @returns {[string, ...any[]]} the text and its attachments */
export function encode(packet) {
  /** @type {any[]} */
  const parts = [];
  const data = packet.type === text.CONNECT ? packet.data : extract(packet.data, parts);
  if (!parts.length) return [text.encode(packet)];
  return [`${packet.type + BINARY}${parts.length}-${text.encode({ ...packet, data }).slice(1)}`, ...parts];
}

/**
 * @param {string} packet
 * @returns {text.Packet & {attachments?: number}} `attachments` is the number of attachments that follow
 * # Errors
 * Throws an `Error` that names the offending part if the text is not a packet.
 */
export function decode(packet) {
  const [head, type, count] = /^([56])(\d+)-/.exec(packet) || [];
  if (!head) return text.decode(packet);
  if (+count > 10) throw Error("not a packet: more than 10 attachments");
  const rest = text.decode(+type - BINARY + packet.slice(head.length));
  const found = [...placeholders(rest.data)];
  if (found.length !== +count || found.some((num) => !Number.isInteger(num) || !(Number(num) >= 0 && Number(num) < +count)))
    throw Error("not a packet: placeholders");
  return { ...rest, attachments: +count };
}
