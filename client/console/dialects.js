// Owns: how rooms are joined and emissions heard in each dialect that the console can speak.

import { NoDeventController } from "../src/nodevent/controller.js";

/**
 * @typedef {object} Dialect
 * @property {string} name
 * @property {boolean} keys whether rooms may have keys
 * @property {boolean} emits whether the page can emit into rooms
 * @property {[string, ...any[]]} [probe] an event that the server acknowledges and that changes nothing
 * @property {string[]} rooms those to join without being asked
 * @property {(room: string, key: string | undefined, told: (err: any, state?: any) => void) => void} join
 * @property {(room: string) => void} leave
 * @property {() => void} close
 */

/** @typedef {(emission: {room: string, event: string, message: any, sent?: unknown}) => void} Heard */

/**
 * @param {string} name
 * @param {import("../src/stock/socket.js").Socket} socket
 * @param {Heard} heard
 * @returns {Dialect}
 */
export function dialectOf(name, socket, heard) {
  return name === "notifications" ? notifications(socket, heard) : nodevent(socket, heard);
}

/** @param {any} socket @param {Heard} heard @returns {Dialect} */
function nodevent(socket, heard) {
  const controller = new NoDeventController().setSocket(socket);
  /** @type {Map<string, (() => void)[]>} */
  const undo = new Map();
  return {
    name: "nodevent",
    keys: true,
    emits: true,
    probe: ["leave", { room: "nodevent console probe" }],
    rooms: [],
    join(name, key, told) {
      const room = controller.room(name);
      if (!undo.has(name))
        undo.set(name, [
          room.onAny((event, message, emission) => heard({ room: name, event, message, sent: emission.sent })),
          room.on("join", told),
          room.on("leave", (/** @type {any} */ err) => err && told(err)),
          room.on("gap", () => heard({ room: name, event: "gap", message: "emissions were missed for good" })),
        ]);
      room.setKey(key).join();
    },
    leave(name) {
      for (const remove of undo.get(name) || []) remove();
      undo.delete(name);
      controller.room(name).leave();
    },
    close: () => controller.down(),
  };
}

/** Channels instead of rooms: subscribed on every connect, and never left. @param {any} socket @param {Heard} heard @returns {Dialect} */
function notifications(socket, heard) {
  /** @type {Map<string, (err: any) => void>} */
  const channels = new Map();
  const subscribe = () => {
    for (const [channel, told] of channels) {
      socket.emit("subscribe", { channel });
      told(null);
    }
  };
  socket.on("connect", subscribe);
  socket.on("message", (/** @type {any} */ message) => {
    const { text, channel } = message || {};
    heard({ room: channel ?? "", event: "message", message: channel ? `Channel:${channel}, ${text}` : String(text) });
  });
  return {
    name: "notifications",
    keys: false,
    emits: false,
    rooms: ["notif"],
    join(channel, _key, told) {
      channels.set(channel, told);
      if (socket.connected) subscribe();
    },
    leave: (channel) => void channels.delete(channel),
    close() {},
  };
}
