// Makes docs/images/catch-up.webp: two windows of the demo, of which one loses its connection and catches up.
//
//   node e2e/catch_up.js     from a checkout where bin/demo works, after `npm install` in e2e/
//
// It drives the real demo in Chromium: the right window's connections are cut by a proxy, and what it shows afterwards
// is what the server replays. `img2webp` assembles the frames; on Debian: `apt-get install webp fonts-inter
// fonts-sil-charis`.
import { join } from "node:path";
import { CutProxy } from "./support/cut_proxy.js";
import { images, launch, openWindow, startDemo } from "./support/demo.js";
import { Film } from "./support/film.js";

const DISCUSSION = 6;
const WINDOW = { width: 560, height: 620 };
const STAGE = { width: 1200, height: 752 };
/** How long a frame is shown: while something moves, and to read it. Milliseconds. */
const [MOVING, READING] = [90, 1600];

/** The picture around both windows. */
const STAGE_HTML = `<style>
  body { margin: 0; width: ${STAGE.width}px; height: ${STAGE.height}px; background: #e9ede8; font: 600 22px Inter, sans-serif; color: #24332c }
  p { position: absolute; left: 0; right: 0; top: 18px; margin: 0; text-align: center }
  figure { position: absolute; top: 104px; margin: 0; width: ${WINDOW.width}px; height: ${WINDOW.height}px }
  figure img { width: 100%; border: 1px solid #c9d2ca; border-radius: 12px; box-shadow: 0 10px 30px rgb(0 0 0 / .14) }
  figcaption { position: absolute; top: -36px; left: 4px; font-size: 17px }
  #left { left: 26px } #right { right: 26px }
  .cut img { filter: saturate(.35); border-color: #b3402f }
  .cut figcaption { color: #b3402f }
</style><p id="text"></p>
<figure id="left"><figcaption></figcaption><img></figure>
<figure id="right"><figcaption></figcaption><img></figure>`;

/** Owns the stage on which both windows are laid out. */
class Windows {
  constructor(stage, left, right) {
    this.film = new Film(stage);
    Object.assign(this, { stage, left, right, text: "", captions: ["Ines", "Omar, connected"], cut: false });
  }

  /** Shows the end of both discussions. */
  async #scroll() {
    const toEnd = () => document.querySelector(".compose").scrollIntoView({ block: "end", behavior: "instant" });
    await Promise.all([this.left, this.right].map((page) => page.evaluate(toEnd)));
  }

  async frame(duration) {
    await this.#scroll();
    const pictures = await Promise.all([this.left, this.right].map((page) => page.screenshot()));
    const sources = pictures.map((png) => `data:image/png;base64,${png.toString("base64")}`);
    await this.stage.evaluate(
      async ({ sources, text, captions, cut }) => {
        document.getElementById("text").textContent = text;
        document.getElementById("right").className = cut ? "cut" : "";
        document.querySelectorAll("figcaption").forEach((caption, index) => (caption.textContent = captions[index]));
        const pictures = [...document.querySelectorAll("img")];
        pictures.forEach((picture, index) => (picture.src = sources[index]));
        await Promise.all(pictures.map((picture) => picture.decode()));
      },
      { sources, text: this.text, captions: this.captions, cut: this.cut },
    );
    await this.film.frame(duration);
  }

  async moving(count) {
    for (let index = 0; index < count; index++) await this.frame(MOVING);
  }
}

/** Types a reply in the left window and sends it. */
async function reply(film, text) {
  const box = film.left.locator(".compose textarea");
  await box.click();
  for (let end = 6; end < text.length + 6; end += 6) {
    await box.fill(text.slice(0, end));
    await film.frame(MOVING);
  }
  await film.left.click(".compose button");
  await shown(film.left, text);
}

/** Waits until a window shows a reply. */
function shown(page, text) {
  return page.locator("#comments .prose", { hasText: text }).waitFor();
}

async function play(film, proxy) {
  film.text = "Two windows of one discussion";
  await film.frame(READING);
  await reply(film, "The tram bell at the corner.");
  await shown(film.right, "The tram bell at the corner.");
  await film.moving(6);
  film.text = "A reply appears in both";
  await film.frame(READING);

  proxy.cut();
  await film.right.waitForSelector("#signal[data-state=lost]");
  Object.assign(film, { text: "The right window loses its connection", cut: true });
  film.captions[1] = "Omar, disconnected";
  await film.frame(READING);
  film.text = "Two more replies are written meanwhile";
  await reply(film, "Two rings: my father was on it.");
  await film.moving(4);
  await reply(film, "He rang for every cat.");
  await film.moving(4);
  await film.frame(READING);
  if (await film.right.locator("#comments .prose", { hasText: "every cat" }).count()) throw new Error("the right window was not disconnected");

  proxy.restore();
  await film.right.waitForSelector("#signal[data-state=live]");
  Object.assign(film, { text: "It reconnects, and receives what it missed, in order", cut: false });
  film.captions[1] = "Omar, connected";
  await shown(film.right, "He rang for every cat.");
  await film.moving(8);
  await film.frame(2 * READING);
  const replies = await film.right.locator("#comments .prose").allTextContents();
  const missed = replies.slice(-2).map((text) => text.trim());
  if (missed.join() !== "Two rings: my father was on it.,He rang for every cat.") throw new Error(`the right window shows ${missed}`);
}

const proxy = await new CutProxy().start();
const demo = await startDemo();
const browser = await launch();
try {
  const url = `${demo.url}/discussions/${DISCUSSION}`;
  const left = await openWindow(browser, url, "Ines Duarte", { colorScheme: "light", viewport: WINDOW });
  const right = await openWindow(browser, url, "Omar Haddad", { colorScheme: "light", viewport: WINDOW, proxy: { server: proxy.url } });
  const stage = await browser.newPage({ viewport: STAGE });
  await stage.setContent(STAGE_HTML);
  const film = new Windows(stage, left, right);
  await play(film, proxy);
  await film.film.save(join(images, "catch-up.webp"));
} finally {
  await browser.close();
  await demo.stop();
  proxy.stop();
}
