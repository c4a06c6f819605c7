// Takes the screenshots of the demo for docs/images/, reproducibly: `node e2e/screenshots.js` from a checkout
// where bin/demo works. They show the windows of two users just after one of them wrote something. On Debian:
// `apt-get install fonts-inter fonts-sil-charis`.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { images, launch, openWindow, startDemo } from "./support/demo.js";

const WINDOW = { width: 1120, height: 880 };

/** Combines two screenshots as overlapping windows on a transparent background. */
async function compose(browser, scheme, back, front, path) {
  const page = await browser.newPage({ viewport: { width: 1400, height: 1000 }, deviceScaleFactor: 1.25 });
  const line = scheme === "dark" ? "#2c3a34" : "#d3dad2";
  const window = (png, place) =>
    `<img src="data:image/png;base64,${png.toString("base64")}" style="position:absolute;${place};width:${WINDOW.width * 0.85}px;
      border:1px solid ${line};border-radius:14px;box-shadow:0 18px 50px rgb(0 0 0/.28)">`;
  await page.setContent(`<body style="margin:0;background:transparent">${window(back, "left:24px;top:24px")}${window(front, "right:24px;bottom:40px")}`);
  await page.screenshot({ path, omitBackground: true });
  await page.close();
}

const demo = await startDemo();
const browser = await launch();
try {
  await mkdir(images, { recursive: true });
  for (const [scheme, discussion, reader, writer, text] of [
    ["light", 6, "Kira Holm", "Ines Duarte", "The tram bell at the corner. Two rings, @Kira Holm: my father was on it."],
    ["dark", 2, "Jon Berger", "Omar Haddad", "Italo Calvino, Invisible Cities. One city for each station, @Jon Berger."],
  ]) {
    const options = { colorScheme: scheme, viewport: WINDOW, deviceScaleFactor: 1.5 };
    const list = await openWindow(browser, demo.url, reader, options);
    const thread = await openWindow(browser, `${demo.url}/discussions/${discussion}`, writer, options);
    await thread.fill(".compose textarea", text);
    await thread.click(".compose button");
    await list.waitForSelector(".news.arrived");
    await list.locator("#unread:not([hidden])").waitFor();
    await thread.locator(".comment .prose", { hasText: text }).waitFor();
    await list.waitForFunction(() => document.querySelector(".discussion.changed, .discussion.arrived"));
    await thread.evaluate(() => scrollTo({ top: 0, behavior: "instant" }));
    await Promise.all([list, thread].map((page) => page.waitForTimeout(450))); // the middle of the animation
    const [back, front] = await Promise.all([list.screenshot(), thread.screenshot()]);
    await compose(browser, scheme, back, front, join(images, `demo-${scheme}.png`));
    await Promise.all([list, thread].map((page) => page.context().close()));
  }
} finally {
  await browser.close();
  await demo.stop();
}
