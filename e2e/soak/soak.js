// A soak test: clients of all protocols that come, go, stop reading and misbehave, under traffic, with reloads of the server
// and a restart of Redis. Afterwards the well-behaved ones have received everything, nothing has panicked, and neither
// memory nor file descriptors have grown. Writes the samples and a plot into a folder.
//
//   node e2e/soak/soak.js FOLDER        after `npm install` in e2e/action_cable
//
//   SECONDS=600 CLIENTS=2000 NODEVENT_BIN=target/release/nodevent
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { freePort, start, until } from "../socket_io/support/programs.js";
import { Flapper, Garbage, HalfRequest, Noise, Staller, UnusedSession } from "./offenders.js";
import { plot } from "./plot.js";
import { ActionCable, Plain, Polling, SECRET, STREAM_KEY, ServerSentEvents, SocketIo } from "./receivers.js";

const folder = process.argv[2] ?? fileURLToPath(new URL("../../tmp/soak", import.meta.url));
const seconds = Number(process.env.SECONDS ?? 600);
const clients = Number(process.env.CLIENTS ?? 2_000);
const binary = process.env.NODEVENT_BIN ?? fileURLToPath(new URL("../../target/debug/nodevent", import.meta.url));

const ROOMS = Array.from({ length: 20 }, (_, number) => `room_${number}`);
/** Publications to each room. Per second. */
const RATE = 2;
/** Shares of all clients. The rest of the receivers speak Socket.IO over a WebSocket. */
const RECEIVERS = [[Polling, 0.1], [Plain, 0.2], [ServerSentEvents, 0.1], [ActionCable, 0.2]];
const OFFENDERS = [[Flapper, 0.06], [Staller, 0.02], [Noise, 0.02], [HalfRequest, 0.02], [Garbage, 0.02], [UnusedSession, 0.01]];
/** Part of the time until samples count as those of a server that is warm. */
const WARM = 0.3;
/** The growth that is allowed: of what a warm server has, and in addition. */
const GROWTH = { factor: 1.1, memory: 8, descriptors: 50 };

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
const began = performance.now();
const elapsed = () => (performance.now() - began) / 1000;
const isPage = (receiver) => receiver instanceof ActionCable;
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const work = mkdtempSync(join(tmpdir(), "nodevent-soak-"));
const events = [];
const samples = [];

const redisPort = await freePort();
const redisArguments = ["--port", String(redisPort), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir", work];
const startRedis = () => start("redis-server", redisArguments, {}, /Ready to accept connections/);
let redis = await startRedis();

const [port, adminPort] = [await freePort(), await freePort()];
const redisUrl = `redis://127.0.0.1:${redisPort}`;
writeFileSync(
  join(work, "nodevent.json"),
  JSON.stringify({
    bind: "127.0.0.1",
    port,
    publish: "local",
    // All clients have one address here.
    limits: { max_connections: 20_000, connects_per_address: 5_000, handshakes_per_address: 5_000 },
    admin: { bind: "127.0.0.1", port: adminPort },
    "/nodevent": { open: true, redis: redisUrl, protocol: ["socket_io", "plain"], history: { size: 2_000 } },
    "/cable": { secret: SECRET, redis: redisUrl, protocol: "action_cable", history: { size: 2_000 }, action_cable: { signed_stream_key: STREAM_KEY } },
  }),
);
const server = await start(binary, ["serve", join(work, "nodevent.json")], { NO_COLOR: "1" }, /listening url=/);
const url = `http://127.0.0.1:${port}`;

/** Publishes one message until it is confirmed. */
async function publish(namespace, room, n) {
  const headers = { "content-type": "application/json", "idempotency-key": randomUUID() };
  const body = JSON.stringify({ room, event: "tick", message: { n, text: "x".repeat(150) } });
  for (;;) {
    const response = await fetch(`${url}/api/${namespace}/emit`, { method: "POST", headers, body }).catch(() => null);
    await response?.text();
    if (response?.ok) return;
    assert(!response || response.status >= 500 || response.status === 429, `publishing: ${response?.status}`);
    await pause(200);
  }
}

let isPublishing = true;
const published = new Map();

/** Publishes to a room, one message after the other. */
async function publisher(namespace, room) {
  const name = `${namespace}/${room}`;
  for (let n = 1; isPublishing; n += 1) {
    await publish(namespace, room, n);
    published.set(name, n);
    await pause(1000 / RATE);
  }
}

function sample() {
  const status = readFileSync(`/proc/${server.pid}/status`, "utf8");
  samples.push({
    time: elapsed(),
    memory: Number(/^VmRSS:\s+(\d+)/m.exec(status)[1]) / 1024,
    descriptors: readdirSync(`/proc/${server.pid}/fd`).length,
    joined: receivers.filter((receiver) => receiver.joined).length,
    delivered: receivers.reduce((sum, receiver) => sum + (receiver.last ?? 0), 0),
  });
}

function make(shares, ...more) {
  return shares.flatMap(([Client, share]) => Array.from({ length: Math.max(1, Math.round(share * clients)) }, (_, number) => new Client(url, ...more.map((one) => one(number)))));
}

const room = (number) => ROOMS[number % ROOMS.length];
const offenders = make(OFFENDERS, () => ROOMS);
const special = make(RECEIVERS, room);
const receivers = [...special, ...make([[SocketIo, 1 - (special.length + offenders.length) / clients]], room)];

const publishers = ["nodevent", "cable"].flatMap((namespace) => ROOMS.map((name) => publisher(namespace, name)));
const sampler = setInterval(sample, 1_000);
for (const receiver of receivers) {
  receiver.start();
  await pause(2);
}
await until("all clients join", () => receivers.every((receiver) => receiver.joined), 120_000);
offenders.forEach((offender) => offender.start());
console.log(`${receivers.length} clients joined, ${offenders.length} misbehave`);

// Each second, some connections break as in a network.
const chaos = setInterval(() => {
  for (let count = 0; count < clients / 400; count += 1) receivers[Math.floor(Math.random() * receivers.length)].drop();
}, 1_000);
const reloads = setInterval(() => {
  process.kill(server.pid, "SIGHUP");
  events.push([elapsed(), ""]);
}, Math.max(10_000, seconds * 100));

await pause(seconds * 500);
events.push([elapsed(), "Redis restarts"]);
await redis.stop("SIGTERM");
await pause(2_000);
redis = await startRedis();
await pause(seconds * 500);

// The end: no more disturbances; then everything that was published has arrived.
clearInterval(chaos);
clearInterval(reloads);
offenders.forEach((offender) => offender.end());
isPublishing = false;
await Promise.all(publishers);
const expected = (receiver) => published.get(`${isPage(receiver) ? "cable" : "nodevent"}/${receiver.room}`);
const incomplete = () => receivers.filter((receiver) => receiver.last !== expected(receiver) || !receiver.joined);
await until("all clients are complete", () => incomplete().length === 0, 120_000).catch((error) => console.log(`${error.message}: ${incomplete().length} are not`));
sample();
clearInterval(sampler);

const total = (key, some = receivers) => some.reduce((sum, receiver) => sum + receiver[key], 0);
const warm = samples.filter(({ time }) => time > seconds * WARM && time < seconds * (WARM + 0.2));
const late = samples.filter(({ time }) => time > seconds * 0.8);
const at = (some, key) => median(some.map((one) => one[key]));
const result = {
  seconds,
  clients: receivers.length,
  misbehaving: offenders.length,
  received: samples.at(-1).delivered,
  reconnects: total("reconnects"),
  missed: total("missed"),
  repeated: total("repeated", receivers.filter((receiver) => !isPage(receiver))),
  // What a page of Action Cable had received, but not yet confirmed by a pong, comes again.
  repeated_to_pages: total("repeated", receivers.filter(isPage)),
  lost: total("lost"),
  incomplete: incomplete().map((receiver) => `${receiver.constructor.name} ${receiver.room}: ${receiver.last} of ${expected(receiver)}`),
  memory: [at(warm, "memory"), at(late, "memory")],
  descriptors: [at(warm, "descriptors"), at(late, "descriptors")],
};

receivers.forEach((receiver) => receiver.end());
await server.stop();
await redis.stop();
rmSync(work, { recursive: true });

mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "soak.json"), JSON.stringify({ result, samples }, null, 1));
const series = [["memory", "Resident memory, MB"], ["descriptors", "Open file descriptors"], ["joined", "Clients in their rooms"], ["delivered", "Messages received"]];
writeFileSync(join(folder, "soak.svg"), plot(samples, series, events));
console.log(JSON.stringify(result, null, 1));

const panics = server.lines.filter((line) => /panicked|ERROR/.test(line));
assert.deepEqual(panics, []);
assert.deepEqual(result.incomplete, []);
for (const key of ["missed", "repeated", "lost"]) assert.equal(result[key], 0, key);
const [memory, descriptors] = [result.memory, result.descriptors];
assert(memory[1] <= memory[0] * GROWTH.factor + GROWTH.memory, `memory grew from ${memory[0]} to ${memory[1]} MB`);
assert(descriptors[1] <= descriptors[0] * GROWTH.factor + GROWTH.descriptors, `descriptors grew from ${descriptors[0]} to ${descriptors[1]}`);
process.exit(0);
