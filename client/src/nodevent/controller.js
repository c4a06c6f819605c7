// Owns: the rooms and feeds of one namespace, the socket they share, and the old client's names for connection
// events. Works with our socket, the stock one, and any object with the same methods.

import { Calls } from "./calls.js";
import { connectionId, isSameSession, onVisit } from "./connection-id.js";
import { Inbox } from "./inbox.js";
import { JoinQueue } from "./join-queue.js";
import { Feed } from "./feed.js";
import { endpointOf, keyFrom } from "./keys.js";
import { Listenable } from "./listenable.js";
import { warn } from "./log.js";
import { isOriginRefused } from "./origin.js";
import { pageId } from "./page-id.js";
import { PositionTracker } from "./position-tracker.js";
import { Room } from "./room.js";
import { Tokens } from "./tokens.js";

/** Delay between attempts of a page whose origin the server refuses. Milliseconds. */
const REFUSED_ORIGIN_DELAY = 60_000;

/** Number of these attempts. After them, the page has to be loaded again. */
const REFUSED_ORIGIN_ATTEMPTS = 5;

/** The key endpoint that the gem mounts, if the page does not name another one. */
const DEFAULT_KEY_URL = "/nodevent/key";

/** Reasons with such a code that are no limit: the user of the connection has no valid token any more. */
const USER_ENDED = /^revoked$|^token/;

/** Close codes of limits and malformed packets; the server closes with others when it stops. */
const isLimit = (/** @type {any} */ code) => code === 1008 || code === 1009 || code === 1013;

/**
 * Events: `connect`, `disconnect(reason, details)`, `connecting(transport)`, `connect_failed(err)`, `close(reason)`,
 * `error(err)`, `reconnecting(delay, attempt)`, `reconnect(transport, attempts)`, `reconnect_failed`, `user-changed(user)`, `leave-all`.
 */
export class NoDeventController extends Listenable {
  /** @param {{key?: (room: Room) => any, keyUrl?: string, token?: any}} [options] where keys come from: a function, or the URL of the application's endpoint; a token, or a function that returns one */
  constructor({ key, keyUrl, token } = {}) {
    super();
    this._calls = new Calls(this);
    this._tokens = new Tokens(this, token);
    this._source = key || (keyUrl && keyFrom(keyUrl));
    this._keyUrl = keyUrl || DEFAULT_KEY_URL;
    this._hasWarned = false; // of a key URL that is not used
    /** The id of this page, the same on every connection. */
    this.pageId = pageId;
    /** The mailbox of the page's user. */
    this.inbox = new Inbox(this);
    this._joins = this._newJoins();
    /** @type {string | undefined} the line to log if the page uses a room and there is no socket */
    this._hint = undefined;
    /** @type {Map<string, Room>} */
    this._rooms = new Map();
    /** @type {any} */
    this.socket = undefined;
    this._isConnected = false;
    /** @type {any[]} ids of events that were published to several targets, newest first; a new connection may repeat them */
    this._copied = [];
    /** What is published to the user of the page's token. `id` is the user of the connection, as the server has confirmed it. */
    this.user = Object.assign(new Feed(this), { id: /** @type {string | undefined} */ (undefined) });
    /** @type {string | undefined} the last user of the page, to whom the position of `user` belongs */
    this._userId = undefined;
    /** What the application publishes to this page alone. `id` is its name, as the server has confirmed it. */
    this.page = Object.assign(new Feed(this), { id: /** @type {string | undefined} */ (undefined) });
    /** @type {string | undefined} the id that the server has received last */
    this._sentId = undefined;
    /** @type {Feed | undefined} */
    this._all = undefined;
    /** @type {(() => void)[]} functions that detach from the socket */
    this._detachers = [];
  }

  _newJoins() {
    return new JoinQueue((/** @type {any[]} */ ...args) => this.socket.emit(...args));
  }

  connected() {
    return this._isConnected;
  }

  /**
   * The room of that name; always the same object. Room data from the application sets its key and position. It may
   * come from markup: its key URL is used only if it names the key endpoint of the page.
   * @param {string | number | {room: string, key?: any, position?: any, key_url?: string}} name
   * @returns {Room}
   */
  room(name) {
    if (typeof name === "object" && name) {
      const room = this.room(name.room).since(name.position);
      const { key } = name;
      let url = name.key_url;
      try {
        if (url && endpointOf(url) !== endpointOf(this._keyUrl)) throw 0;
      } catch {
        if (!this._hasWarned) warn(`key URL ${url} ignored: set data-nodevent-key-url on the script tag.`);
        this._hasWarned = true;
        url = "";
      }
      return key === undefined && !url ? room : room.setKey(key, url);
    }
    if (this._hint && !this.socket) {
      warn(this._hint);
      this._hint = undefined;
    }
    if (typeof name !== "number" && (typeof name !== "string" || !name))
      throw TypeError("NoDevent.room(name): the name must be text or a number");
    const id = String(name);
    let room = this._rooms.get(id);
    if (!room) this._rooms.set(id, (room = new Room(id, this)));
    return room;
  }

  /** What is published to all connections. */
  get all() {
    if (!this._all) {
      this._all = new Feed(this);
      this._recoverAll();
    }
    return this._all;
  }

  /** What the connect packet says about the document: its id, and what it has received. A new document has all that was there when it was rendered. */
  _named() {
    const id = connectionId();
    const isShown = id === this._sentId;
    this._onId(id);
    return id && { socket_connection_id: id, page_since: isShown ? { ...this._positions(), "": this.page.position } : {} };
  }

  /** The server receives the id of the document. What waits is of the session before. @param {string} [id] */
  _onId(id) {
    const sent = this._sentId;
    this._sentId = id;
    if (id && sent && !isSameSession(id, sent)) this._calls._cancel("Left");
  }

  /** The position of each room. */
  _positions() {
    return Object.fromEntries([...this._rooms.values()].map((room) => [room.id, room.position]));
  }

  /** The document may have another id than the server knows. If its session is another one, only a new connection has the cookie of it. */
  _onVisit() {
    const [id, sent] = [connectionId(), this._sentId];
    if (!id || id === sent || !this._isConnected) return;
    if (sent && !isSameSession(id, sent)) this.socket.io?.engine?.close("transport close");
    else this.socket.emit("page", this._named());
  }

  /** The position for the connect packet. The connection receives what is live at once, so what was missed must come before. */
  _sinceAll() {
    return (this._sentAll = this._all?.position);
  }

  /** Asks for what was published to all connections while there was none, or for the position to start from. */
  _recoverAll() {
    const feed = this._all;
    if (!feed || !this._canSend()) return;
    const since = feed.position;
    this._joins._add({
      _request: { broadcast: true, since },
      _onSent: () => {},
      _ack: (_err, _ok, state) => feed._onRecovered(state, since),
    });
  }

  /**
   * Sends a request to the application over the connection, with the cookies that the connection was opened with. Resolves to its
   * response, whatever the status. Rejects with an error that has a `status` if there is none: 0 if the connection was lost, and then
   * the application may have received the request.
   * @param {string} method @param {string} path @param {any} [body]
   * @returns {Promise<{status: number, headers: {[name: string]: string}, body: string}>}
   */
  call(method, path, body) {
    return this._calls._request("call", { method, path, body });
  }

  /** The feed that a message of the server names. @param {any} target */
  _feedOf({ room, user, broadcast }) {
    if (room !== undefined) return this._rooms.get(String(room));
    if (user === undefined) return broadcast && this._all;
    return user === this.page.id ? this.page : this.user;
  }

  /** The connection has this user, or none any more. @param {string} [id] */
  _setUser(id) {
    const { user } = this;
    if (id === user.id) return;
    // The page has received nothing of another user than before.
    if (id && this._userId && id !== this._userId) user._tracker = new PositionTracker();
    this._userId = id || this._userId;
    user.id = id;
    this.inbox._onUser(id);
    this._fire("user-changed", id);
  }

  /** Presents a token now, and tokens of the same source from now on. @param {any} source a token, or a function that returns one or a promise of one */
  setToken(source) {
    this._tokens._source = source;
    if (this._canSend()) this._tokens._renew();
    return this;
  }

  /** A socket-like object without `connected` counts as connected. */
  _canSend() {
    return !!this.socket && (this._isConnected || this.socket.connected === undefined);
  }

  /** @param {any} source @param {string} event @param {Function} fn */
  _listen(source, event, fn) {
    source.on(event, fn);
    this._detachers.push(() => source.off(event, fn));
  }

  /** @param {any} socket */
  setSocket(socket) {
    this._detach();
    this.socket = socket;
    this._listen(socket, "connect", () => this._onConnect());
    this._listen(socket, "disconnect", (/** @type {any} */ reason, /** @type {any} */ details) => this._onDisconnect(reason, details));
    this._listen(socket, "event", (/** @type {any} */ publication) => {
      if (publication) this._feedOf(publication)?._deliver(publication);
    });
    this._listen(socket, "lost", (/** @type {any} */ gap) => {
      if (gap) this._feedOf(gap)?._onGap(gap.position);
    });
    // A publication that this page does not receive: it is excluded, or has received a copy.
    this._listen(socket, "skipped", (/** @type {any} */ skipped) => {
      if (skipped) this._feedOf(skipped)?._advance(skipped.position);
    });
    this._listen(socket, "identified", (/** @type {any} */ identity) => this._setUser(identity?.user));
    this._listen(socket, "joined", (/** @type {any} */ joined) => {
      if (joined?.page) this.page._onRecovered(joined, this.page.position);
      else if (joined?.user !== undefined) {
        this._setUser(joined.user);
        this.user._onRecovered(joined, this.user.position);
      } else if (joined?.broadcast && joined.error) this._recoverAll();
      else if (joined?.broadcast) this._all?._onRecovered(joined, this._all.position);
      else if (joined) this.room(joined.room)._onJoinedByToken(joined);
    });
    this._listen(socket, "page", (/** @type {any} */ page) => {
      const { id } = page || {};
      if (!id) warn("the server does not know this page's session: its cookie needs the host of the page. See pages in the server's configuration.");
      // What was published to another page has other positions.
      if (id !== this.page.id) this.page._tracker = new PositionTracker();
      this.page.id = id || undefined;
    });
    this._listen(socket, "left", (/** @type {any} */ left) => this._rooms.get(String(left?.room))?._onUnsubscribed());
    this._detachers.push(onVisit(() => this._onVisit()));
    // Without a room they are about the token: the server closes the connection, or expects another one.
    for (const reason of ["revoked", "expired"]) {
      this._listen(socket, reason, (/** @type {any} */ ended) => this._rooms.get(String(ended?.room))?._onEnded(reason));
    }
    this._tokens._attach(socket, (event, fn) => this._listen(socket, event, fn));
    this.inbox._attach(socket, (event, fn) => this._listen(socket, event, fn));
    if (socket.io) this._bridge(socket, socket.io);
    if (socket.connected === true) this._onConnect();
    return this;
  }

  /** Translates the manager's events: since Socket.IO 3 they have other names. @param {any} socket @param {any} manager */
  _bridge(socket, manager) {
    const ours = typeof manager.retryAfter === "function";
    let failures = 0;
    let refusals = 0;
    const transport = () => manager.engine?.transport?.name;
    this._listen(socket, "connect", () => (failures = refusals = 0));
    this._listen(socket, "connect_error", (/** @type {any} */ err) => {
      this._fire("error", err);
      // Fired for the first failure of a series and for a final one. `reconnecting` reports the others.
      if (!socket.active || !failures) this._fire("connect_failed", err);
      if (!socket.active) warn(`namespace ${JSON.stringify(socket.nsp)} refused: ${err.message}. Check the script's URL and the server's configuration.`);
      else if (!failures && err.description > 0) warn(`the server refuses connections: status ${err.description} ${JSON.stringify(String(err.context).slice(0, 99))}. See limits in the server's configuration.`);
      else if (ours && refusals) onRefused();
      // The server may have been down at first.
      else if (ours && failures % 8 === 0) checkOrigin();
      failures++;
    });
    const checkOrigin = async () => {
      if (!(await isOriginRefused(manager.opts.url)) || this.socket !== socket || this._isConnected) return;
      warn(`the server refuses this page's origin. Add "${globalThis.location.origin}" to origins in the server's configuration, and reload.`);
      onRefused();
    };
    const onRefused = () => {
      if (refusals++ < REFUSED_ORIGIN_ATTEMPTS) manager.retryAfter(REFUSED_ORIGIN_DELAY);
      else {
        socket.disconnect();
        this._fire("reconnect_failed");
      }
    };
    this._listen(manager, "close", (/** @type {any} */ reason) => this._fire("close", reason));
    this._listen(manager, "reconnect", (/** @type {any} */ attempts) => this._fire("reconnect", transport(), attempts));
    this._listen(manager, "reconnect_failed", () => this._fire("reconnect_failed"));
    if (ours) {
      this._listen(manager, "reconnecting", (/** @type {any[]} */ ...args) => this._fire("reconnecting", ...args));
      this._listen(manager, "trying", (/** @type {any} */ name) => this._fire("connecting", name));
      this._listen(socket, "drain", (/** @type {any} */ message) => manager.retryAfter(message?.wait));
    } else {
      this._listen(manager, "reconnect_attempt", (/** @type {any} */ attempt) => {
        this._fire("reconnecting", manager.reconnectionDelay(), attempt);
        this._fire("connecting", manager.opts.transports?.[0] || "polling");
      });
    }
  }

  _onConnect() {
    this._isConnected = true;
    const rooms = [...this._rooms.values()];
    for (const room of rooms) room._joinSent = false;
    this._joins = this._newJoins();
    this.inbox._onConnect();
    this._fire("connect");
    this._joins._hold();
    // The page's `connect` listener may have joined some of the rooms already.
    for (const room of rooms) if (!room._joinSent) room._join();
    if (!this._sentAll) this._recoverAll();
    this._joins._flush();
    this._calls._flush();
    // The connect packet may have left before the document was there.
    this._onVisit();
  }

  /** @param {any} reason @param {any} details */
  _onDisconnect(reason, details) {
    this._isConnected = false;
    this._joins._stop();
    const { code, reason: text } = details?.description || {};
    if (isLimit(code) && !USER_ENDED.test(text)) warn(`the server closed the connection: ${text || code}. See limits in the server's configuration.`);
    const requested = reason === "io client disconnect";
    for (const room of this._rooms.values()) room._onDisconnect(requested ? undefined : reason);
    this._fire("disconnect", reason, details);
    // The stock client stays disconnected if the server disconnects it. Ours reconnects after a pause.
    if (reason === "io server disconnect") {
      const timer = setTimeout(() => this.socket.connect(), 1000 + 4000 * Math.random());
      this._detachers.push(() => clearTimeout(timer));
    }
  }

  _detach() {
    for (const detach of this._detachers.splice(0)) detach();
    this._isConnected = false;
    this._joins._stop();
  }

  /** For a sign-out: ends what is in progress, leaves all rooms, forgets their keys, and what Turbo has cached. */
  leaveAll() {
    // First, because the parts of the page that show rooms do not take part in what follows.
    this._fire("leave-all");
    this._calls._cancel("Left");
    this._tokens._forget();
    for (const room of this._rooms.values()) room._forget();
    const { cache } = /** @type {any} */ (globalThis).Turbo || {};
    // Turbo would cache the page that is shown as soon as it visits the next one.
    cache?.exemptPageFromCache();
    cache?.clear();
    return this;
  }

  /** Ends the connection for good: leaves all rooms and does not reconnect. */
  close() {
    this.socket?.disconnect();
    return this.down();
  }

  /** Releases the socket, the rooms and all listeners. The socket itself stays as it is. */
  down() {
    this._detach();
    this._calls._cancel("No response");
    this._tokens._stop();
    this.socket = undefined;
    for (const room of this._rooms.values()) room._destroy();
    this._rooms.clear();
    this.inbox._destroy();
    this.user._destroy();
    this.page._destroy();
    this._all?._destroy();
    return this.off();
  }
}
