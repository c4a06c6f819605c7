// A client that behaves as TURTED.js does: calls before the connection are queued, and sent in parts of 100 when it is there and
// at each later call. It does not identify or join again.

export class Turted {
  constructor(url, io, options) {
    this.socket = io(url, options);
    this.queue = [];
    this.connected = false;
    this.handlers = new Map();
    this.replies = [];
    this.socket.on("connect", () => {
      this.connected = true;
      this.flush();
    });
    this.socket.on("disconnect", () => (this.connected = false));
    this.socket.on("EVENT", ({ event, payload }) => this.handlers.get(event)?.forEach((handler) => handler(payload)));
    for (const reply of ["OK", "ERROR", "ECHO"]) this.socket.on(reply, (data) => this.replies.push([reply, data]));
  }

  on(event, handler) {
    this.handlers.set(event, [...(this.handlers.get(event) ?? []), handler]);
  }

  ident(data) {
    this.enqueue("IDENT", data);
  }

  join(channel) {
    this.enqueue("JOIN", { channel });
  }

  echo(message) {
    this.enqueue("ECHO", message);
  }

  enqueue(command, data) {
    this.queue.push([command, data]);
    if (this.connected) this.flush();
  }

  flush() {
    for (const [command, data] of this.queue.splice(0, 100)) this.socket.emit(command, data);
  }
}
