// Collects screenshots of a page, and assembles them to an animated picture with `img2webp`.
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Film {
  #frames = [];

  /** @param page the page that the picture shows */
  constructor(page) {
    this.page = page;
  }

  /** Adds what the page shows. @param {number} duration milliseconds */
  async frame(duration) {
    this.#frames.push({ png: await this.page.screenshot(), duration });
  }

  async save(path) {
    const folder = await mkdtemp(join(tmpdir(), "nodevent-film-"));
    try {
      const parts = [];
      for (const [index, { png, duration }] of this.#frames.entries()) {
        const file = join(folder, `${String(index).padStart(4, "0")}.png`);
        await writeFile(file, png);
        parts.push("-d", String(duration), file);
      }
      execFileSync("img2webp", ["-loop", "0", "-mixed", "-min_size", "-q", "70", "-m", "5", ...parts, "-o", path]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}
