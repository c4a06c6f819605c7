// Makes docs/images/getting-started.webp: the three commands of the README in a terminal, and a page that shows what a
// Rails console creates.
//
//   node e2e/getting_started.js     from a checkout that is built, after `npm install` in e2e/
//
// The application is one of rails/template.rb, with the installed gems. The output of the generator and of Rails is real; it is
// shortened to the lines that the picture has room for. `bundle add` is shown as it will be when the gem is published, and
// `rails runner` runs what the console shows. `img2webp` assembles the frames; on Debian:
// `apt-get install webp fonts-inter`.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { images, launch, root } from "./support/demo.js";
import { Film } from "./support/film.js";

const run = promisify(execFile);
const STAGE = { width: 1200, height: 470 };
const WINDOW = { width: 500, height: 375 };
/** How long a frame is shown: while text is typed, and to read it. Milliseconds. */
const [TYPING, READING] = [90, 1500];
const SKIPPED = "javascript bundle git spring listen bootsnap sprockets test system-test action-cable action-mailer action-mailbox action-text active-storage asset-pipeline webpack-install turbolinks";
const GEMFILE = 'gem "rails"\ngem "puma"\ngem "sqlite3"\n';

const STAGE_HTML = `<style>
  body { margin: 0; width: ${STAGE.width}px; height: ${STAGE.height}px; background: #e9ede8; font: 16px Inter, sans-serif }
  .terminal, figure { position: absolute; top: 26px; margin: 0; height: ${STAGE.height - 52}px; border-radius: 12px; overflow: hidden;
    box-shadow: 0 10px 30px rgb(0 0 0 / .16) }
  .terminal { left: 26px; width: 606px; background: #17211c; color: #d5e0d9; font: 15px/1.5 "DejaVu Sans Mono", monospace }
  .terminal pre { margin: 0; padding: 18px 20px; white-space: pre-wrap; overflow-wrap: anywhere; font: inherit }
  .terminal b { color: #fff } .terminal i { color: #8fa398; font-style: normal }
  figure { right: 26px; width: ${WINDOW.width}px; background: #fff }
  figcaption { padding: 12px 16px; background: #dfe5de; color: #3c4a42; font-size: 14px }
  figcaption span { display: inline-block; padding: 3px 14px; border-radius: 9px; background: #fff }
  figure img { width: 100%; display: block }
  figure img:not([src]) { display: none }
</style><div class="terminal"><pre></pre></div>
<figure><figcaption><span>localhost:3000</span></figcaption><img></figure>`;

/** The terminal and the browser window of the picture. */
class Stage {
  constructor(page) {
    this.page = page;
    this.lines = [];
    this.film = new Film(page);
  }

  /** Shows the lines, and the window if there is one. */
  async frame(duration) {
    const picture = this.window && `data:image/png;base64,${(await this.window.screenshot()).toString("base64")}`;
    await this.page.evaluate(
      async ([html, source]) => {
        document.querySelector("pre").innerHTML = html;
        if (!source) return;
        const image = document.querySelector("img");
        image.src = source;
        await image.decode();
      },
      [this.lines.join("\n"), picture],
    );
    await this.film.frame(duration);
  }

  async type(prompt, command) {
    this.lines.push("");
    for (let end = 4; end < command.length + 4; end += 4) {
      this.lines[this.lines.length - 1] = `<i>${prompt}</i> <b>${escaped(command.slice(0, end))}</b>`;
      await this.frame(TYPING);
    }
  }

  print(text) {
    this.lines.push(...text.map((line) => `<i>${escaped(line)}</i>`));
  }
}

const escaped = (text) => text.replace(/[&<>]/g, (letter) => `&#${letter.charCodeAt(0)};`);
const COLOUR = new RegExp(`${String.fromCharCode(27)}\\[[\\d;]*m`, "g");
const plain = (text) => text.replace(COLOUR, "");

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** An application of the template, before and after what the generator has changed. */
async function newApplication(folder) {
  const template = join(folder, "offline.rb");
  await writeFile(template, `create_file "Gemfile", ${JSON.stringify(GEMFILE)}, force: true\napply ${JSON.stringify(join(root, "rails/template.rb"))}\n`);
  const skipped = SKIPPED.split(" ").map((part) => `--skip-${part}`);
  await run("rails", ["new", "live", ...skipped, "--template", template], { cwd: folder, env });
  return join(folder, "live");
}

/** The output of the generator in an application without its files. */
async function generatorOutput(application, folder) {
  const copy = join(folder, "copy");
  await cp(application, copy, { recursive: true });
  await Promise.all(["config/nodevent.yml", "app/views/nodevent"].map((name) => rm(join(copy, name), { recursive: true })));
  for (const [name, line] of [["config/puma.rb", /^.*nodevent.*\n/gim], ["config/routes.rb", /^.*NoDevent.*\n/gm], ["app/views/layouts/application.html.erb", /^.*nodevent.*\n/gm]]) {
    await writeFile(join(copy, name), (await readFile(join(copy, name), "utf8")).replace(line, ""));
  }
  const { stdout } = await run("bin/rails", ["generate", "nodevent:install"], { cwd: copy, env });
  return plain(stdout).split("\n").filter((line) => /^\s+(create|append|route|insert)\b/.test(line));
}

/** `bin/rails server` of the application, as soon as its page is there. */
async function startServer(application, port) {
  const server = spawn("bin/rails", ["server", "--port", String(port)], { cwd: application, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [server.stdout, server.stderr]) stream.on("data", (text) => (output += text));
  const deadline = Date.now() + 60_000;
  const responds = async () => (await fetch(`http://localhost:${port}/`).catch(() => undefined))?.ok && output.includes("listening url=");
  while (!(await responds())) {
    if (Date.now() > deadline || server.exitCode !== null) throw new Error(`Rails does not respond:\n${output}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const lines = plain(output).replaceAll(String(port), "3000").split("\n");
  const shown = [/^\* (Puma version|Listening)/, /NoDevent: server started/, /nodevent starts/].map((pattern) => lines.find((line) => pattern.test(line)));
  return { server, lines: shown.filter(Boolean).map((line) => line.replace(/^\S+Z\s+| environment=.*/g, "")) };
}

const env = { ...process.env, RUBYOPT: "-W0", BUNDLE_SILENCE_ROOT_WARNING: "1", RAILS_ENV: "development" };
for (const name of ["NODEVENT_ENV", "NODEVENT_CONFIG", "RACK_ENV", "REDIS_URL", "PORT"]) delete env[name];
const folder = await mkdtemp(join(tmpdir(), "nodevent-picture-"));
const browser = await launch();
let rails;
try {
  const application = await newApplication(folder);
  const [port, own] = [await freePort(), await freePort()];
  const configuration = join(application, "config/nodevent.yml");
  await writeFile(configuration, (await readFile(configuration, "utf8")).replaceAll("8080", String(own)));
  await chmod(join(application, "bin/rails"), 0o755);
  const generated = await generatorOutput(application, folder);
  rails = await startServer(application, port);

  const stage = new Stage(await browser.newPage({ viewport: STAGE }));
  await stage.page.setContent(STAGE_HTML);
  await stage.frame(600);
  await stage.type("$", "bundle add nodevent");
  await stage.frame(READING / 2);
  await stage.type("$", "bin/rails generate nodevent:install");
  stage.print(generated);
  await stage.frame(READING);
  await stage.type("$", "bin/rails server");
  stage.print(rails.lines);
  stage.window = await browser.newPage({ viewport: WINDOW });
  await stage.window.goto(`http://localhost:${port}/`);
  await stage.window.waitForFunction(() => NoDevent.room("Message").joined);
  await stage.window.addStyleTag({ content: "body { font: 18px Inter, sans-serif; margin: 28px } h1 { font-size: 26px } li { margin: 8px 0 } input { font: inherit; padding: 4px 8px }" });
  await stage.frame(READING);
  stage.lines = stage.lines.slice(-rails.lines.length - 1);
  stage.lines.push("", "<i># another terminal: bin/rails console</i>");
  for (const body of ["Hello", "No Redis, no second port."]) {
    const command = `Message.create!(body: ${JSON.stringify(body)})`;
    await stage.type(">", command);
    await run("bin/rails", ["runner", command], { cwd: application, env });
    await stage.window.locator("#messages li", { hasText: body }).waitFor();
    await stage.frame(READING);
  }
  await stage.frame(2 * READING);
  await stage.film.save(join(images, "getting-started.webp"));
} finally {
  await browser.close();
  if (rails) {
    rails.server.kill("SIGTERM");
    await once(rails.server, "exit");
  }
  await rm(folder, { recursive: true, force: true });
}
