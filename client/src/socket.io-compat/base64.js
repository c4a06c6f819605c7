// Owns: binary packets as text, for polling, which carries text only.

/** @param {string | ArrayBufferView<ArrayBuffer> | ArrayBuffer | Blob} packet */
export async function encode(packet) {
  if (typeof packet === "string") return packet;
  let binary = "";
  // A Response accepts every kind of binary data, and reads only the visible part of a view.
  for (const byte of new Uint8Array(await new Response(packet).arrayBuffer())) binary += String.fromCharCode(byte);
  return "b" + btoa(binary);
}

/**
 * @param {string} text
 * @returns {string | ArrayBuffer}
 * # Errors
 * Throws if the text after the `b` is not base64.
 */
export function decode(text) {
  if (text[0] !== "b") return text;
  if (!/^b[A-Za-z\d+/]*={0,2}$/.test(text)) throw Error("not a packet: base64");
  return Uint8Array.from(atob(text.slice(1)), (c) => c.charCodeAt(0)).buffer;
}
