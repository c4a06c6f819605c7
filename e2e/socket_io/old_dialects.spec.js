// The dialects `turted` and `notifications` with the stock clients of their pages, over each transport. T-01, T-37, T-47, R-10
// to
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { clients, transports } from "./support/clients.js";
import { startServer, until, within } from "./support/programs.js";
import { Turted } from "./support/turted_client.js";

const password = "IamAllowed2PUSH!!!";
const publishKey = "a-publish-key-0123456789";
const configuration = {
  limits: { max_rooms_per_connection: 1000, packets_per_second: 1000 },
  "/": {
    dialect: ["turted", "notifications"],
    publish_key: publishKey,
    turted: { ident: "password", ident_password: password, push: { password } },
    notifications: { channels: ["notif", "other"], http: true, page: true },
  },
};

let server;
before(async () => (server = await startServer(configuration)));
after(() => server?.stop());

async function push(body) {
  const response = await fetch(`${server.url}/push/`, { method: "POST", body: JSON.stringify({ ...body, auth: { password } }) });
  assert.deepEqual([response.status, await response.text()], [200, "OK"]);
}

async function send(url, channel, text) {
  const request = { method: "POST", body: text, headers: { authorization: `Bearer ${publishKey}` } };
  assert.equal((await fetch(`${url}/notifications/${channel}`, request)).status, 200);
}

for (const { version, io } of clients) {
  for (const { name, transports: wanted } of transports) {
    describe(`socket.io-client ${version} over ${name}`, () => {
      const options = () => ({ transports: wanted, forceNew: true, reconnection: false });

      test("a page of TURTED queues its calls, and receives what is pushed to its user and channels", async () => {
        const page = new Turted(server.url, io, options());
        const user = `${version}-${name}`;
        const received = [];
        page.on("MESSAGE:NEW", (payload) => received.push(payload));
        page.on("MESSAGE:NEW", () => received.push("again"));
        page.ident({ username: user, password });
        for (let index = 0; index < 120; index += 1) page.join(`${user}-${index}`);
        await until("the first hundred calls", () => page.replies.length === 100);
        page.echo({ ünï: 1 });
        await until("the other calls", () => page.replies.length === 122);
        assert.deepEqual(page.replies[0], ["OK", { username: user }]);
        assert.deepEqual(page.replies.at(-1), ["ECHO", { ünï: 1 }]);
        assert.ok(page.replies.slice(1, -1).every(([reply, { channel }], index) => reply === "OK" && channel === `${user}-${index}`));
        await push({ event: "MESSAGE:NEW", targets: { users: user, channels: [`${user}-0`, `${user}-119`] }, payload: { msg: "ünï" } });
        await push({ event: "MESSAGE:NEW", targets: { channels: `${user}-119` }, payload: 0 });
        await until("both events", () => received.length === 4);
        assert.deepEqual(received, [{ msg: "ünï" }, "again", 0, "again"]);
        page.socket.disconnect();
      });

      test("a page of realtime-notifications receives the texts of its channels", async () => {
        const socket = io(server.url, options());
        const received = [];
        socket.on("message", (data) => received.push(data));
        socket.on("connect", () => socket.emit("subscribe", { channel: "notif" }));
        await until("the welcome", () => received.length === 1);
        assert.deepEqual(received, [{ text: "Welcome!" }]);
        // Until the subscription has arrived, texts reach no page.
        const text = `${version} over ${name}`;
        await until("the text", async () => {
          await send(server.url, "other", text);
          await send(server.url, "notif", text);
          return received.some((data) => data.text === text);
        });
        assert.ok(received.slice(1).every(({ channel }) => channel === "notif"));
        socket.disconnect();
      });
    });
  }
}

describe("the page of notifications in Chromium", () => {
  test("shows its status and texts as text, under another name of the host, and subscribes again after a restart", async () => {
    let own = await startServer({ ...configuration, hosts: ["page.test"], origins: [] });
    let browser;
    try {
      browser = await chromium.launch({
        executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
        args: ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP page.test 127.0.0.1"],
      });
      const page = await browser.newPage();
      const errors = [];
      page.on("pageerror", (error) => errors.push(String(error)));
      await page.goto(`http://page.test:${own.port}/`);
      const status = (text) => within(text, page.waitForFunction((text) => document.getElementById("status").textContent === text, text));
      const shows = (text) => page.evaluate((text) => [...document.querySelectorAll("li")].some((item) => item.textContent === text), text);
      const arrives = async (text) => {
        // Until the page has subscribed, texts reach no page.
        const again = async () => {
          while (!(await shows(`Channel:notif, ${text}`))) await send(own.url, "notif", text);
        };
        await within(text, again());
      };
      await status("Connection Status : connected");
      assert.ok(await shows("Welcome!"));
      const html = "<img src=x onerror=\"document.title='hacked'\">";
      await arrives(html);
      assert.equal(await page.locator("li img").count(), 0);
      await own.stop("SIGKILL");
      await status("Connection Status : reconnecting");
      own = await startServer({ ...configuration, hosts: ["page.test"], origins: [] }, own.port);
      await status("Connection Status : connected");
      await arrives("after the restart");
      assert.notEqual(await page.title(), "hacked");
      assert.deepEqual(errors, []);
    } finally {
      await browser?.close();
      await own.stop();
    }
  });
});
