// A scripted transport: WebSockets whose other end is the test. For cases that a real server cannot
// produce at the right moment: a missing ack, a replay cut in the middle, a clock that jumps.

import { turn } from "./until.js";

const HANDSHAKE = { sid: "scripted", upgrades: [], pingInterval: 25000, pingTimeout: 20000, maxPayload: 65536 };

class End {
  constructor(url) {
    this.url = url;
    this.readyState = 0;
    /** Packets from the client that the test has not taken yet. */
    this.received = [];
    this.closedByClient = false;
  }

  // === the browser's side of a WebSocket ===
  send(data) {
    this.received.push(data);
  }

  close() {
    this.closedByClient = true;
    if (this.readyState < 2) this.readyState = 3;
  }

  // === the test's side ===
  open(handshake = {}) {
    this.readyState = 1;
    this.onopen?.();
    if (handshake) this.deliver("0" + JSON.stringify({ ...HANDSHAKE, ...handshake }));
  }

  deliver(data) {
    this.onmessage?.({ data });
  }

  drop(code = 1006, reason = "") {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** Takes the client's next packet; throws if there is none. */
  take() {
    if (!this.received.length) throw new Error("the client has sent nothing more");
    return this.received.shift();
  }

  /** Accepts the connect of a namespace. */
  admit(nsp = "/nodevent", sid = "socket-" + Math.random()) {
    const connect = this.take();
    if (!connect.startsWith(`40${nsp},`)) throw new Error(`expected a connect to ${nsp}, got ${connect}`);
    this.deliver(`40${nsp},{"sid":"${sid}"}`);
  }

  /** Takes the next event in `nsp`: `{id, event, args}`. */
  takeEvent(nsp = "/nodevent") {
    const text = this.take();
    const match = new RegExp(`^42${nsp},(\\d*)(.*)$`, "s").exec(text);
    if (!match) throw new Error(`expected an event in ${nsp}, got ${text}`);
    const [event, ...args] = JSON.parse(match[2]);
    return { id: match[1] === "" ? undefined : Number(match[1]), event, args };
  }

  ack(id, args, nsp = "/nodevent") {
    this.deliver(`43${nsp},${id}${JSON.stringify(args)}`);
  }

  event(name, message, nsp = "/nodevent") {
    this.deliver(`42${nsp},${JSON.stringify([name, message])}`);
  }
}

export class Wire {
  constructor() {
    /** @type {End[]} every WebSocket of the client, oldest first */
    this.ends = [];
    const { ends } = this;
    this.WebSocket = class extends End {
      constructor(url) {
        super(url);
        ends.push(this);
      }
    };
  }

  get last() {
    return this.ends.at(-1);
  }

  /** Opens the newest connection and accepts the namespace. */
  async accept(nsp = "/nodevent") {
    await turn();
    this.last.open();
    this.last.admit(nsp);
    await turn();
    return this.last;
  }
}
