// An HTTP proxy for one browser window whose connections can be cut, as if its network were gone.
//
// Owns: the sockets between that window and the world. Knows nothing about what goes through.
import { once } from "node:events";
import { createServer, request as send } from "node:http";
import { connect } from "node:net";

export class CutProxy {
  #sockets = new Set();
  #isCut = false;
  #server = createServer((request, response) => this.#forward(request, response));

  async start() {
    this.#server.on("connection", (socket) => (this.#isCut ? socket.destroy() : this.#keep(socket)));
    this.#server.on("connect", (request, socket, head) => this.#tunnel(request, socket, head));
    this.#server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return this;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** Ends every connection and accepts no new one. */
  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  restore() {
    this.#isCut = false;
  }

  stop() {
    this.cut();
    this.#server.close();
  }

  #keep(socket) {
    if (this.#sockets.has(socket)) return socket; // a connection that is used again
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    return socket;
  }

  #forward(request, response) {
    const { method, url, headers } = request;
    const upstream = send(url, { method, headers }, (reply) => {
      response.writeHead(reply.statusCode, reply.headers);
      reply.pipe(response);
    });
    upstream.on("socket", (socket) => this.#keep(socket));
    upstream.on("error", () => response.destroy());
    request.pipe(upstream);
  }

  #tunnel(request, socket, head) {
    const { hostname, port } = new URL(`http://${request.url}`);
    const upstream = this.#keep(connect(Number(port) || 80, hostname));
    upstream.on("connect", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      this.#join(socket, upstream, head);
    });
    upstream.on("close", () => socket.destroy());
  }

  #upgrade(request, socket, head) {
    const { hostname, port, pathname, search } = new URL(request.url);
    const upstream = this.#keep(connect(Number(port) || 80, hostname));
    const headers = request.rawHeaders.reduce((text, part, index) => text + part + (index % 2 ? "\r\n" : ": "), "");
    upstream.on("connect", () => {
      upstream.write(`${request.method} ${pathname}${search} HTTP/1.1\r\n${headers}\r\n`);
      this.#join(socket, upstream, head);
    });
    upstream.on("close", () => socket.destroy());
  }

  #join(socket, upstream, head) {
    if (head.length) upstream.write(head);
    socket.on("close", () => upstream.destroy());
    socket.pipe(upstream).pipe(socket);
  }
}
