// What a program may rely on: the types of the package `nodevent`, written by hand.
// The build puts this file into dist/ twice, for `import` and for `require`.

/** What a room hears: the message of each event by its name. */
export type EventMap = { [event: string]: any };

/**
 * Why a join was refused: the server's own words, `Left` where the page left meanwhile, or else what the key
 * callback threw, as text.
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

/** Where a room stands after a join, where history is on. */
export interface JoinState {
  /** `"<epoch>:<offset>"` of the newest emission; `null` where the server could not ask for it. */
  position: string | null;
  /** `false`: something was missed for good; a page that shows state should load it anew. */
  recovered: boolean;
}

/** An emission as it was published. */
export interface Emission<Message = any> {
  room: string;
  event: string;
  message?: Message;
  /** Only where history is on. */
  position?: string;
  [member: string]: unknown;
}

/** What `on` answers: call it to take the listener away, or chain from it. */
export type Undo<Target> = Target & (() => void);

export type Key = string | null | undefined;
/** Asked when a key is needed, and again when the server says that it has expired. */
export type KeySource = (room: Room) => Key | Promise<Key>;

/** The event methods of rooms and of the controller. */
interface Listenable {
  /** Takes a listener away, or all of an event, or all. */
  off(event?: string, listener?: (...args: any[]) => void): this;
  removeListener(event?: string, listener?: (...args: any[]) => void): this;
  removeAllListeners(event?: string): this;
  listeners(event: string): Array<(...args: any[]) => void>;
  eachListener(event: string, fn: (listener: (...args: any[]) => void) => void): this;
  /** Tells the listeners in this page; nothing is sent. */
  emit(event: string, ...args: any[]): this;
  /** There is no limit; taken for the sake of old pages. */
  setMaxListeners(count: number): this;
}

interface RoomOn<Events extends EventMap> {
  /** Every attempt to join, automatic ones too; `err` is `null` where it succeeded. */
  (event: "join", listener: (this: Room<Events>, err: Refusal | null, state?: JoinState) => void): Undo<Room<Events>>;
  /** The room was left; `err` says why where the page did not ask for it. */
  (event: "leave", listener: (this: Room<Events>, err?: string | null) => void): Undo<Room<Events>>;
  /** The key is too old: give a new one with `room.setKey`. */
  (event: "key-expired", listener: (this: Room<Events>, room: Room<Events>) => void): Undo<Room<Events>>;
  /** Emissions were missed for good. Told once per gap, before anything that follows it. */
  (event: "gap", listener: (this: Room<Events>, position: string) => void): Undo<Room<Events>>;
  <Event extends Exclude<keyof Events & string, "join" | "leave" | "key-expired" | "gap">>(
    event: Event,
    listener: (this: Room<Events>, message: Events[Event]) => void,
  ): Undo<Room<Events>>;
}

export interface Room<Events extends EventMap = EventMap> extends Listenable {
  /** Its name. */
  readonly id: string;
  /** Whether the server has us in. */
  readonly joined: boolean;
  /** The last position heard, where history is on. */
  readonly position: string | undefined;
  /** Stores the key, or where it comes from; a room that is wanted joins with it at once. */
  setKey(key: Key | KeySource): this;
  /** The key of the last join, or the one to come. */
  getKey(): Key;
  /** Wants to be in, from now on and over lost connections. `done` is called once, with the next result. */
  join(done?: (err: Refusal | null, state?: JoinState) => void): this;
  /** Wants to be out. `done` is called once. */
  leave(done?: (err?: string | null) => void): this;
  on: RoomOn<Events>;
  once: RoomOn<Events>;
  addListener: RoomOn<Events>;
  /** Every emission, whatever its event is called. Answers what takes the listener away. */
  onAny(
    listener: <Event extends keyof Events & string>(
      event: Event,
      message: Events[Event],
      emission: Emission<Events[Event]>,
    ) => void,
  ): () => void;
}

interface ControllerOn {
  (event: "connect", listener: () => void): Undo<NoDeventController>;
  /** `details.description` has the code and the reason of a WebSocket's close, where there was one. */
  (event: "disconnect", listener: (reason: string, details?: DisconnectDetails) => void): Undo<NoDeventController>;
  (event: "close", listener: (reason: string) => void): Undo<NoDeventController>;
  (event: "connecting", listener: (transport: string) => void): Undo<NoDeventController>;
  (event: "connect_failed" | "error", listener: (err: Error) => void): Undo<NoDeventController>;
  (event: "reconnecting", listener: (delay: number, attempt: number) => void): Undo<NoDeventController>;
  (event: "reconnect", listener: (transport: string, attempts: number) => void): Undo<NoDeventController>;
  (event: "reconnect_failed", listener: () => void): Undo<NoDeventController>;
}

/** The rooms of one namespace, and the connection they share. */
export class NoDeventController implements Listenable {
  constructor(options?: { key?: KeySource });
  /** Only on the controller that a script tag defined, and on its class. */
  static connect?: typeof connect;
  connect?: typeof connect;
  /** The socket in use. */
  readonly socket: SocketLike | undefined;
  connected(): boolean;
  /** The same object for the same name. */
  room<Events extends EventMap = EventMap>(name: string | number): Room<Events>;
  /** Uses a socket that was made elsewhere: ours, the stock one, or what has its `on` and `emit`. */
  setSocket(socket: SocketLike): this;
  /** Ends the connection for good and forgets everything. */
  close(): this;
  /** Forgets the socket, the rooms and every listener; the socket itself stays as it is. */
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

/** The least a socket must be. */
export interface SocketLike {
  on(event: string, listener: (...args: any[]) => void): unknown;
  off(event: string, listener: (...args: any[]) => void): unknown;
  emit(event: string, ...args: any[]): unknown;
  connected?: boolean;
  [member: string]: any;
}

export type TransportName = "websocket" | "polling";
export type Auth = { [name: string]: any } | ((say: (auth: { [name: string]: any }) => void) => void);

/** How a connection is made and kept. */
export interface LinkOptions {
  /** Which to use, the first one first. Default: WebSocket, then long-polling. */
  transports?: TransportName[];
  /** Whether long-polling may become a WebSocket later. Default: true. */
  upgrade?: boolean;
  /** Added to the address of every request. */
  query?: { [name: string]: unknown };
  /** Milliseconds until an attempt counts as failed. Default: 20000. */
  timeout?: number;
  /** Whether to come back at all. Default: true. */
  reconnection?: boolean;
  /** After so many attempts in vain it is over. Default: never. */
  reconnectionAttempts?: number;
  /** The longest first wait in milliseconds; it doubles with each attempt. Default: 1000. */
  reconnectionDelay?: number;
  /** The longest wait there is, in milliseconds. Default: 5000. */
  reconnectionDelayMax?: number;
  /** 1: anywhere between nothing and the longest wait; 0: exactly the longest wait. Default: 1. */
  randomizationFactor?: number;
  /** Long-polling with cookies to another origin. */
  withCredentials?: boolean;
  /** Headers of long-polling requests. */
  extraHeaders?: { [name: string]: string };
  /** Subprotocols of the WebSocket. */
  protocols?: string | string[];
  /** The WebSocket to use where there is none in the environment, as in Node 20: that of the package `ws`. */
  WebSocket?: new (url: string, protocols?: string | string[]) => unknown;
}

export interface ConnectOptions extends LinkOptions {
  /** The server; a path in it is where the server is mounted. Default: the page's own. */
  url?: string;
  /** Default: `/nodevent`. */
  namespace?: string;
  /** Where keys come from, for rooms without one of their own. */
  key?: KeySource;
  /** Sent with each connect of the namespace. */
  auth?: Auth;
  /** Where Socket.IO is. Default: `/socket.io/` below the path of `url`. */
  path?: string;
}

/** A controller that is on its way to the server. Namespaces of one server share a connection. */
export function connect(options?: ConnectOptions): NoDeventController;
export const NoDevent: { connect: typeof connect };
export default NoDevent;

// === io(): compatible with the stock Socket.IO client ===

type Handler = (...args: any[]) => void;
type Handlers<Map> = { [Event in keyof Map]: Handler } | EventMap;
type Args<Map, Event extends keyof Map> = Map[Event] extends (...args: infer A) => any ? A : any[];
type Name<Map> = keyof Map & string;

export interface SocketOptions extends LinkOptions {
  auth?: Auth;
  path?: string;
  addTrailingSlash?: boolean;
  autoConnect?: boolean;
  /** A connection of its own. */
  forceNew?: boolean;
  multiplex?: boolean;
  /** The default of `socket.timeout()`. */
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
  /** Whether it is connected or will come back by itself. */
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
  /** The last argument may be a function: the acknowledgement. */
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
  /** The session in use. */
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
