// Well-behaved clients, one class per protocol. Each receives one room, reconnects after a lost connection, and continues
// where it was. The messages of a room are numbered, so a client knows whether it received every one, once, in order.
import { createHash, createHmac, randomUUID } from "node:crypto";
import http from "node:http";
import { WebSocket } from "./libraries.js";

/** The secret of the namespace of Action Cable, with which the application reads the position for its pages. */
export const SECRET = "a-secret-of-keys-that-read-histories";

/** The key of signed stream names in the configuration. */
export const STREAM_KEY = "a-key-for-names-of-streams";

/** The shortest time before a reconnect, and what is added at random at most. Milliseconds. */
const RECONNECT = [200, 800];

class Receiver {
  /** @param {string} url `http://host:port` @param {string} room */
  constructor(url, room) {
    this.url = url;
    this.room = room;
    /** The number of the last message; `null` until the first. */
    this.last = null;
    this.missed = 0;
    this.repeated = 0;
    /** Times that the server could not recover what was missed. */
    this.lost = 0;
    this.reconnects = -1;
    this.joined = false;
    this.ended = false;
  }

  /** Connects until `end`. @returns {Promise<void>} resolves with the first join */
  start() {
    return new Promise((resolve) => {
      this.onJoined = resolve;
      this.connect();
    });
  }

  connect() {
    this.reconnects += 1;
    this.open();
  }

  /** The client is in its room. */
  isJoined(recovered = true) {
    this.joined = true;
    if (!recovered && this.last !== null) this.lost += 1;
    this.onJoined();
  }

  /** The connection has ended. */
  disconnected() {
    this.joined = false;
    if (this.ended) return;
    this.timer = setTimeout(() => this.connect(), RECONNECT[0] + Math.random() * RECONNECT[1]);
  }

  receive({ n }) {
    if (this.last !== null && n <= this.last) this.repeated += 1;
    else {
      if (this.last !== null) this.missed += n - this.last - 1;
      this.last = n;
    }
  }

  /** Breaks the connection, as a network does. */
  drop() {
    this.socket?.terminate();
  }

  end() {
    this.ended = true;
    clearTimeout(this.timer);
    this.drop();
  }

  /** Opens a WebSocket whose texts go to `onText`. */
  webSocket(path, protocols, onOpen) {
    const socket = new WebSocket(this.url.replace("http", "ws") + path, protocols);
    this.socket = socket;
    socket.on("open", onOpen ?? (() => {}));
    socket.on("message", (data) => this.onText(String(data)));
    // An error is followed by `close`.
    socket.on("error", () => {});
    socket.on("close", () => this.disconnected());
  }
}

/** Socket.IO over a WebSocket. */
export class SocketIo extends Receiver {
  open() {
    this.webSocket("/socket.io/?EIO=4&transport=websocket");
  }

  send(text) {
    this.socket.send(text);
  }

  onText(text) {
    if (text === "2") this.send("3");
    else if (text.startsWith("0")) this.send("40/nodevent,");
    else if (text.startsWith("40/nodevent,")) this.join();
    else if (text.startsWith("43/nodevent,1")) this.onJoin(JSON.parse(text.slice("43/nodevent,1".length)));
    else if (text.startsWith("42/nodevent,")) this.onEvent(JSON.parse(text.slice("42/nodevent,".length)));
  }

  join() {
    this.send(`42/nodevent,1${JSON.stringify(["join", { room: this.room, since: this.position }])}`);
  }

  onJoin([error, , state]) {
    if (error) return this.drop();
    this.position ??= state?.position;
    this.isJoined(state?.recovered);
  }

  onEvent([name, publication]) {
    if (name !== "event") return;
    this.position = publication.position ?? this.position;
    this.receive(publication.message);
  }
}

/** Socket.IO over long-polling. */
export class Polling extends SocketIo {
  async open() {
    const turn = {};
    this.turn = turn;
    try {
      this.path = `${this.url}/socket.io/?EIO=4&transport=polling`;
      this.session = JSON.parse((await this.request()).slice(1)).sid;
      this.path += `&sid=${this.session}`;
      this.send("40/nodevent,");
      while (this.turn === turn) for (const packet of (await this.request()).split("\x1e")) this.onText(packet);
    } catch {
      if (this.turn === turn) this.disconnected();
    }
  }

  async request(body) {
    const response = await fetch(this.path, body === undefined ? {} : { method: "POST", body });
    if (!response.ok) throw new Error(String(response.status));
    return response.text();
  }

  send(text) {
    // The pending GET fails too if this fails.
    this.request(text).catch(() => {});
  }

  drop() {
    if (!this.turn) return;
    this.turn = null;
    this.request("1").catch(() => {});
    this.disconnected();
  }
}

/** JSON lines over a WebSocket. */
export class Plain extends Receiver {
  open() {
    this.webSocket("/ws/nodevent", [], () => this.socket.send(JSON.stringify({ join: this.room, since: this.position })));
  }

  onText(text) {
    const line = JSON.parse(text);
    this.position = line.position ?? this.position;
    if (line.gap) this.lost += 1;
    if (line.event) this.receive(line.message);
    else if (line.error) this.drop();
    else if (line.joined) this.isJoined(line.recovered ?? true);
  }
}

/** Server-Sent Events. */
export class ServerSentEvents extends Receiver {
  open() {
    const headers = this.id ? { "last-event-id": this.id } : {};
    const path = `${this.url}/api/nodevent/rooms/${this.room}/events`;
    let ended = false;
    const onEnd = () => {
      if (!ended) this.disconnected();
      ended = true;
    };
    let text = "";
    this.socket = http.get(path, { headers, agent: false }, (response) => {
      if (response.statusCode !== 200) return this.socket.destroy();
      response.setEncoding("utf8");
      response.on("data", (part) => {
        const events = (text + part).split("\n\n");
        text = events.pop();
        events.forEach((event) => this.onServerEvent(event));
      });
      response.on("close", onEnd);
    });
    this.socket.on("error", onEnd);
    this.socket.on("close", onEnd);
    this.socket.terminate = () => this.socket.destroy();
  }

  onServerEvent(text) {
    const fields = Object.fromEntries(text.split("\n").map((line) => /^(\w*): ?(.*)$/.exec(line)?.slice(1) ?? ["", ""]));
    if (fields.id) this.id = fields.id;
    if (fields.event === "joined") this.isJoined(JSON.parse(fields.data).recovered ?? true);
    else if (fields.event === "lost") this.lost += 1;
    else if (!fields.event && fields.data) this.receive(JSON.parse(fields.data).message);
  }
}

/** A page with a stream of Turbo, which Action Cable delivers. */
export class ActionCable extends Receiver {
  constructor(url, room) {
    super(url, room);
    const name = Buffer.from(JSON.stringify(room)).toString("base64");
    const digest = createHmac("sha256", STREAM_KEY).update(name).digest("hex");
    const parameters = { channel: "Turbo::StreamsChannel", signed_stream_name: `${name}--${digest}`, nodevent_page: randomUUID() };
    this.identifier = (since) => JSON.stringify({ ...parameters, nodevent_since: since });
  }

  /** A page knows its position when it is rendered, and sends the same one with each subscription. */
  async open() {
    try {
      this.since ??= await this.position();
    } catch {
      return this.disconnected();
    }
    if (this.ended) return;
    this.webSocket("/cable", ["actioncable-v1-json"]);
  }

  async position() {
    const expires = Date.now() + 60_000;
    const key = `${createHash("sha256").update(`${this.room}${expires}${SECRET}`).digest("hex")}:${expires}`;
    const response = await fetch(`${this.url}/api/cable/rooms/${this.room}/history?limit=1&key=${key}`);
    if (!response.ok) throw new Error(String(response.status));
    return (await response.json()).position;
  }

  onText(text) {
    const { type, identifier, message } = JSON.parse(text);
    if (type === "welcome") this.socket.send(JSON.stringify({ command: "subscribe", identifier: this.identifier(this.since) }));
    else if (type === "confirm_subscription") this.isJoined();
    else if (type === "reject_subscription" || type === "disconnect") this.drop();
    // Without history the server asks the page to load itself again.
    else if (identifier && String(message).includes("refresh")) this.lost += 1;
    else if (identifier) this.receive(typeof message === "string" ? JSON.parse(message) : message);
  }
}
