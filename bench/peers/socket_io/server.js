// Socket.IO on Node with rooms and nothing else: `join` with an acknowledgement, and publications as lines
// over TCP. Usage: node server.js <port of connections> <port of the publisher>

import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { createInterface } from "node:readline";
import { Server } from "socket.io";

const [port, publisherPort] = process.argv.slice(2).map(Number);
const http = createServer();
const io = new Server(http, { serveClient: false });
const namespace = io.of("/nodevent");

namespace.on("connection", (socket) => {
  socket.on("join", ({ room }, ack) => {
    socket.join(room);
    ack(null, true);
  });
});

createTcpServer((publisher) => {
  publisher.on("error", () => {});
  createInterface({ input: publisher }).on("line", (line) => {
    const publication = JSON.parse(line);
    namespace.to(publication.room).emit("event", publication);
  });
}).listen(publisherPort, "127.0.0.1");

http.listen(port, "127.0.0.1");
