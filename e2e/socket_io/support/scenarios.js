// What every client must be able to do with the echo application: each scenario is one function that needs nothing
// but its arguments, so that the same text runs in Node and in a page. It resolves with what was heard.

/** Connects, and waits for the upgrade where one is asked for. */
async function connect({ io, url, transports }, namespace = "/", options = {}) {
  const socket = io(url + namespace, { transports, forceNew: true, reconnection: false, ...options });
  await new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
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
    const heard = await next(socket, "auth");
    const again = client.io(client.url, { transports: client.transports, forceNew: true, auth: (give) => give({ late: 1 }) });
    const late = await next(again, "auth");
    const none = await connect(client);
    socket.disconnect();
    again.disconnect();
    none.disconnect();
    return { heard, late };
  },

  async messages(client, { connect, next }) {
    const socket = await connect(client);
    const heard = [];
    for (const args of [[], [1, "2", { 3: [true] }], [null], ["ünï☃😀\u2028 \u0000"], ["x".repeat(50_000)]]) {
      const back = next(socket, "message-back");
      socket.emit("message", ...args);
      heard.push(await back);
    }
    socket.disconnect();
    return heard;
  },

  async order(client, { connect }) {
    const socket = await connect(client);
    const heard = [];
    const all = new Promise((resolve) => {
      socket.on("message-back", (n) => {
        heard.push(n);
        if (heard.length === 300) resolve();
      });
    });
    for (let n = 0; n < 300; n += 1) socket.emit("message", n);
    await all;
    socket.disconnect();
    return heard;
  },

  async acks(client, { connect }) {
    const socket = await connect(client);
    const ask = (...args) => new Promise((resolve) => socket.emit("message-with-ack", ...args, (...back) => resolve(back)));
    const heard = [await ask(), await ask(1, "2", { 3: [false] })];
    heard.push(...(await Promise.all([ask("a"), ask("b"), ask("c")])));
    socket.disconnect();
    return heard;
  },

  async asked(client, { connect, next }) {
    const socket = await connect(client);
    const questions = [];
    socket.on("question", (...args) => {
      const acknowledge = args.pop();
      questions.push(args);
      acknowledge("because", args.length);
    });
    const heard = [];
    for (const args of [[], ["why", { not: 1 }]]) {
      const answer = next(socket, "answer");
      socket.emit("ask", ...args);
      heard.push(await answer);
    }
    socket.disconnect();
    return { questions, heard };
  },

  async binary(client, { connect, next }) {
    const socket = await connect(client);
    const bytes = (value) => (value instanceof ArrayBuffer || ArrayBuffer.isView(value) ? [...new Uint8Array(value.buffer ?? value, value.byteOffset ?? 0, value.byteLength)] : value);
    const shown = (args) => JSON.parse(JSON.stringify(args, (_, value) => (value && value.type === "Buffer" ? value.data : bytes(value))));
    const ten = Array.from({ length: 10 }, (_, n) => new Uint8Array(n * 100).fill(n));
    const back = next(socket, "message-back");
    socket.emit("message", new Uint8Array([1, 2, 3]), { deep: [new Uint8Array([0, 255])] }, "text", new Uint8Array(0));
    const heard = shown(await back);
    const many = next(socket, "message-back");
    socket.emit("message", ten);
    const tens = shown(await many);
    const acked = await new Promise((resolve) => socket.emit("message-with-ack", new Uint8Array([7]), (...args) => resolve(args)));
    socket.on("question", (attachment, acknowledge) => acknowledge(attachment, new Uint8Array([9])));
    const answer = next(socket, "answer");
    socket.emit("ask", new Uint8Array([8]));
    const answered = shown(await answer);
    socket.disconnect();
    return { heard, tens, acked: shown(acked), answered };
  },

  async namespaces({ io, url, transports }, { next }) {
    const main = io(url, { transports, forceNew: true });
    const heard = { main: [], custom: [] };
    await next(main, "connect");
    const custom = main.io.socket("/custom");
    await next(custom, "connect");
    main.on("message-back", (text) => heard.main.push(text));
    custom.on("message-back", (text) => heard.custom.push(text));
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
    return { heard, ids, sessions: sessions.size };
  },

  async refusals({ io, url, transports }) {
    const refused = (namespace, auth) =>
      new Promise((resolve) => {
        const socket = io(url + namespace, { transports, forceNew: true, reconnection: false, auth });
        socket.once("connect_error", (error) => {
          socket.disconnect();
          resolve(error.message);
        });
        socket.once("connect", () => resolve("let in"));
      });
    return [await refused("/random"), await refused("/custom", { refuse: "not you" }), await refused("/", { refuse: "nor you" })];
  },

  async query({ io, url, transports }, { next }) {
    const socket = io(`${url}/custom?token=abc`, { transports, forceNew: true, query: { more: "1" } });
    const heard = await next(socket, "auth");
    socket.disconnect();
    return heard;
  },

  async goodbye(client, { connect, next }) {
    const socket = await connect(client);
    const reason = next(socket, "disconnect");
    // Before 4.1 a client that comes back at once ends its new connection together with the old one.
    const closed = next(socket.io.engine, "close");
    socket.disconnect();
    const first = await reason;
    await closed;
    socket.connect();
    await next(socket, "connect");
    const back = next(socket, "message-back");
    socket.emit("message", "again");
    const heard = await back;
    socket.disconnect();
    return { reason: first[0], heard };
  },
};
