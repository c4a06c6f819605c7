// What must type-check, and what must not: each `@ts-expect-error` fails the check where the line
// below it is no error. Nothing here is run.

import NoDeventDefault, { Client, Manager, NoDevent, NoDeventController, Socket, connect, io, protocol } from "nodevent";
import type { Publication, JoinState, Presence, PresenceEvents, Refusal, Room, Undo } from "nodevent";

interface Discussion {
  id: number;
  title: string;
}
type DiscussionEvents = { update: Discussion; remove: { id: number }; bare: undefined };

const nodevent: NoDeventController = connect({ url: "https://host", namespace: "/nodevent", auth: { token: "x" } });
NoDevent.connect();
NoDeventDefault.connect({ key: async (room) => `${room.id}:1` });
connect({ auth: (say) => say({ token: "x" }), transports: ["polling"], reconnectionDelayMax: 100 });
new Client() satisfies NoDeventController;

// @ts-expect-error a transport that is not there
connect({ transports: ["carrier pigeon"] });
// @ts-expect-error an option that is not there
connect({ nameSpace: "/x" });
// @ts-expect-error a namespace is a string
connect({ namespace: 5 });

const plain: Room = nodevent.room("anything");
nodevent.room(42);
// @ts-expect-error a room has a name
nodevent.room();
// @ts-expect-error which is no object
nodevent.room({});

plain.on("whatever", (message) => message.any.thing);

const room = nodevent.room<DiscussionEvents>("Discussion_12");
room.join().on("update", (discussion) => discussion.title.toUpperCase());
room.join((err: Refusal | null, state?: JoinState) => [err, state?.recovered]);
room.on("remove", ({ id }) => id + 1);
room.once("bare", (message: undefined) => message);
// @ts-expect-error there is no such event
room.on("updated", () => {});
// @ts-expect-error a discussion has no such member
room.on("update", (discussion) => discussion.name);
// @ts-expect-error the listener is missing
room.on("update");

room.on("join", (err, state) => {
  if (err === "Bad key") return;
  const text: string | null = err;
  return [text, state?.position];
});
// The words of a refusal, by name: one that is missing here or there is an error.
type Words<Word> = Word extends string ? (string extends Word ? never : Word) : never;
({
  "Must provide key": 1,
  "Bad sig": 1,
  "Bad time": 1,
  "Time has passed": 1,
  "Bad key": 1,
  "Bad room": 1,
  "Too many rooms": 1,
  "Too many joins": 1,
  Left: 1,
}) satisfies Record<Words<Refusal>, 1>;
// @ts-expect-error words are missing
({}) satisfies Record<Words<Refusal>, 1>;
// @ts-expect-error the server may not have been able to read the position
room.join((_err, state) => state?.position.length);
room.on("leave", (err) => err?.length);
room.on("key-expired", (expired) => expired.setKey("k:1"));
room.on("key-refused", (reason) => reason.length);
room.on("gap", (position) => position.split(":"));
// @ts-expect-error a position is a string
room.on("gap", (position: number) => position);

const desk = nodevent.room<PresenceEvents<{ name: string }>>("Desk_1");
desk.on("nodevent:enter", ({ user, info, count }) => [user.length, info?.name, count + 1]);
desk.on("nodevent:count", ({ large }) => !large);
desk.presence().then(({ count, members }: Presence) => members.length === count);

nodevent.on("user-changed", (user) => user?.length);
nodevent.on("leave-all", () => {});
const me: string | undefined = nodevent.user.id;
const shown: string | undefined = nodevent.page.id;
void shown;
nodevent.page.on("saved", ({ id }) => id + 1);
const ids: string[] = nodevent.inbox.messages.map(({ id, event, sent }) => id + event + me + sent.toFixed());
// @ts-expect-error the list is a copy
nodevent.inbox.messages = ids;

const undo: Undo<Room<DiscussionEvents>> = room.on("update", () => {});
undo();
undo.on("remove", () => {}).join().leave();
const stop: () => void = room.onAny((event, message, publication: Publication) => [event, message, publication.position]);
stop();

room.setKey("k:1").setKey(null).setKey(async () => "k:1").setKey((of) => of.id);
room.setKey("k:1", "/keys").setKey("k:1", () => "k:2").since("x:1").since(null);
// @ts-expect-error a key is text
room.setKey(5);
// @ts-expect-error a position is text
room.since(5);
nodevent.room({ room: "r", key: "k:1", position: null, key_url: "/keys" }).join();
// @ts-expect-error room data has a room
nodevent.room({ key: "k:1" });
const pageId: string = nodevent.pageId;
void pageId;
connect({ keyUrl: "/keys" });
// @ts-expect-error the server accepts no subprotocol
connect({ protocols: "x" });
// @ts-expect-error the name is read-only
room.id = "other";
const { joined, position }: { joined: boolean; position: string | undefined } = room;
void [joined, position];

nodevent.on("connect", () => {}).on("disconnect", (reason) => reason.length);
nodevent.on("reconnecting", (delay: number, attempt: number) => delay * attempt);
nodevent.on("reconnect", (transport: string, attempts: number) => transport + attempts);
nodevent.on("error", (err) => err.message);
// @ts-expect-error no such event
nodevent.on("conect", () => {});
// @ts-expect-error the reason is text
nodevent.on("disconnect", (reason: number) => reason);
const isConnected: boolean = nodevent.connected();
void isConnected;
nodevent.close().down();

const socket: Socket = io("https://host/news", { autoConnect: false, ackTimeout: 100 });
socket.on("connect", () => {}).on("disconnect", (reason, details) => [reason.length, details?.description]);
socket.on("connect_error", (err) => [err.message, err.data]);
socket.emit("hello", 1, "2", (answer: string) => answer);
socket.timeout(10).emitWithAck("hello").then((answer) => answer);
socket.volatile.emit("hello");
nodevent.setSocket(socket);
nodevent.setToken("token").setToken(async () => "token").setToken(() => null);
// @ts-expect-error a token is text
nodevent.setToken(7);
connect({ token: async () => (await fetch("/token")).text() });
new NoDeventController({ key: () => null }).setSocket({ on() {}, emit() {}, off() {} });
// @ts-expect-error an object without on() is not a socket
nodevent.setSocket({ emit() {} });
const five: 5 = protocol;
void five;

const typed: Socket<{ news: (text: string, urgent: boolean) => void }, { ask: (question: string) => void }> =
  new Manager("https://host").socket("/news") as any;
typed.on("news", (text, urgent) => [text.length, urgent === true]);
typed.emit("ask", "why");
// @ts-expect-error it takes a string
typed.emit("ask", 5);
// @ts-expect-error there is no such event
typed.on("olds", () => {});
