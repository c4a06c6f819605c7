// The public types of the package `nodevent`, written by hand.
// The build copies this file into dist/ twice, for `import` and for `require`.

/** The events of a room: the message type of each event by its name. */
export type EventMap = { [event: string]: any };

/**
 * The reason for a refused join: the server's text, `Left` if the page left in the meantime, or the error of
 * the key function as text.
 */
export type Refusal =
  | "Must provide key"
  | "Bad sig"
  | "Bad time"
  | "Time has passed"
  | "Bad key"
  | "Bad room"
  | "Too many rooms"
  | "Too many joins"
  | "Left"
  | (string & {});

/** The state of a room after a join, if history is on. */
export interface JoinState {
  /** `"<epoch>:<offset>"` of the newest publication; `null` if the server could not read it. */
  position: string | null;
  /** `false`: publications are lost for good. A page that shows state should load it again. */
  recovered: boolean;
}

/** A publication as the server delivered it. */
export interface Publication<Message = any> {
  /** The room to which it was published; absent in `NoDevent.user` and `NoDevent.all`. */
  room: string;
  event: string;
  message?: Message;
  /** Only if history is on. */
  position?: string;
  [member: string]: unknown;
}

/** The result of `on`: call it to remove the listener, or use it for chaining. */
export type Undo<Target> = Target & (() => void);

export type Key = string | null | undefined;
/** Called when a key is needed, and again when the server reports that it has expired. */
export type KeySource = (room: Room) => Key | Promise<Key>;

/** A JSON Web Token; without one the connection has no user. */
export type Token = string | null | undefined;
/** Called when a token is needed. If it fails, it is called again after a growing delay. */
export type TokenSource = () => Token | Promise<Token>;

/** Room data from the application, for example the gem's `room_json`. */
export interface RoomData {
  room: string | number;
  key?: Key;
  /** The position of the content that the page shows. */
  position?: string | null;
  /** The application's endpoint for the next key. */
  key_url?: string;
}

/** The event methods of rooms and of the controller. */
interface Listenable {
  /** Removes a listener, or all of an event, or all. */
  off(event?: string, listener?: (...args: any[]) => void): this;
  removeListener(event?: string, listener?: (...args: any[]) => void): this;
  removeAllListeners(event?: string): this;
  listeners(event: string): Array<(...args: any[]) => void>;
  eachListener(event: string, fn: (listener: (...args: any[]) => void) => void): this;
  /** Calls the listeners in this page. Sends nothing. */
  emit(event: string, ...args: any[]): this;
  /** Does nothing; exists for old pages. There is no limit. */
  setMaxListeners(count: number): this;
}

interface RoomOn<Events extends EventMap> {
  /** Every attempt to join, including automatic ones. `err` is `null` if it succeeded. */
  (event: "join", listener: (this: Room<Events>, err: Refusal | null, state?: JoinState) => void): Undo<Room<Events>>;
  /** The room was left; `err` is the reason if the page did not ask to leave, such as `revoked` or, with `expiry: leave`, `expired`. */
  (event: "leave", listener: (this: Room<Events>, err?: string | null) => void): Undo<Room<Events>>;
  /** The key has expired: pass a new one to `room.setKey`. */
  (event: "key-expired", listener: (this: Room<Events>, room: Room<Events>) => void): Undo<Room<Events>>;
  /** The application's key endpoint refused a key; `reason` is one line. It is not retried. */
  (event: "key-refused", listener: (this: Room<Events>, reason: string) => void): Undo<Room<Events>>;
  /** Publications are lost for good. Fired once per gap, before any later publication. */
  (event: "gap", listener: (this: Room<Events>, position: string) => void): Undo<Room<Events>>;
  <Event extends Exclude<keyof Events & string, "join" | "leave" | "key-expired" | "key-refused" | "gap">>(
    event: Event,
    listener: (this: Room<Events>, message: Events[Event]) => void,
  ): Undo<Room<Events>>;
}

/** Who is in a room. */
export interface Presence {
  /** The number of members. */
  count: number;
  /** Whether there are so many that only their number is known. */
  large: boolean;
  /** Whether all of them are in `members`. */
  complete: boolean;
  members: PresenceMember[];
}

/** A user in a room. */
export interface PresenceMember<Info = any> {
  user: string;
  /** The `info` of the user's token. */
  info: Info | null;
  /** The user's connections. 0: the last one has just been lost, and the user may return. */
  connections: number;
}

/** The messages of the events of presence. */
export interface PresenceEvents<Info = any> {
  "nodevent:enter": { user: string; info: Info | null; count: number };
  "nodevent:leave": { user: string; info: Info | null; count: number };
  /** Of large rooms, and when a room becomes large or small. */
  "nodevent:count": { count: number; large: boolean };
}

export interface Room<Events extends EventMap = EventMap> extends Listenable {
  /** The name of the room. */
  readonly id: string;
  /** Whether this page is in the room. */
  readonly joined: boolean;
  /** The newest position received, if history is on. */
  readonly position: string | undefined;
  /**
   * Stores the key or a key function. If the page has joined the room, it joins again with the new key.
   * `source` renews the key in time: a key function, or the URL of the application's endpoint.
   */
  setKey(key: Key | KeySource, source?: KeySource | string): this;
  /** Sets the position of the page's content, so that the first join recovers what was published since. */
  since(position: string | null | undefined): this;
  /** The key of the last join, or of the next one. */
  getKey(): Key;
  /** Joins, and joins again after each reconnect. `done` is called with the next result. */
  join(done?: (err: Refusal | null, state?: JoinState) => void): this;
  /** Leaves. `done` is called when the room is left. */
  leave(done?: (err?: string | null) => void): this;
  /**
   * Who is in the room, which this page has joined. It rejects if the room has no presence, and if the server does not respond
   * within 10 s.
   */
  presence(): Promise<Presence>;
  on: RoomOn<Events>;
  once: RoomOn<Events>;
  addListener: RoomOn<Events>;
  /** Every publication, whatever its event name. Returns a function that removes the listener. */
  onAny(
    listener: <Event extends keyof Events & string>(
      event: Event,
      message: Events[Event],
      publication: Publication<Events[Event]>,
    ) => void,
  ): () => void;
}

interface FeedOn {
  /** Publications are lost for good. Fired once per gap, before any later publication. */
  (event: "gap", listener: (this: Feed, position: string) => void): Undo<Feed>;
  (event: string, listener: (this: Feed, message: any) => void): Undo<Feed>;
}

/** What is published to a user, or to all connections. */
export interface Feed extends Listenable {
  /** The newest position received, if history is on. */
  readonly position: string | undefined;
  /** Sets the position of the page's content, so that what was published since is recovered. */
  since(position: string | null | undefined): this;
  on: FeedOn;
  once: FeedOn;
  addListener: FeedOn;
  /** Every publication, whatever its event name. Returns a function that removes the listener. */
  onAny(listener: (event: string, message: any, publication: Omit<Publication, "room">) => void): () => void;
}

/** What is published to the user of the page's token. */
export interface UserFeed extends Feed {
  /** The user of the connection, as the server has confirmed it; `undefined` without one. */
  readonly id: string | undefined;
}

/** What the application publishes to this page alone (`nodevent.push` in the gem). */
export interface PageFeed extends Feed {
  /** The name of the page, as the server has confirmed it; `undefined` if the application has given it none. */
  readonly id: string | undefined;
}

interface ControllerOn {
  (event: "connect", listener: () => void): Undo<NoDeventController>;
  /** `details.description` has the code and the reason of the WebSocket's close frame, if there was one. */
  (event: "disconnect", listener: (reason: string, details?: DisconnectDetails) => void): Undo<NoDeventController>;
  (event: "close", listener: (reason: string) => void): Undo<NoDeventController>;
  (event: "connecting", listener: (transport: string) => void): Undo<NoDeventController>;
  (event: "connect_failed" | "error", listener: (err: Error) => void): Undo<NoDeventController>;
  (event: "reconnecting", listener: (delay: number, attempt: number) => void): Undo<NoDeventController>;
  (event: "reconnect", listener: (transport: string, attempts: number) => void): Undo<NoDeventController>;
  (event: "reconnect_failed", listener: () => void): Undo<NoDeventController>;
  /** `leaveAll` was called; the rooms are not left yet. */
  (event: "leave-all", listener: () => void): Undo<NoDeventController>;
  /** The connection has another user than before; `undefined`: none any more, because the token was revoked or has expired, or the source returned none. */
  (event: "user-changed", listener: (user: string | undefined) => void): Undo<NoDeventController>;
}

/** A message in a mailbox, besides its content. */
export interface MessageDetails {
  readonly id: string;
  /** When it was sent. Milliseconds since the Unix epoch. */
  readonly sent: number;
}

/**
 * Called with a message, and a function that removes it from the mailbox. Each message comes once per page, oldest first,
 * and on the next page again if it was not acknowledged.
 */
export type MessageListener = (message: any, ack: () => void, details: MessageDetails) => void;

/** A message in a mailbox, with the event and the content that the application sent. */
export interface MailboxMessage extends MessageDetails {
  readonly event: string;
  readonly message?: any;
}

/** The mailbox of the user that the page's token names. It is opened with the first listener. */
export interface Inbox {
  /** Messages in the mailbox that the page has not acknowledged. */
  readonly unread: number;
  /** Those of them that have arrived, oldest first: all, unless the mailbox has just been opened. */
  readonly messages: MailboxMessage[];
  /** Listens for messages with this event, also for those that are in the mailbox already. */
  on(event: string, listener: MessageListener): Undo<Inbox>;
  once(event: string, listener: MessageListener): Undo<Inbox>;
  off(event?: string, listener?: MessageListener): this;
  /** Calls the listener with the number of unread messages, now and whenever it or `messages` change. Returns a function that ends it. */
  onChange(listener: (unread: number) => void): () => void;
  /** Removes a message from the mailbox. */
  acknowledge(id: string): void;
  /** Removes all messages that have arrived. */
  acknowledgeAll(): void;
}

/** The application's response to a call. */
export interface CallResponse {
  readonly status: number;
  /** The headers, with names in lower case. Cookies are not among them. */
  readonly headers: { readonly [name: string]: string };
  readonly body: string;
}

/** Why a call has no response. */
export interface CallError extends Error {
  /**
   * 0: the connection was lost, there was no response in time, or `leaveAll` was called, and the application may have received
   * the request. 429: too many calls, also of those that wait for a connection.
   */
  readonly status: number;
}

/** The rooms of one namespace and the connection they share. */
export class NoDeventController implements Listenable {
  constructor(options?: { key?: KeySource; keyUrl?: string; token?: Token | TokenSource });
  /** Only on the controller that a script tag defined, and on its class. */
  static connect?: typeof connect;
  connect?: typeof connect;
  /** The current socket. */
  readonly socket: SocketLike | undefined;
  connected(): boolean;
  /** The mailbox of the page's user. */
  readonly inbox: Inbox;
  /** Returns the same object for the same name. Room data from the application sets key and position too. */
  room<Events extends EventMap = EventMap>(name: string | number | RoomData): Room<Events>;
  /**
   * Sends a request to the application over the connection, with the cookies that the connection was opened with. `body` is sent
   * as JSON, except with GET and DELETE. Resolves to the response, whatever its status; rejects with a `CallError` if there is none.
   */
  call(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<CallResponse>;
  /** The id of this page, the same on every connection. It is sent with each connect, as `auth.pageId`. */
  readonly pageId: string;
  /** Uses an existing socket: ours, the stock client's, or an object with `on`, `off` and `emit`. */
  setSocket(socket: SocketLike): this;
  /** What is published to the user of the page's token, on all pages of the user. */
  readonly user: UserFeed;
  /** What the application publishes to this page alone. */
  readonly page: PageFeed;
  /** What is published to all connections of the namespace. */
  readonly all: Feed;
  /** Presents a token of the same user now, and tokens of this source from now on. Without a user before, it signs in. */
  setToken(source: Token | TokenSource): this;
  /**
   * For a sign-out: ends the calls in progress, leaves all rooms, and forgets their keys and the pages that Turbo has cached.
   * Keys and tokens that were requested before are not used. Elements in the page do not join again before they change.
   */
  leaveAll(): this;
  /** Ends the connection for good and releases everything. */
  close(): this;
  /** Releases the socket, the rooms and all listeners. The socket itself stays as it is. */
  down(): this;
  on: ControllerOn;
  once: ControllerOn;
  addListener: ControllerOn;
  off(event?: string, listener?: (...args: any[]) => void): this;
  removeListener(event?: string, listener?: (...args: any[]) => void): this;
  removeAllListeners(event?: string): this;
  listeners(event: string): Array<(...args: any[]) => void>;
  eachListener(event: string, fn: (listener: (...args: any[]) => void) => void): this;
  emit(event: string, ...args: any[]): this;
  setMaxListeners(count: number): this;
}
export { NoDeventController as Client };

/** The minimum interface of a socket. */
export interface SocketLike {
  on(event: string, listener: (...args: any[]) => void): unknown;
  off(event: string, listener: (...args: any[]) => void): unknown;
  emit(event: string, ...args: any[]): unknown;
  connected?: boolean;
  [member: string]: any;
}

export type TransportName = "websocket" | "polling";
export type Auth = { [name: string]: any } | ((callback: (auth: { [name: string]: any }) => void) => void);

/** Options of the connection. */
export interface ConnectionOptions {
  /** The transports to try, in this order. Default: WebSocket, then long-polling. */
  transports?: TransportName[];
  /** Whether long-polling can be upgraded to a WebSocket. Default: true. */
  upgrade?: boolean;
  /** Added to the URL of every request. */
  query?: { [name: string]: unknown };
  /** Milliseconds until an attempt counts as failed. Default: 20000. */
  timeout?: number;
  /** Whether to reconnect. Default: true. */
  reconnection?: boolean;
  /** Give up after this number of failed attempts. Default: never. */
  reconnectionAttempts?: number;
  /** Maximum delay of the first attempt in milliseconds; it doubles with each attempt. Default: 1000. */
  reconnectionDelay?: number;
  /** Maximum delay of any attempt in milliseconds. Default: 5000. */
  reconnectionDelayMax?: number;
  /** 1: a random delay between zero and the maximum; 0: always the maximum. Default: 1. */
  randomizationFactor?: number;
  /** Send cookies with long-polling to another origin. */
  withCredentials?: boolean;
  /** The WebSocket class if the environment has none, for example that of the package `ws` in Node 20. */
  WebSocket?: new (url: string, protocols?: string | string[]) => unknown;
}

export interface ConnectOptions extends ConnectionOptions {
  /** The server; its path is where the server is mounted. Default: the page's own server. */
  url?: string;
  /** Default: `/nodevent`. */
  namespace?: string;
  /** The key function for rooms without a key of their own. */
  key?: KeySource;
  /** The application's endpoint for keys, for rooms without a source of their own: see `RoomData.key_url`. */
  keyUrl?: string;
  /** Says who the visitor is: a token, or a function that returns one. Called for each connect, and before a token expires. */
  token?: Token | TokenSource;
  /** Sent with each connect of the namespace. */
  auth?: Auth;
  /** The path of Socket.IO. Default: `/socket.io/` below the path of `url`. */
  path?: string;
}

/** Returns a controller that is connecting to the server. Namespaces of one server share a connection. */
export function connect(options?: ConnectOptions): NoDeventController;
export const NoDevent: { connect: typeof connect };
export default NoDevent;

// === io(): compatible with the stock Socket.IO client ===

type Handler = (...args: any[]) => void;
type Handlers<Map> = { [Event in keyof Map]: Handler } | EventMap;
type Args<Map, Event extends keyof Map> = Map[Event] extends (...args: infer A) => any ? A : any[];
type Name<Map> = keyof Map & string;

export interface SocketOptions extends ConnectionOptions {
  /** Headers of long-polling requests; the server must allow them if it has another origin. */
  extraHeaders?: { [name: string]: string };
  /** Subprotocols of the WebSocket; the server must accept one of them. */
  protocols?: string | string[];
  auth?: Auth;
  path?: string;
  addTrailingSlash?: boolean;
  autoConnect?: boolean;
  /** Do not share a connection. */
  forceNew?: boolean;
  multiplex?: boolean;
  /** Default of `socket.timeout()`. */
  ackTimeout?: number;
}

export interface DisconnectDetails {
  description?: unknown;
  context?: unknown;
}

export class Socket<Listen extends Handlers<Listen> = EventMap, Emit extends Handlers<Emit> = Listen> {
  readonly id: string | undefined;
  readonly nsp: string;
  readonly io: Manager;
  auth: Auth | undefined;
  readonly connected: boolean;
  readonly disconnected: boolean;
  /** Whether the socket is connected or will reconnect by itself. */
  readonly active: boolean;
  readonly recovered: boolean;
  connect(): this;
  open(): this;
  disconnect(): this;
  close(): this;
  on(event: "connect", listener: () => void): this;
  on(event: "disconnect", listener: (reason: string, details?: DisconnectDetails) => void): this;
  on(event: "connect_error", listener: (err: Error & { data?: any }) => void): this;
  on<Event extends Name<Listen>>(event: Event, listener: (...args: Args<Listen, Event>) => void): this;
  once(event: "connect", listener: () => void): this;
  once(event: "disconnect", listener: (reason: string, details?: DisconnectDetails) => void): this;
  once(event: "connect_error", listener: (err: Error & { data?: any }) => void): this;
  once<Event extends Name<Listen>>(event: Event, listener: (...args: Args<Listen, Event>) => void): this;
  off(event?: string, listener?: Handler): this;
  removeListener(event?: string, listener?: Handler): this;
  removeAllListeners(event?: string): this;
  listeners(event: string): Handler[];
  hasListeners(event: string): boolean;
  /** The last argument can be a function: the acknowledgement. */
  emit<Event extends Name<Emit>>(event: Event, ...args: Args<Emit, Event>): this;
  emitWithAck(event: Name<Emit>, ...args: any[]): Promise<any>;
  send(...args: any[]): this;
  timeout(milliseconds: number): this;
  readonly volatile: this;
  compress(compress: boolean): this;
  onAny(listener: (event: string, ...args: any[]) => void): this;
  prependAny(listener: (event: string, ...args: any[]) => void): this;
  offAny(listener?: Handler): this;
  listenersAny(): Handler[];
  onAnyOutgoing(listener: (event: string, ...args: any[]) => void): this;
  prependAnyOutgoing(listener: (event: string, ...args: any[]) => void): this;
  offAnyOutgoing(listener?: Handler): this;
  listenersAnyOutgoing(): Handler[];
}

export class Manager {
  constructor(uri?: string | SocketOptions, options?: SocketOptions);
  readonly opts: SocketOptions & { url: string };
  /** The current session. */
  readonly engine:
    | { readonly id?: string; readonly readyState: string; readonly transport?: { readonly name: string }; close(): void }
    | undefined;
  open(done?: (err?: Error) => void): this;
  socket(nsp: string, options?: SocketOptions): Socket;
  on(event: string, listener: Handler): this;
  once(event: string, listener: Handler): this;
  off(event?: string, listener?: Handler): this;
  reconnection(): boolean;
  reconnection(value: boolean): this;
  reconnectionAttempts(): number;
  reconnectionAttempts(value: number): this;
  reconnectionDelay(): number;
  reconnectionDelay(value: number): this;
  reconnectionDelayMax(): number;
  reconnectionDelayMax(value: number): this;
  randomizationFactor(): number;
  randomizationFactor(value: number): this;
  timeout(): number;
  timeout(value: number): this;
}

export function io(options?: SocketOptions): Socket;
export function io(address: string, options?: SocketOptions): Socket;
/** The revision of the Socket.IO protocol. */
export const protocol: 5;
