// The scenarios for every client, run against the echo application. Each is a function that uses only its arguments, so
// that the same source runs in Node and in a page. It resolves with the received data.

/** Connects, and waits for the upgrade if there is one. */
async function connect({ io, url, transports }, namespace = "/", options = {}) {
  const socket = io(url + namespace, { transports, forceNew: true, reconnection: false, ...options });
  await new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
    // Clients of Socket.IO 1 and 2 report it here.
    socket.once("error", reject);
  });
  const { engine } = socket.io;
  if (transports.length > 1 && engine.transport.name !== "websocket") {
    await new Promise((resolve) => engine.once("upgrade", resolve));
  }
  return socket;
}

/** The arguments of the next event of that name. */
function next(socket, event) {
  return new Promise((resolve) => socket.once(event, (...args) => resolve(args)));
}

export const helpers = { connect, next };

export const scenarios = {
  async transport(client, { connect }) {
    const socket = await connect(client);
    const name = socket.io.engine.transport.name;
    socket.disconnect();
    return { name, connected: socket.connected };
  },

  async auth(client, { connect, next }) {
    const socket = client.io(`${client.url}/custom`, {
      transports: client.transports, forceNew: true, auth: { token: "abc", nested: { deep: [1] } },
    });
    const received = await next(socket, "auth");
    const again = client.io(client.url, { transports: client.transports, forceNew: true, auth: (callback) => callback({ late: 1 }) });
    const late = await next(again, "auth");
    const none = await connect(client);
    socket.disconnect();
    again.disconnect();
    none.disconnect();
    return { received, late };
  },

  async messages(client, { connect, next }) {
    const socket = await connect(client);
    const received = [];
    for (const args of [[], [1, "2", { 3: [true] }], [null], ["ünï☃😀\u2028 \u0000"], ["x".repeat(50_000)]]) {
      const back = next(socket, "message-back");
      socket.emit("message", ...args);
      received.push(await back);
    }
    socket.disconnect();
    return received;
  },

  async order(client, { connect }) {
    const socket = await connect(client);
    const received = [];
    const all = new Promise((resolve) => {
      socket.on("message-back", (n) => {
        received.push(n);
        if (received.length === 300) resolve();
      });
    });
    for (let n = 0; n < 300; n += 1) socket.emit("message", n);
    await all;
    socket.disconnect();
    return received;
  },

  async acks(client, { connect }) {
    const socket = await connect(client);
    const ask = (...args) => new Promise((resolve) => socket.emit("message-with-ack", ...args, (...back) => resolve(back)));
    const received = [await ask(), await ask(1, "2", { 3: [false] })];
    received.push(...(await Promise.all([ask("a"), ask("b"), ask("c")])));
    socket.disconnect();
    return received;
  },

  async asked(client, { connect, next }) {
    const socket = await connect(client);
    const questions = [];
    socket.on("question", (...args) => {
      const acknowledge = args.pop();
      questions.push(args);
      acknowledge("because", args.length);
    });
    const received = [];
    for (const args of [[], ["why", { not: 1 }]]) {
      const reply = next(socket, "answer");
      socket.emit("ask", ...args);
      received.push(await reply);
    }
    socket.disconnect();
    return { questions, received };
  },

  async binary(client, { connect, next }) {
    const socket = await connect(client);
    // The old clients send typed arrays as JSON: only buffers are bytes. In Node, 1.7 cannot send an empty ArrayBuffer.
    const buffer = (bytes) => (globalThis.Buffer ? globalThis.Buffer.from(bytes) : new Uint8Array(bytes).buffer);
    const data = (bytes) => (client.old ? buffer(bytes) : new Uint8Array(bytes));
    const bytes = (value) => (value instanceof ArrayBuffer || ArrayBuffer.isView(value) ? [...new Uint8Array(value.buffer ?? value, value.byteOffset ?? 0, value.byteLength)] : value);
    const shown = (args) => JSON.parse(JSON.stringify(args, (_, value) => (value && value.type === "Buffer" ? value.data : bytes(value))));
    const ten = Array.from({ length: 10 }, (_, n) => data(new Uint8Array(n * 100).fill(n)));
    const back = next(socket, "message-back");
    socket.emit("message", data([1, 2, 3]), { deep: [data([0, 255])] }, "text", data([]));
    const received = shown(await back);
    const many = next(socket, "message-back");
    socket.emit("message", ten);
    const tens = shown(await many);
    const acked = await new Promise((resolve) => socket.emit("message-with-ack", data([7]), (...args) => resolve(args)));
    socket.on("question", (attachment, acknowledge) => acknowledge(attachment, data([9])));
    const reply = next(socket, "answer");
    socket.emit("ask", data([8]));
    const replied = shown(await reply);
    socket.disconnect();
    return { received, tens, acked: shown(acked), replied };
  },

  async namespaces({ io, url, transports }, { next }) {
    const main = io(url, { transports, forceNew: true });
    const received = { main: [], custom: [] };
    await next(main, "connect");
    const custom = main.io.socket("/custom");
    await next(custom, "connect");
    main.on("message-back", (text) => received.main.push(text));
    custom.on("message-back", (text) => received.custom.push(text));
    const both = Promise.all([next(main, "message-back"), next(custom, "message-back")]);
    main.emit("message", "for main");
    custom.emit("message", "for custom");
    await both;
    custom.disconnect();
    const after = next(main, "message-back");
    main.emit("message", "still there");
    await after;
    const sessions = new Set([main.io.engine.id]);
    const ids = main.id !== custom.id;
    custom.connect();
    await next(custom, "connect");
    const again = next(custom, "message-back");
    custom.emit("message", "back again");
    await again;
    sessions.add(main.io.engine.id);
    main.disconnect();
    custom.disconnect();
    return { received, ids, sessions: sessions.size };
  },

  async refusals({ io, url, transports }) {
    const refused = (namespace, auth) =>
      new Promise((resolve) => {
        const socket = io(url + namespace, { transports, forceNew: true, reconnection: false, auth });
        socket.once("connect_error", (error) => {
          socket.disconnect();
          resolve(error.message);
        });
        socket.once("connect", () => resolve("accepted"));
      });
    return [await refused("/random"), await refused("/custom", { refuse: "not you" }), await refused("/", { refuse: "nor you" })];
  },

  async oldRefusals({ io, url, transports }) {
    const socket = io(`${url}/random`, { transports, forceNew: true, reconnection: false });
    const received = await new Promise((resolve) => {
      socket.once("error", resolve);
      socket.once("connect", () => resolve("accepted"));
    });
    socket.disconnect();
    return received;
  },

  async query({ io, url, transports }, { next }) {
    const socket = io(`${url}/custom?token=abc`, { transports, forceNew: true, query: { more: "1" } });
    const received = await next(socket, "auth");
    socket.disconnect();
    return received;
  },

  async disconnect(client, { connect, next }) {
    const socket = await connect(client);
    const reason = next(socket, "disconnect");
    // Before 4.1, a client that reconnects immediately closes its new connection together with the old one.
    const closed = next(socket.io.engine, "close");
    socket.disconnect();
    const first = await reason;
    await closed;
    socket.connect();
    await next(socket, "connect");
    const back = next(socket, "message-back");
    socket.emit("message", "again");
    const received = await back;
    socket.disconnect();
    return { reason: first[0], received };
  },
};
