// A TCP relay between a page and its server. It can cut connections, drop all data, or reject
// WebSockets.

import net from "node:net";

export class Relay {
  /** @param {() => number} port of the server */
  constructor(port) {
    this.target = port;
    this.mode = "open"; // or "swallow": drops all data; "closed": rejects connections
    this.forbid = undefined; // requests whose head matches are rejected
    this.hang = undefined; // requests whose head matches get no response
    this.heads = []; // the first line of each connection
    this.pairs = new Set();
    this.server = net.createServer((browser) => this.#take(browser));
  }

  async start() {
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.port = this.server.address().port;
    return this;
  }

  #take(browser) {
    if (this.mode === "closed") return browser.destroy();
    const server = net.connect(this.target(), "127.0.0.1");
    const pair = { browser, server };
    this.pairs.add(pair);
    const end = () => {
      this.pairs.delete(pair);
      browser.destroy();
      server.destroy();
    };
    browser.on("data", (piece) => {
      if (this.mode === "swallow") return;
      const text = piece.toString("latin1");
      if (/^(GET|POST) /.test(text)) {
        this.heads.push(text.split("\r\n")[0]);
        if (this.forbid?.test(text)) {
          browser.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
          return;
        }
        if (this.hang?.test(text)) return;
      }
      server.write(piece);
    });
    server.on("data", (piece) => {
      if (this.mode !== "swallow") browser.write(piece);
    });
    browser.on("close", end).on("error", end);
    // While data is dropped, the end of a connection is dropped too.
    server.on("error", () => {}).on("close", () => this.mode !== "swallow" && end());
  }

  /** Closes all connections. */
  cut() {
    for (const { browser } of this.pairs) browser.destroy();
  }

  async close() {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
