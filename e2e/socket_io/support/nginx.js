// nginx on a free port, with the upstream and the locations of the guide for users of SocketIO Web Service.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, until } from "./programs.js";

const guide = new URL("../../../docs/from-socketio-web-service.md", import.meta.url);

/** The sample of the guide with these ports: its own, and those of its two servers. */
async function sample(port, servers) {
  const text = (await readFile(guide, "utf8")).split("```nginx\n")[1].split("\n```")[0];
  const changes = [["listen 80;", `listen 127.0.0.1:${port};`], ["127.0.0.1:1337;", `127.0.0.1:${servers[0]};`], ["127.0.0.1:1338;", `127.0.0.1:${servers[1]};`]];
  return changes.reduce((changed, [from, to]) => {
    if (!changed.includes(from)) throw new Error(`the sample of the guide has no ${from}`);
    return changed.replace(from, to);
  }, text);
}

/** Starts nginx in front of two servers on these ports. */
export async function startNginx(servers) {
  const [port, folder] = [await freePort(), await mkdtemp(join(tmpdir(), "nodevent-nginx-"))];
  const [file, log] = [join(folder, "nginx.conf"), join(folder, "error.log")];
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${folder}/${kind};`);
  await writeFile(file, `user root; daemon off; master_process off; pid ${folder}/pid; error_log ${log};
events { worker_connections 256; }
http {
access_log off; ${paths.join(" ")}
${await sample(port, servers)}
}
`);
  // Debian has it in a folder that is not on every user's PATH.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  const program = spawn("nginx", ["-e", log, "-c", file], { stdio: "ignore", env });
  const ended = new Promise((resolve) => program.once("exit", resolve).once("error", resolve));
  const url = `http://127.0.0.1:${port}`;
  await until("nginx listens (Debian: apt-get install nginx-light)", () => fetch(url).catch(() => null));
  const stop = async () => {
    program.kill();
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  return { url, stop };
}
