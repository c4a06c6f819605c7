// Owns: joining rooms and receiving publications in each dialect that the console supports.

import { NoDeventController } from "../src/nodevent/controller.js";

/**
 * @typedef {object} Dialect
 * @property {string} name
 * @property {boolean} keys whether rooms can have keys
 * @property {boolean} emits whether the page can emit into rooms
 * @property {[string, ...any[]]} [probe] an event that the server acknowledges and that changes nothing
 * @property {string[]} rooms rooms to join at the start
 * @property {(room: string, key: string | undefined, onResult: (err: any, state?: any) => void) => void} join
 * @property {(room: string) => void} leave
 * @property {() => void} close
 */

/** @typedef {(publication: {room: string, event: string, message: any, sent?: unknown}) => void} OnPublication */

/**
 * @param {string} name
 * @param {import("../src/socket.io-compat/socket.js").Socket} socket
 * @param {OnPublication} onPublication
 * @param {string} [keyUrl] where keys come from that the user does not enter
 * @returns {Dialect}
 */
export function dialectOf(name, socket, onPublication, keyUrl) {
  return name === "notifications" ? notifications(socket, onPublication) : nodevent(socket, onPublication, keyUrl);
}

/** @param {any} socket @param {OnPublication} onPublication @param {string} [keyUrl] @returns {Dialect} */
function nodevent(socket, onPublication, keyUrl) {
  const controller = new NoDeventController().setSocket(socket);
  /** @type {Map<string, (() => void)[]>} */
  const removers = new Map();
  return {
    name: "nodevent",
    keys: true,
    emits: true,
    probe: ["leave", { room: "nodevent console probe" }],
    rooms: [],
    join(name, key, onResult) {
      const room = controller.room(name);
      if (!removers.has(name))
        removers.set(name, [
          room.onAny((event, message, publication) => onPublication({ room: name, event, message, sent: publication.sent })),
          room.on("join", onResult),
          room.on("leave", (/** @type {any} */ err) => err && onResult(err)),
          room.on("key-refused", onResult),
          room.on("gap", () => onPublication({ room: name, event: "gap", message: "publications are lost and cannot be recovered" })),
        ]);
      room.setKey(key, key === undefined ? keyUrl : undefined).join();
    },
    leave(name) {
      for (const remove of removers.get(name) || []) remove();
      removers.delete(name);
      controller.room(name).leave();
    },
    close: () => controller.down(),
  };
}

/** Has channels instead of rooms: subscribes on every connect and never unsubscribes. @param {any} socket @param {OnPublication} onPublication @returns {Dialect} */
function notifications(socket, onPublication) {
  /** @type {Map<string, (err: any) => void>} */
  const channels = new Map();
  const subscribe = () => {
    for (const [channel, onResult] of channels) {
      socket.emit("subscribe", { channel });
      onResult(null);
    }
  };
  socket.on("connect", subscribe);
  socket.on("message", (/** @type {any} */ message) => {
    const { text, channel } = message || {};
    onPublication({ room: channel ?? "", event: "message", message: channel ? `Channel:${channel}, ${text}` : String(text) });
  });
  return {
    name: "notifications",
    keys: false,
    emits: false,
    rooms: ["notif"],
    join(channel, _key, onResult) {
      channels.set(channel, onResult);
      if (socket.connected) subscribe();
    },
    leave: (channel) => void channels.delete(channel),
    close() {},
  };
}
