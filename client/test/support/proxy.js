// What lies between a page and its server: a TCP relay that can be cut, swallow everything, or
// refuse to let a WebSocket through.

import net from "node:net";

export class Relay {
  /** @param {() => number} port where to */
  constructor(port) {
    this.target = port;
    this.mode = "open"; // or "swallow": takes and gives nothing; "closed": refuses
    this.forbid = undefined; // what the head of a request may not match
    this.hang = undefined; // what is never answered
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
    // A network that swallows everything swallows a goodbye too.
    server.on("error", () => {}).on("close", () => this.mode !== "swallow" && end());
  }

  /** Ends every connection there is. */
  cut() {
    for (const { browser } of this.pairs) browser.destroy();
  }

  async close() {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
