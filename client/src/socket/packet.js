// Owns: the text of a Socket.IO 5 packet, written and read. Binary data is binary.js.

export const CONNECT = 0;
export const DISCONNECT = 1;
export const EVENT = 2;
export const ACK = 3;
export const CONNECT_ERROR = 4;
/** Added to EVENT and ACK where attachments follow. */
export const BINARY = 3;

/** Names that mean something to the library itself: neither side may use them for its events. */
export const RESERVED = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/** @typedef {{type: number, nsp: string, data?: any, id?: number, attachments?: number}} Packet */

/** @param {Packet} packet @returns {string} */
export function encode({ type, nsp, data, id, attachments }) {
  return (
    type +
    (attachments === undefined ? "" : attachments + "-") +
    (nsp === "/" ? "" : nsp + ",") +
    (id ?? "") +
    (data === undefined ? "" : JSON.stringify(data))
  );
}

/** @param {number} type @param {any} data */
function isValid(type, data) {
  const isObject = typeof data === "object" && data !== null && !Array.isArray(data);
  switch (type) {
    case CONNECT:
      return data === undefined || isObject;
    case DISCONNECT:
      return data === undefined;
    case CONNECT_ERROR:
      return isObject || typeof data === "string";
    case EVENT:
      return (
        Array.isArray(data) &&
        (typeof data[0] === "number" || (typeof data[0] === "string" && !RESERVED.includes(data[0])))
      );
    default:
      return Array.isArray(data);
  }
}

/**
 * @param {string} text
 * @returns {Packet}
 * # Errors
 * Throws an `Error` with the offending part where the text is no packet.
 */
export function decode(text) {
  const match = /^([0-6])(?:(\d+)-)?(?:(\/[^,]*),?)?(\d*)([^]*)$/.exec(text);
  if (!match) throw Error("not a packet: unknown type");
  const [, digit, count, nsp = "/", id, json] = match;
  let type = +digit;
  const attachments = type > CONNECT_ERROR ? +count : undefined;
  if (attachments === undefined ? count !== undefined : !(attachments <= 10)) throw Error("not a packet: attachments");
  if (attachments !== undefined) type -= BINARY;
  const data = json ? JSON.parse(json) : undefined;
  if (!isValid(type, data) || (id && !Number.isSafeInteger(+id))) throw Error("not a packet: type " + digit);
  return { type, nsp, data, id: id ? +id : undefined, attachments };
}
