// Serves the console page in front of a real server: the three files at `/` with the server's
// Content-Security-Policy, and console.json. It forwards all other requests, including WebSockets.

import { readFileSync } from "node:fs";
import { createServer, request as ask } from "node:http";
import net from "node:net";

export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const FILES = new Map([
  ["/", ["console.html", "text/html; charset=utf-8"]],
  ["/console.js", ["console.js", "text/javascript; charset=utf-8"]],
  ["/console.css", ["console.css", "text/css; charset=utf-8"]],
]);

/** @param {() => number} port of the server @param {() => object | Promise<object>} about the content of console.json */
export async function startFront(port, about) {
  const http = createServer(async (request, response) => {
    const file = FILES.get(request.url);
    if (file) {
      response.setHeader("content-security-policy", POLICY);
      response.setHeader("content-type", file[1]);
      return response.end(readFileSync(new URL(`../../dist/${file[0]}`, import.meta.url)));
    }
    if (request.url === "/console.json") {
      response.setHeader("content-type", "application/json");
      return response.end(JSON.stringify(await about()));
    }
    const onward = ask({ port: port(), host: "127.0.0.1", method: request.method, path: request.url, headers: request.headers }, (reply) => {
      response.writeHead(reply.statusCode, reply.headers);
      reply.pipe(response);
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  http.on("upgrade", (request, socket, head) => {
    const server = net.connect(port(), "127.0.0.1", () => {
      const headers = request.rawHeaders.reduce((all, part, n) => all + part + (n % 2 ? "\r\n" : ": "), "");
      server.write(`${request.method} ${request.url} HTTP/1.1\r\n${headers}\r\n`);
      server.write(head);
      server.pipe(socket).pipe(server);
    });
    for (const one of [server, socket]) one.on("error", () => {}).on("close", () => (server.destroy(), socket.destroy()));
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    port: http.address().port,
    url: `http://127.0.0.1:${http.address().port}`,
    close() {
      http.closeAllConnections();
      return new Promise((resolve) => http.close(resolve));
    },
  };
}
