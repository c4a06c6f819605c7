// Clients that misbehave. None of them may harm the others.
import { randomBytes } from "node:crypto";
import net from "node:net";
import { WebSocket } from "./libraries.js";

/** Time between two attempts of one client. Milliseconds. */
const PAUSE = 1_000;

class Offender {
  constructor(url, rooms) {
    this.url = new URL(url);
    this.rooms = rooms;
    this.ended = false;
  }

  start() {
    this.attempt();
  }

  again() {
    if (!this.ended) this.timer = setTimeout(() => this.attempt(), PAUSE * (0.5 + Math.random()));
  }

  end() {
    this.ended = true;
    clearTimeout(this.timer);
    this.close?.();
  }

  tcp(onConnect) {
    const socket = net.connect(Number(this.url.port), this.url.hostname, () => onConnect(socket));
    socket.on("error", () => {});
    socket.on("close", () => this.again());
    this.close = () => socket.destroy();
    return socket;
  }

  webSocket(path, onOpen) {
    const socket = new WebSocket(`ws://${this.url.host}${path}`);
    socket.on("open", () => onOpen(socket));
    socket.on("error", () => {});
    socket.on("close", () => this.again());
    this.close = () => socket.terminate();
    return socket;
  }

  room() {
    return this.rooms[Math.floor(Math.random() * this.rooms.length)];
  }
}

/** Connects, joins, leaves or not, and is gone. */
export class Flapper extends Offender {
  attempt() {
    const socket = this.webSocket("/ws/nodevent", () => {
      socket.send(JSON.stringify({ join: this.room() }));
      if (Math.random() < 0.5) socket.send(JSON.stringify({ leave: this.room() }));
      setTimeout(() => socket.terminate(), Math.random() * 200);
    });
  }
}

/** Joins every room and reads nothing any more. */
export class Staller extends Offender {
  attempt() {
    const socket = this.webSocket("/ws/nodevent", () => {
      for (const room of this.rooms) socket.send(JSON.stringify({ join: room }));
      socket.pause();
      setTimeout(() => socket.terminate(), 20_000);
    });
  }
}

/** Sends bytes that are not HTTP. */
export class Noise extends Offender {
  attempt() {
    const socket = this.tcp(() => socket.end(randomBytes(2_000)));
  }
}

/** Begins a request, and never ends it. */
export class HalfRequest extends Offender {
  attempt() {
    const socket = this.tcp(() => socket.write("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n"));
  }
}

/** Sends frames that no protocol has over a WebSocket. */
export class Garbage extends Offender {
  attempt() {
    const path = ["/ws/nodevent", "/socket.io/?EIO=4&transport=websocket", "/socket.io/?EIO=3&transport=websocket", "/cable"];
    const socket = this.webSocket(path[Math.floor(Math.random() * path.length)], () => {
      socket.send(randomBytes(50));
      socket.send(`42/nodevent,${randomBytes(30).toString("base64")}`);
      socket.send('{"join":{"a":[1,2,3]},"since":-1}');
    });
  }
}

/** Opens sessions of long-polling, and never polls. */
export class UnusedSession extends Offender {
  attempt() {
    fetch(new URL("/socket.io/?EIO=4&transport=polling", this.url)).then((response) => response.text()).catch(() => {}).finally(() => this.again());
  }
}
