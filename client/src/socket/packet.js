// Owns: the text form of Socket.IO 5 packets. Binary packets are in socket.io-compat/binary.js.

export const CONNECT = 0;
export const DISCONNECT = 1;
export const EVENT = 2;
export const ACK = 3;
export const CONNECT_ERROR = 4;

/** Event names that the library itself uses: neither side may use them for its own events. */
export const RESERVED = /^((dis)?connect|connect_error|disconnecting|(new|remove)Listener)$/;

/** @typedef {{type: number, nsp: string, data?: any, id?: number}} Packet */

/** @param {Packet} packet @returns {string} */
export function encode({ type, nsp, data, id }) {
  return (
    type +
    (nsp === "/" ? "" : nsp + ",") +
    (id ?? "") +
    (data === undefined ? "" : JSON.stringify(data))
  );
}

/** The kinds of data that each packet type allows. */
const ALLOWED_DATA = ["object undefined", "undefined", "array", "array undefined", "object string"];

/** @param {number} type @param {any} data */
function isValid(type, data) {
  const kind = data === null ? "null" : Array.isArray(data) ? "array" : typeof data;
  if (!ALLOWED_DATA[type].includes(kind)) return false;
  return type !== EVENT || ("string number".includes(typeof data[0]) && !RESERVED.test(data[0]));
}

/**
 * @param {string} text
 * @returns {Packet}
 * # Errors
 * Throws an `Error` that names the offending part if the text is not a packet.
 */
export function decode(text) {
  // An ack id has at most 16 digits: longer numbers are not exact in every language.
  const match = /^([0-4])(?:(\/[^,]*),?)?(\d{0,16})([^]*)$/.exec(text);
  if (!match) throw Error("not a packet: type");
  const [, type, nsp = "/", id, json] = match;
  const data = json ? JSON.parse(json) : undefined;
  if (!isValid(+type, data) || (+type === ACK && !id)) throw Error("not a packet: data of type " + type);
  return { type: +type, nsp, data, id: id ? +id : undefined };
}
