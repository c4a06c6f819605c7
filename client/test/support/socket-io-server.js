// The stock Socket.IO server on a free port, with the events that the tests of `io()` use.

import { createServer } from "node:http";
import { Server } from "socket.io";

/** @param {import("socket.io").ServerOptions & {port?: number}} [options] */
export async function startSocketIoServer({ port = 0, ...options } = {}) {
  const http = createServer();
  const io = new Server(http, options);
  const namespace = (socket) => {
    socket.emit("auth", socket.handshake.auth);
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("message-with-ack", (...args) => args.pop()(...args));
    socket.on("silent", () => {});
    socket.on("ask me", async (question) => socket.emit("answered", await socket.emitWithAck("question", question)));
    socket.on("leave me", () => socket.disconnect());
    socket.on("cut me", () => socket.conn.close());
  };
  io.on("connection", namespace);
  io.of("/custom").on("connection", namespace);
  io.of("/refused")
    .use((_socket, next) => next(Object.assign(new Error("not you"), { data: { why: "because" } })))
    .on("connection", namespace);
  await new Promise((resolve) => http.listen(port, "127.0.0.1", resolve));
  return {
    io,
    port: http.address().port,
    url: `http://127.0.0.1:${http.address().port}`,
    async stop() {
      await io.close();
      if (http.listening) await new Promise((resolve) => http.close(resolve));
    },
  };
}
