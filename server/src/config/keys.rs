//! The registry of configuration keys: name, type, default and meaning of every key that the server reads.
//!
//! Owns the only list of keys. [`super::reader::MapReader`] looks up types, ranges and suggestions here, and
//! [`super::reference`] prints `docs/configuration.md` from it, so the reference cannot differ from the server. In
//! builds with debug assertions the reader also checks that every key listed here is read. This file does not know the
//! values of a configuration.
//!
//! To add a key: list it here, read it in the file of its section, and run the test of the reference with
//! `NODEVENT_WRITE_REFERENCE=1`.

/// The type of a key's value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// One text.
    Text,
    /// One text that must not be printed.
    Secret,
    /// A path, relative to the folder of the configuration file.
    File,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number between both, inclusive.
    Number(u64, u64),
    /// A duration with its unit.
    Duration,
    /// A number of bytes, with or without a unit.
    Size,
    /// True or false.
    Flag,
    /// One text or a list of texts.
    Texts,
    /// Keys of its own; the text names the section, and what else may be written.
    Map(&'static str),
    /// Read by the gem; the server only knows the name.
    Gem,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// The name to write.
    pub name: &'static str,
    /// Names that older files use.
    pub old_names: &'static [&'static str],
    /// The type of its value.
    pub kind: Kind,
    /// The default in words, or as it would be written.
    pub default: DefaultValue,
    /// Its meaning, in one sentence.
    pub meaning: &'static str,
    /// When to change it.
    pub change: &'static str,
    /// The value in the example.
    pub example: &'static str,
}

/// The default of a key.
#[derive(Debug, Clone, Copy)]
pub enum DefaultValue {
    /// This value, as it would be written.
    Value(&'static str),
    /// A description, because there is no fixed value.
    Words(&'static str),
}

/// The keys of one map.
#[derive(Debug)]
pub struct Section {
    /// The heading in the reference, e.g. `limits`.
    pub title: &'static str,
    /// The purpose of the section.
    pub about: &'static str,
    /// Lines before and after the keys in the example, and the indent of the keys.
    pub frame: Frame,
    /// The keys, in the order of the reference.
    pub keys: &'static [Key],
}

/// The lines above the keys in the example of a section, and the indentation of the keys.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Lines above the keys.
    pub above: &'static str,
    /// Spaces before each key.
    pub indent: usize,
}

// === impl Section ===

impl Section {
    /// Returns the key with this name or old name.
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name || key.old_names.contains(&name))
    }
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: DefaultValue,
    meaning: &'static str,
    change: &'static str,
    example: &'static str,
) -> Key {
    Key { name, old_names: &[], kind, default, meaning, change, example }
}

impl Key {
    const fn or(self, old_names: &'static [&'static str]) -> Self {
        Self { old_names, ..self }
    }
}

use DefaultValue::{Value, Words};
use Kind::{Duration, File, Flag, Gem, Map, Number, Secret, Size, Text, Texts, Word};

const TOP_FRAME: Frame = Frame { above: "", indent: 0 };

/// Keys at the top of the file.
pub static TOP: Section = Section {
    title: "Server",
    about: "Keys at the top of the file, or of the section of an environment.",
    frame: TOP_FRAME,
    keys: &[
        key(
            "port",
            Number(0, 65_535),
            Value("8080"),
            "TCP port of the first listener. `0` picks a free port.",
            "Another program uses 8080, or the server terminates TLS itself (443).",
            "8080",
        ),
        key(
            "bind",
            Text,
            Value("\"::\""),
            "Address that the listeners bind. `::` includes IPv4, and is `0.0.0.0` where there is no IPv6.",
            "Only a proxy on the same machine connects (`127.0.0.1`), or no client uses IPv6 (`0.0.0.0`).",
            "127.0.0.1",
        ),
        key(
            "public_url",
            Text,
            Words("none"),
            "Address under which browsers reach the server. The gem puts it into pages; `nodevent check` tries it.",
            "Always in production.",
            "https://live.example.com",
        ),
        key(
            "host",
            Text,
            Words("none"),
            "Name that older files use: with a scheme for `public_url`, without one for `bind`.",
            "Prefer `bind` and `public_url` in new files.",
            "",
        ),
        key(
            "ssl",
            Map("`cert` and `key`"),
            Words("no TLS"),
            "Certificate of the first listener.",
            "The server terminates TLS itself, without a proxy.",
            "",
        )
        .or(&["tls"]),
        key(
            "listen",
            Map("a list, see [`listen`](#listen)"),
            Words("none"),
            "More listeners for the same namespaces.",
            "The server must be reachable on several ports or addresses.",
            "",
        ),
        key(
            "admin",
            Map("`bind` and `port`, or `off`"),
            Value("off"),
            "Listener for `/metrics`, `/healthz` and `/readyz` only.",
            "Prometheus scrapes the server.",
            "",
        ),
        key(
            "origins",
            Texts,
            Words("none"),
            "Origins of pages that may connect, in addition to the server's own host on any port.",
            "The application and the server have different hosts, or an app shell connects.",
            "[\"https://www.example.com\", \"https://*.example.org\"]",
        ),
        key(
            "hosts",
            Texts,
            Words(
                "every host if no namespace admits clients without a key or has `calls`, otherwise the host of \
                 `public_url`",
            ),
            "Hosts that requests of clients may name. `.example.com` includes subdomains. Names of this machine and IP addresses \
             are always allowed. Others get 421, because a page could use them for DNS rebinding.",
            "A namespace is open or has `calls`, and clients reach the server under a name that is not in `public_url`.",
            "[live.example.com, .example.org]",
        ),
        key(
            "publish",
            Word(&["local", "key"]),
            Words(
                "`local` without a file, in a section `development` or `test`, and if `NODEVENT_ENV`, `RAILS_ENV` or \
                 `RACK_ENV` names one of them; otherwise `key`",
            ),
            "Who may publish over HTTP to namespaces without a `publish_key`: programs on this machine (`local`), or nothing \
             (`key`).",
            "An application on the same machine publishes without a key. Do not use it on a port to which a proxy forwards: its \
             requests look local.",
            "key",
        ),
        key(
            "publish_socket",
            Text,
            Words("none"),
            "Path of a Unix socket through which programs on this machine publish without a key, relative to the folder of \
             this file. It serves publishing and health checks only. Its owner and its group may use it.",
            "An application on the same machine publishes without a key, and a proxy forwards to the other listeners.",
            "",
        ),
        key(
            "handover_socket",
            Text,
            Words("none"),
            "Path of a Unix socket through which an application on the same machine hands over connections of browsers, \
             relative to the folder of this file. Only programs of the server's user may use it.",
            "The gem is mounted in the application, so that pages need no second address, and Puma does not start the server \
             (with `plugin :nodevent`, it passes the path).",
            "",
        ),
        key(
            "store",
            Map("store, or a folder"),
            Words("none: a restart forgets what namespaces without Redis have"),
            "Folder, relative to the folder of this file, in which namespaces without Redis keep histories, mailboxes, \
             revocations, idempotency keys and the journals of hooks. See [one-box.md](one-box.md).",
            "A restart is to cost nothing, and there is no Redis.",
            "storage/nodevent",
        ),
        key(
            "traces",
            Map("see [`traces`](#traces), or `off`"),
            Value("off"),
            "Where the server sends spans of sampled publications. See [server.md](server.md#traces).",
            "You follow publications from the application to the write.",
            "",
        ),
        key(
            "publish_origins",
            Texts,
            Words("none: no page may publish"),
            "Origins of pages that may publish over HTTP, with a `publish_key` in any case. `origins` does not include them.",
            "A page publishes itself. Its visitors can read the key, so limit the key to rooms (`publish_keys`).",
            "https://www.example.com",
        ),
        key(
            "trusted_proxies",
            Texts,
            Words("none"),
            "Addresses or networks of proxies whose `X-Forwarded-For` and `Forwarded` headers, or PROXY protocol, name the \
             address of the client.",
            "A reverse proxy or load balancer is in front of the server.",
            "[127.0.0.1, 10.0.0.0/8]",
        ),
        key(
            "console",
            Flag,
            Words(
                "on if no namespace has a secret; in the environment `development`, on for pages of this machine",
            ),
            "Whether the console page is served at `/` and `/console`. See [browser.md](browser.md#the-console).",
            "To hide it, or to see it in a secured namespace outside of development.",
            "false",
        ),
        key(
            "deflate",
            Flag,
            Value("false"),
            "Whether WebSockets may use compression (permessage-deflate). See [server.md](server.md#compression).",
            "Publications are large texts, traffic is expensive, and no page shows secrets next to text of other users.",
            "true",
        ),
        key(
            "deflate_min_size",
            Size,
            Value("1KB"),
            "Publications from this size on are compressed, up to 128 KB.",
            "Measure with the metrics `nodevent_deflate_…` of your publications.",
            "512",
        ),
        key(
            "drain_timeout",
            Duration,
            Value("1s"),
            "Period over which a stopping server closes its connections.",
            "Thousands of clients would reconnect to the other servers at once.",
            "20s",
        ),
        key(
            "shards",
            Number(1, 64),
            Words("one per core"),
            "Threads that own connections.",
            "Other programs share the machine's cores.",
            "4",
        ),
        key(
            "namespace",
            Text,
            Value("/nodevent"),
            "Name of the namespace that the keys of a namespace at the top of the file belong to.",
            "Only in files in the flat form of older gems. Write `/name:` with the keys below it instead.",
            "",
        ),
        key(
            "limits",
            Map("see [`limits`](#limits)"),
            Words("see there"),
            "Limits of connections, messages and timeouts.",
            "See there.",
            "",
        ),
        key("ping", Map("see [`ping`](#ping)"), Words("see there"), "The heartbeat.", "See there.", ""),
        key("log", Map("see [`log`](#log)"), Words("see there"), "The log.", "See there.", ""),
    ],
};

/// Keys of a namespace, and of the flat form.
pub static NAMESPACE: Section = Section {
    title: "Namespace",
    about: "Keys below a name with a slash, such as `/nodevent:`. There may be several namespaces. A name consists of \
            letters, digits, `-`, `_`, `.` and `~`, in segments that are separated by `/`.",
    frame: Frame { above: "/nodevent:", indent: 2 },
    keys: &[
        key(
            "secret",
            Secret,
            Words("none"),
            "Secret that signs room keys. With it, every join needs a key.",
            "Always in production. Use 32 random bytes, e.g. from `openssl rand -hex 32`.",
            "${NODEVENT_SECRET:-5f2a1c9e8b7d6f4e3a2b1c0d9e8f7a6b}",
        ),
        key(
            "secret_file",
            File,
            Words("none"),
            "File that contains the secret. A line break at its end is ignored.",
            "Secrets are files: Docker, Kubernetes, systemd credentials (`${CREDENTIALS_DIRECTORY}/secret`).",
            "",
        ),
        key(
            "secrets",
            Map("a list of secrets, or of maps with `secret` or `secret_file`, and `id`"),
            Words("none"),
            "Several secrets at a time. The first one signs, all of them verify.",
            "While you replace a secret.",
            "",
        ),
        key(
            "open",
            Flag,
            Value("false"),
            "`true` declares that every client may join every room.",
            "The namespace is public on purpose. A namespace without a secret is reported unless this is written.",
            "",
        ),
        key(
            "token",
            Map("see [`token`](#token)"),
            Words("none: tokens are rejected"),
            "Tokens that say who a connection is, or open one room. Next to it, a namespace needs no `secret`. See \
             [tokens.md](tokens.md).",
            "The application has users.",
            "",
        ),
        key(
            "auth",
            Map("the keys of `auth`, see [`auth`](#auth)"),
            Words("none"),
            "Request by which the application says who a connection is. Then every connection needs a user.",
            "The application knows its visitors by their session.",
            "",
        ),
        key(
            "max_key_lifetime",
            Duration,
            Words("30d for bound keys, no limit for others"),
            "Keys that are valid for longer than this from now are rejected.",
            "A leaked key must not stay valid for long.",
            "1d",
        ),
        key(
            "bound_keys",
            Word(&["accept", "sign", "require"]),
            Value("accept"),
            "Keys that are bound to their namespace: `accept` them next to those of the old formula, also `sign` them with the \
             gem and `nodevent key`, or `require` them and reject all others. See [keys.md](keys.md#bound-keys).",
            "Namespaces share a secret, or all programs that sign keys are of version 4.",
            "require",
        ),
        key(
            "expiry",
            Word(&["stay", "leave"]),
            Value("stay"),
            "What happens to a connection in a room when the key expires with which it joined: its membership may `stay`, or it may \
             `leave` the room. See [keys.md](keys.md#when-a-key-expires).",
            "A page that stays open must lose its rooms with its keys. Pages need a source of new keys then.",
            "leave",
        ),
        key(
            "publish_key",
            Secret,
            Words("none: see `publish`"),
            "Key that publishers send as `Authorization: Bearer` over HTTP.",
            "The application publishes over HTTP. In development mode it needs none.",
            "${NODEVENT_PUBLISH_KEY:-c0ffee5f2a1c9e8b7d6f4e3a2b1c0d9e}",
        )
        .or(&["apiKey"]),
        key(
            "publish_key_file",
            File,
            Words("none"),
            "File that contains the publish key.",
            "Secrets are files.",
            "",
        ),
        key(
            "publish_keys",
            Map("a list of keys, or of maps, see [`publish_keys`](#publish_keys)"),
            Words("none"),
            "Several publish keys at a time, in addition to `publish_key`. Each may be limited to rooms.",
            "While you replace a key, or if a publisher may publish to some rooms only.",
            "",
        ),
        key(
            "redis",
            Map("a URL, or the keys of `redis`"),
            Words("none: the memory engine"),
            "Redis through which publications travel and where history is stored.",
            "Several servers, or history that survives a restart of the server.",
            "redis://localhost:6379/0",
        ),
        key(
            "history",
            Map("`off`, an age like `5m`, or the keys of `history`"),
            Words("on, see [`history`](#history)"),
            "History from which clients recover after a reconnect.",
            "See there.",
            "",
        ),
        key(
            "mailbox",
            Map("`on`, `off`, an age like `1h`, or the keys of `mailbox`"),
            Words("off, see [`mailbox`](#mailbox)"),
            "Mailboxes: messages for users, stored until they are acknowledged.",
            "Users should receive what was sent while they were not connected.",
            "",
        ),
        key(
            "presence",
            Map("`true`, `false`, or the keys of `presence`"),
            Words("off"),
            "Who is in a room: events and lists of the users of tokens. See [presence.md](presence.md).",
            "Pages show who else is there.",
            "",
        ),
        key(
            "hooks",
            Map("the keys of `hooks`, see [`hooks`](#hooks)"),
            Words("off"),
            "Requests that notify the application: who has connected and who is in a room, and what was published. See \
             [hooks.md](hooks.md).",
            "The application keeps a list of who is online, or acts when a user leaves.",
            "",
        ),
        key(
            "connection_state_recovery",
            Map("`true`, `false`, or the keys of `connection_state_recovery`"),
            Words("off, see [`connection_state_recovery`](#connection_state_recovery)"),
            "Whether clients of Socket.IO 4.6 and newer have their users, rooms and missed events again after a reconnect. See \
             [recovery.md](recovery.md#clients-of-socketio).",
            "Pages use the client of Socket.IO, and do not join again by themselves.",
            "",
        ),
        key(
            "pages",
            Map("see [`pages`](#pages)"),
            Words("none"),
            "The pages of visitors that the application subscribes: to channels with `protocol: pakyow`, otherwise to rooms. \
             See [pages.md](pages.md).",
            "Always with `protocol: pakyow`. Otherwise controllers subscribe pages, and the HTML has no keys.",
            "",
        ),
        key(
            "calls",
            Map("see [`calls`](#calls)"),
            Words("none"),
            "The application that clients may call over their connections. See [calls.md](calls.md).",
            "Pages send requests over the connection that they have.",
            "",
        ),
        key(
            "channel_per_room",
            Flag,
            Value("false"),
            "Whether each room has its own Redis channel. Otherwise all rooms of the namespace share one.",
            "There are several servers, and each has members in few of the rooms.",
            "true",
        ),
        key(
            "protocol",
            Texts,
            Value("socket_io"),
            "Protocols that clients may speak: `socket_io`, `plain`, `pakyow`, `action_cable`, or a list of them. `pakyow` needs \
             `pages`.",
            "Clients connect without a Socket.IO library, or with that of Rails.",
            "[socket_io, plain]",
        ),
        key(
            "action_cable",
            Map("see [`action_cable`](#action_cable)"),
            Words("no stream is open"),
            "Streams that clients of the protocol `action_cable` may subscribe to. See [action-cable.md](action-cable.md).",
            "Always with `protocol: action_cable`.",
            "",
        ),
        key(
            "dialect",
            Texts,
            Value("nodevent"),
            "Vocabulary of events inside Socket.IO: `nodevent`, `web_service`, `turted`, or `notifications`. The last two may share a namespace.",
            "Clients of an older system connect.",
            "nodevent",
        ),
        key(
            "turted",
            Map("see [`turted`](#turted)"),
            Words("nothing is open"),
            "Users, channels and pushes of the dialect `turted`. See [from-turted.md](from-turted.md).",
            "Always with `dialect: turted`.",
            "",
        ),
        key(
            "notifications",
            Map("see [`notifications`](#notifications)"),
            Words("none"),
            "Channels and sources of the dialect `notifications`. See \
             [from-realtime-notifications.md](from-realtime-notifications.md).",
            "Always with `dialect: notifications`.",
            "",
        ),
        key(
            "user_room_prefix",
            Text,
            Words("none"),
            "Rooms that begin with it belong to one user: with `dialect: web_service`, messages to them are stored until they are \
             acknowledged.",
            "The application sends messages to single users.",
            "",
        )
        .or(&["userRoomPrefix"]),
        key(
            "public_room",
            Text,
            Words("none"),
            "With `dialect: web_service`, a room that every client is in. A client without a token may connect, and is in no other \
             room.",
            "Pages of visitors who are not signed in receive something.",
            "",
        )
        .or(&["publicChannel", "public_channel"]),
        key(
            "event_prefix",
            Text,
            Words("none"),
            "With `dialect: web_service`, what the names of its events `batch` and `resync` begin with.",
            "Pages were written for a version of SocketIO Web Service that calls them `_batch` and `_resync` (`_`).",
            "",
        )
        .or(&["eventPrefix"]),
        key(
            "update_user_url",
            Text,
            Words("none"),
            "With `dialect: web_service`, where the server sends `PUT` when a connection of a user is opened or closed. `:id` in it \
             is the user, without `user_room_prefix`. It has the limits of `auth`.",
            "The application shows who is online, or when a user was last seen.",
            "",
        )
        .or(&["updateUserUrl"]),
        key(
            "allow_eio3",
            Flag,
            Value("true"),
            "Whether clients of Socket.IO 1 and 2 may connect, which speak Engine.IO 3.",
            "All clients are of Socket.IO 3 or later.",
            "false",
        ),
        key(
            "url",
            Gem,
            Words("the server"),
            "Where the gem publishes over HTTP. See [rails.md](rails.md).",
            "The gem reaches the server under another address than browsers.",
            "",
        ),
        key(
            "publisher",
            Gem,
            Words("see [rails.md](rails.md)"),
            "Queue and timeouts of the gem.",
            "See [rails.md](rails.md).",
            "",
        ),
    ],
};

/// Keys of an entry of `secrets`.
pub static SECRET_ENTRY: Section = Section {
    title: "`secrets`",
    about: "Keys of each entry of `secrets`. An entry may also be the secret itself.",
    frame: Frame { above: "/nodevent:\n  secrets:\n    -", indent: 6 },
    keys: &[
        key("id", Text, Words("none"), "Name of the secret, for you.", "To recognize it later.", "\"2026-11\""),
        key(
            "secret",
            Secret,
            Words("none"),
            "The secret.",
            "Each entry needs this or `secret_file`.",
            "${NODEVENT_SECRET:-5f2a1c9e8b7d6f4e3a2b1c0d9e8f7a6b}",
        ),
        key("secret_file", File, Words("none"), "File that contains the secret.", "Secrets are files.", ""),
    ],
};

/// Keys of `auth`.
pub static AUTH: Section = Section {
    title: "`auth`",
    about: "Keys below `auth`: a request to the application that says who a connection is. [application.md](application.md) explains \
            it, with examples.",
    frame: Frame { above: "/nodevent:\n  auth:", indent: 4 },
    keys: &[
        key(
            "url",
            Text,
            Words("none"),
            "URL of the request, `https` or `http`. Nothing is added to it.",
            "It is required.",
            "https://www.example.com/live/visitor",
        ),
        key(
            "method",
            Word(&["GET", "POST"]),
            Value("GET"),
            "Method. The token is sent as `Authorization: Bearer` with `GET`, and in the body with `POST`.",
            "The application must not receive the token in a header.",
            "POST",
        ),
        key(
            "scheme",
            Text,
            Value("Bearer"),
            "Word before the token in `Authorization`, with the method `GET`.",
            "The application expects another one.",
            "Token",
        )
        .or(&["authScheme"]),
        key(
            "cookies",
            Texts,
            Words("none"),
            "Cookies of the visitor that are passed on.",
            "The application recognizes visitors by its session.",
            "_example_session",
        ),
        key(
            "headers",
            Texts,
            Words("none"),
            "Headers of the visitor's request that are passed on.",
            "A proxy in front of the server adds one.",
            "X-Visitor",
        ),
        key(
            "cache",
            Duration,
            Value("10s"),
            "Time for which a yes of the application is used again for the same cookies, headers and token. With `dialect: \
             web_service` the default is `0s`.",
            "Pages connect often, or a sign-out must count at once (`0s`).",
            "5s",
        ),
        key(
            "cache_rejected",
            Duration,
            Value("2s"),
            "Time for which a no of the application is used again. With `dialect: web_service` the default is `0s`.",
            "Clients that are rejected connect often.",
            "10s",
        ),
        key(
            "lifetime",
            Duration,
            Value("1h"),
            "Time for which an identity is valid, unless the response names a shorter one. With `dialect: web_service` the \
             default has no limit.",
            "Visitors lose access while they are connected.",
            "10m",
        ),
        key(
            "grace",
            Duration,
            Value("30s"),
            "Time between the `expired` event and the end of a connection whose identity has expired.",
            "As in `token`.",
            "1m",
        ),
        key(
            "timeout",
            Duration,
            Value("5s"),
            "Timeout of a request as a whole, with the time for which it waits. Then the connection is rejected.",
            "The application needs longer.",
            "2s",
        ),
        key(
            "connect_timeout",
            Duration,
            Value("2s"),
            "Timeout of a new connection to the application.",
            "It is far away.",
            "",
        ),
        key(
            "concurrency",
            Number(1, 1_000),
            Value("16"),
            "Requests at a time.",
            "The application has fewer or more processes for them.",
            "4",
        ),
        key(
            "queue",
            Number(0, 100_000),
            Value("1024"),
            "Requests that wait. Beyond it, connections are rejected until there is a place.",
            "Very many visitors connect at the same time.",
            "4096",
        ),
        key("max_response", Size, Value("64KB"), "The largest response.", "A response lists very many rooms.", ""),
        key(
            "ca",
            File,
            Words("the certificates of the system"),
            "File with the certificates in PEM that are trusted.",
            "The application has a certificate of your own authority.",
            "",
        ),
    ],
};

/// Keys of `action_cable`.
pub static ACTION_CABLE: Section = Section {
    title: "`action_cable`",
    about: "Keys below `action_cable`, for a namespace with `protocol: action_cable`. What is not written is closed. \
            [action-cable.md](action-cable.md) has examples.",
    frame: Frame { above: "/cable:\n  protocol: action_cable\n  action_cable:", indent: 4 },
    keys: &[
        key(
            "path",
            Text,
            Value("/cable"),
            "Path of the WebSocket, as `config.action_cable.mount_path` of Rails.",
            "The application has another path, or several namespaces have this protocol.",
            "/cable",
        ),
        key(
            "secret_key_base",
            Secret,
            Words("none"),
            "`secret_key_base` of the application, from which the key of signed names of streams is derived, as \
             `turbo-rails` does.",
            "Pages use `turbo_stream_from`.",
            "${SECRET_KEY_BASE:-0123456789abcdef0123456789abcdef}",
        ),
        key(
            "secret_key_base_file",
            File,
            Words("none"),
            "File that contains this secret. A line break at its end is ignored.",
            "Secrets are files.",
            "",
        ),
        key(
            "secret_key_bases",
            Map("a list of secrets, or of maps with `secret` or `secret_file`, and `id`"),
            Words("none"),
            "Further ones, of which each is accepted.",
            "While you replace `secret_key_base`.",
            "",
        ),
        key(
            "signed_stream_key",
            Secret,
            Words("none"),
            "`config.turbo.signed_stream_verifier_key` of the application.",
            "The application sets it.",
            "${TURBO_KEY:-7f3c1e5a9b2d4f60}",
        ),
        key(
            "signed_stream_key_file",
            File,
            Words("none"),
            "File that contains this key. A line break at its end is ignored.",
            "Secrets are files.",
            "",
        ),
        key(
            "signed_stream_keys",
            Map("a list of secrets, or of maps with `secret` or `secret_file`, and `id`"),
            Words("none"),
            "Further keys, of which each is accepted.",
            "While you replace the key.",
            "",
        ),
        key(
            "public_streams",
            Flag,
            Value("false"),
            "Whether clients of AnyCable may subscribe to every stream by its name, without a signature.",
            "All streams are public.",
            "true",
        ),
        key(
            "ping_interval",
            Duration,
            Value("3s"),
            "Interval of pings. Clients of Rails reconnect after 6 s without one.",
            "All clients expect another interval.",
            "3s",
        ),
        key(
            "refresh",
            Flag,
            Value("true"),
            "Whether the server sends a `refresh` to pages with `turbo_stream_from` if messages are missing that cannot be \
             recovered. The page then loads again.",
            "Pages must not load again by themselves.",
            "false",
        ),
        key(
            "refresh_interval",
            Duration,
            Value("1s"),
            "Shortest time between two `refresh` actions of one stream for a page. Those that are published meanwhile are one at \
             its end. `0s` merges none.",
            "Pages may load again less often, or must at once.",
            "2s",
        ),
        key(
            "refresh_window",
            Duration,
            Value("1s"),
            "Longest time over which a `refresh` is spread over the pages that view a stream: 1 ms for each of them.",
            "The application cannot serve a page every millisecond.",
            "10s",
        ),
        key(
            "whispers",
            Flag,
            Value("false"),
            "Whether clients of AnyCable may send messages to the other subscribers of a stream without the application.",
            "Clients show each other who is typing.",
            "true",
        ),
        key(
            "tap",
            Map("see [`action_cable.tap`](#action_cabletap)"),
            Words("none"),
            "Channels of the stock Redis adapter, whose messages are published.",
            "`config/cable.yml` has `adapter: redis`, and stays so.",
            "",
        ),
    ],
};

/// Keys of `action_cable.tap`.
pub static ACTION_CABLE_TAP: Section = Section {
    title: "`action_cable.tap`",
    about: "Keys below `tap` of `action_cable`.",
    frame: Frame { above: "/cable:\n  protocol: action_cable\n  action_cable:\n    tap:", indent: 6 },
    keys: &[
        key(
            "redis",
            Map("as `redis` of a namespace"),
            Words("`redis` of the namespace"),
            "Redis of `config/cable.yml`.",
            "It is another one.",
            "redis://localhost:6379/1",
        ),
        key(
            "channel_prefix",
            Text,
            Words("none"),
            "`channel_prefix` of `config/cable.yml`.",
            "It is required.",
            "app_production",
        ),
    ],
};

/// Keys of `turted`.
pub static TURTED: Section = Section {
    title: "`turted`",
    about: "Keys below `turted`, for a namespace with `dialect: turted`. What is not written is closed. \
            [from-turted.md](from-turted.md) has examples.",
    frame: Frame { above: "/:\n  dialect: turted\n  turted:", indent: 4 },
    keys: &[
        key(
            "ident",
            Word(&["password", "token", "application", "accept_all"]),
            Words("no user is accepted"),
            "How `IDENT` is verified: by one password, by a token for each user, by the application, or not at all.",
            "It is required for users. `accept_all` lets every client be every user.",
            "token",
        ),
        key(
            "ident_password",
            Secret,
            Words("none"),
            "Password of `ident: password`.",
            "It is required for it.",
            "${TURTED_IDENT_PASSWORD:-3d5a1f0c7b9e4d62}",
        ),
        key(
            "ident_password_file",
            File,
            Words("none"),
            "File that contains this password.",
            "Secrets are files.",
            "",
        ),
        key(
            "token_prefix",
            Secret,
            Words("nothing"),
            "Text before the name of the user in what a token is the hash of.",
            "As the application makes its tokens.",
            "${TURTED_TOKEN_PREFIX:-e9a7c4b2d1f05368}",
        ),
        key("token_suffix", Secret, Words("nothing"), "Text after the name.", "As `token_prefix`.", ""),
        key(
            "token_hash",
            Text,
            Value("md5"),
            "Hash function of tokens: `md5`, `sha1`, `sha256` or `sha512`.",
            "As the application makes its tokens. Prefer `sha256`.",
            "sha256",
        ),
        key(
            "join",
            Word(&["identified", "open", "application"]),
            Value("identified"),
            "Who may join channels: connections that are a user, every connection, or those that the application admits.",
            "Pages join channels without `IDENT` (`open`).",
            "open",
        ),
        key(
            "application",
            Map("see [`turted.application`](#turtedapplication)"),
            Words("none"),
            "Request by which the application decides, for `ident: application` and `join: application`.",
            "It is required for them.",
            "",
        ),
        key(
            "via",
            Flag,
            Value("false"),
            "Whether an `EVENT` says in `via` through which user, channel or broadcast it came.",
            "Pages need to know.",
            "true",
        ),
        key(
            "push",
            Map("see [`turted.push`](#turtedpush)"),
            Words("nothing can be pushed"),
            "The REST interface for backends.",
            "It is required for them.",
            "",
        ),
    ],
};

/// Keys of `turted.application`.
pub static APPLICATION: Section = Section {
    title: "`turted.application`",
    about: "Keys below `application` of `turted`. A JSON object is sent by `POST`. A user is accepted if the response has the status 200 \
            and names the user: `{\"user\": \"…\"}`. A channel is admitted if the response has the status 200 and is `{\"join\": \
            true}`.",
    frame: Frame { above: "/:\n  dialect: turted\n  turted:\n    application:", indent: 6 },
    keys: &[
        key(
            "url",
            Text,
            Words("none"),
            "URL of the request, `https` or `http`.",
            "It is required.",
            "https://www.example.com/live/turted",
        ),
        key(
            "timeout",
            Duration,
            Value("5s"),
            "Timeout of a request as a whole.",
            "The application needs longer.",
            "2s",
        ),
        key("connect_timeout", Duration, Value("2s"), "Timeout of a new connection.", "It is far away.", ""),
        key(
            "concurrency",
            Number(1, 1_000),
            Value("16"),
            "Requests at a time.",
            "The application has fewer processes.",
            "4",
        ),
        key(
            "queue",
            Number(0, 100_000),
            Value("1024"),
            "Requests that wait.",
            "Very many users connect at the same time.",
            "",
        ),
        key("max_response", Size, Value("64KB"), "The largest response.", "Never, usually.", ""),
        key(
            "ca",
            File,
            Words("the certificates of the system"),
            "File with the certificates in PEM that are trusted.",
            "The application has a certificate of your own authority.",
            "",
        ),
    ],
};

/// Keys of `turted.push`.
pub static TURTED_PUSH: Section = Section {
    title: "`turted.push`",
    about: "Keys below `push` of `turted`.",
    frame: Frame { above: "/:\n  dialect: turted\n  turted:\n    push:", indent: 6 },
    keys: &[
        key(
            "password",
            Secret,
            Words("none"),
            "Password of backends, in `auth` of what they push.",
            "It is required.",
            "${TURTED_PUSH_PASSWORD:-IamAllowed2PUSH!!!}",
        ),
        key("password_file", File, Words("none"), "File that contains the password.", "Secrets are files.", ""),
        key(
            "path",
            Text,
            Value("/push/"),
            "Path of pushes, with a slash at both ends.",
            "Backends use another one.",
            "/push/",
        ),
        key(
            "port",
            Number(0, 65_535),
            Words("the public listeners accept pushes"),
            "Port that accepts pushes, and nothing else. TURTED's sample uses 7117.",
            "Backends push to a port of their own.",
            "7117",
        ),
        key(
            "bind",
            Text,
            Value("127.0.0.1"),
            "Address of this port.",
            "Backends on other machines push.",
            "127.0.0.1",
        ),
        key(
            "redis_channel",
            Text,
            Words("none"),
            "Channel in the Redis of the namespace that carries pushes too.",
            "Backends push through Redis.",
            "",
        ),
    ],
};

/// Keys of `notifications`.
pub static NOTIFICATIONS: Section = Section {
    title: "`notifications`",
    about: "Keys below `notifications`, for a namespace with `dialect: notifications`. \
            [from-realtime-notifications.md](from-realtime-notifications.md) has examples.",
    frame: Frame { above: "/:\n  dialect: notifications\n  notifications:", indent: 4 },
    keys: &[
        key(
            "channels",
            Texts,
            Words("none"),
            "Channels that pages may subscribe to. The server reads no others.",
            "It is required.",
            "[notif]",
        ),
        key(
            "page",
            Flag,
            Value("false"),
            "Whether the page that shows the notifications is served at `/`.",
            "You want it.",
            "true",
        ),
        key(
            "redis",
            Map("as `redis` of a namespace"),
            Words("none"),
            "Redis whose channels of the same names are a source.",
            "Programs publish in Redis.",
            "redis://localhost:6379/0",
        ),
        key(
            "http",
            Flag,
            Value("false"),
            "Whether `POST /notifications/<channel>` with a publish key is a source. The body is the text.",
            "Programs send requests.",
            "",
        ),
        key(
            "stdin",
            Text,
            Words("none"),
            "Channel that receives the lines of the server's standard input.",
            "Another program writes into a pipe.",
            "",
        ),
        key(
            "file",
            Map("`path` and `channel`"),
            Words("none"),
            "File whose new lines are a source, also after it is rotated or truncated.",
            "A program writes a log.",
            "",
        ),
        key(
            "demo",
            Text,
            Words("none"),
            "Channel that receives `Generated random no N` every 5 seconds.",
            "You try it out.",
            "notif",
        ),
    ],
};

/// Keys of `notifications.file`.
pub static NOTIFICATIONS_FILE: Section = Section {
    title: "`notifications.file`",
    about: "Keys below `file` of `notifications`.",
    frame: Frame {
        above: "/:\n  dialect: notifications\n  notifications:\n    channels: notif\n    file:",
        indent: 6,
    },
    keys: &[
        key("path", Text, Words("none"), "The file.", "It is required.", "/var/log/app.log"),
        key("channel", Text, Words("none"), "The channel of its lines.", "It is required.", "notif"),
    ],
};

/// Keys of `token`.
pub static TOKEN: Section = Section {
    title: "`token`",
    about: "Keys below `token`. Tokens are JSON Web Tokens; [tokens.md](tokens.md) explains their claims. It needs at least \
            one secret or public key, and may have 16.",
    frame: Frame { above: "/nodevent:\n  token:", indent: 4 },
    keys: &[
        key(
            "secret",
            Secret,
            Words("none"),
            "Secret that signs tokens with HS256, HS384 or HS512.",
            "The application signs tokens itself. Use 32 random bytes, and another secret than for room keys.",
            "${NODEVENT_TOKEN_SECRET:-0d9e8f7a6b5f2a1c9e8b7d6f4e3a2b1c}",
        ),
        key("secret_file", File, Words("none"), "File that contains the secret.", "Secrets are files.", ""),
        key(
            "secrets",
            Map(
                "a list of maps with `secret` or `secret_file`, `id` and `until`, see [`token.secrets`](#tokensecrets)",
            ),
            Words("none"),
            "Several secrets at a time. The gem signs with the first one.",
            "While you replace a secret.",
            "",
        ),
        key(
            "public_key_file",
            File,
            Words("none"),
            "File with a public key in PEM: RSA of 2048 bits or more for RS256, or an elliptic curve for ES256.",
            "An identity provider signs the tokens.",
            "",
        ),
        key(
            "public_keys",
            Map(
                "a list of maps with `public_key_file`, `id` and `until`, see [`token.public_keys`](#tokenpublic_keys)",
            ),
            Words("none"),
            "Several public keys at a time.",
            "While the identity provider replaces its key.",
            "",
        ),
        key(
            "jwks_file",
            File,
            Words("none"),
            "File with a JSON Web Key Set of public keys, selected by `kid`. It is read when the server starts.",
            "The identity provider publishes its keys as such a set.",
            "",
        ),
        key(
            "jwks_url",
            Text,
            Words("none"),
            "URL of a JSON Web Key Set, `https` or `http`. It is read at the start, regularly, and when a token names an unknown `kid`.",
            "The identity provider, or the application, replaces its keys by itself.",
            "",
        ),
        key(
            "jwks_ca",
            File,
            Words("the certificates of the system"),
            "File with the certificates in PEM that are trusted for `jwks_url`.",
            "It has a certificate of your own authority.",
            "",
        ),
        key(
            "jwks_refresh",
            Duration,
            Value("5m"),
            "Time after which `jwks_url` is read again.",
            "Keys are replaced at short notice.",
            "",
        ),
        key(
            "jwks_max_age",
            Duration,
            Value("1d"),
            "Time for which the last keys count while `jwks_url` cannot be read.",
            "A key that was withdrawn must not count for so long.",
            "",
        ),
        key(
            "algorithms",
            Texts,
            Words("all that its keys can use"),
            "Algorithms that are accepted: `HS256`, `HS384`, `HS512`, `RS256`, `ES256`.",
            "To accept only what the application signs with.",
            "[HS256]",
        ),
        key(
            "aud",
            Texts,
            Words("none: a token with `aud` is rejected"),
            "Audiences of which a token must name one.",
            "The tokens have `aud`.",
            "live",
        ),
        key(
            "iss",
            Texts,
            Words("any issuer"),
            "Issuers of which a token must name one.",
            "Another application signs with the same key.",
            "https://www.example.com",
        ),
        key(
            "leeway",
            Duration,
            Value("30s"),
            "Difference between the clocks of the signer and the server that is tolerated.",
            "The clocks are synchronized better, or worse.",
            "10s",
        ),
        key(
            "max_lifetime",
            Duration,
            Value("1d"),
            "Tokens that are valid for longer than this from now are rejected.",
            "A leaked token must not stay valid for long.",
            "1h",
        ),
        key(
            "grace",
            Duration,
            Value("30s"),
            "Time between the `expired` event and the end of a connection whose token has expired.",
            "The application needs longer to sign a new token.",
            "1m",
        ),
        key(
            "required",
            Flag,
            Value("false"),
            "Whether a connection without a token is rejected.",
            "Every client belongs to a user.",
            "true",
        ),
        key(
            "header",
            Text,
            Words("none"),
            "Request header that may contain the token. `Authorization` has `Bearer` before it.",
            "A client or a proxy sends the token in a header.",
            "Authorization",
        ),
        key(
            "cookie",
            Text,
            Words("none"),
            "Cookie that may contain the token. It must be a cookie of its own, not the session of the application.",
            "The application sets a cookie that the server receives.",
            "nodevent_token",
        ),
        key(
            "query",
            Text,
            Words("none"),
            "Query parameter that may contain the token. Proxies write it into their logs.",
            "The client can send it in no other place.",
            "",
        ),
    ],
};

/// Keys of an entry of `token.secrets`.
pub static TOKEN_SECRET: Section = Section {
    title: "`token.secrets`",
    about: "Keys of each entry of `secrets` below `token`.",
    frame: Frame { above: "/nodevent:\n  token:\n    secrets:\n      -", indent: 8 },
    keys: &[
        key(
            "id",
            Text,
            Words("none: it verifies tokens with any `kid`, and without one"),
            "Id that tokens name in `kid`.",
            "There are several secrets.",
            "\"2026-11\"",
        ),
        key(
            "secret",
            Secret,
            Words("none"),
            "The secret.",
            "Each entry needs this or `secret_file`.",
            "${NODEVENT_TOKEN_SECRET:-0d9e8f7a6b5f2a1c9e8b7d6f4e3a2b1c}",
        ),
        key("secret_file", File, Words("none"), "File that contains the secret.", "Secrets are files.", ""),
        key(
            "until",
            Text,
            Words("no end"),
            "Last day in UTC on which it is valid, like `2026-12-31`, or a time like `2026-12-31T12:00:00Z`.",
            "The secret was replaced.",
            "\"2099-12-31\"",
        ),
    ],
};

/// Keys of an entry of `token.public_keys`.
pub static TOKEN_PUBLIC_KEY: Section = Section {
    title: "`token.public_keys`",
    about: "Keys of each entry of `public_keys` below `token`.",
    frame: Frame {
        above: "/nodevent:\n  token:\n    secret: ${NODEVENT_TOKEN_SECRET:-0d9e8f7a6b5f2a1c9e8b7d6f4e3a2b1c}",
        indent: 4,
    },
    keys: &[
        key(
            "id",
            Text,
            Words("none: it verifies tokens with any `kid`, and without one"),
            "Id that tokens name in `kid`.",
            "There are several keys.",
            "",
        ),
        key("public_key_file", File, Words("none"), "File with a public key in PEM.", "Each entry needs it.", ""),
        key("until", Text, Words("no end"), "As in `secrets`.", "The key was replaced.", ""),
    ],
};

/// Keys of an entry of `publish_keys`.
pub static PUBLISH_KEY_ENTRY: Section = Section {
    title: "`publish_keys`",
    about: "Keys of each entry of `publish_keys`. An entry may also be the key itself.",
    frame: Frame { above: "/nodevent:\n  open: true\n  publish_keys:\n    -", indent: 6 },
    keys: &[
        key(
            "id",
            Text,
            Words("its number"),
            "Name of the key in the audit log.",
            "To recognize its publisher.",
            "game",
        ),
        key(
            "key",
            Secret,
            Words("none"),
            "The key.",
            "Each entry needs this or `key_file`.",
            "${NODEVENT_PUBLISH_KEY:-c0ffee5f2a1c9e8b7d6f4e3a2b1c0d9e}",
        ),
        key("key_file", File, Words("none"), "File that contains the key.", "Secrets are files.", ""),
        key(
            "rooms",
            Texts,
            Words("every room, and with `users` or `broadcast` none"),
            "Rooms to which the key may publish. `Chat_*` is every room whose name begins with `Chat_`. The key may then publish \
             to no user and not to all connections, unless `users` and `broadcast` say so.",
            "The publisher needs only these.",
            "[lobby, \"Chat_*\"]",
        ),
        key(
            "users",
            Texts,
            Words("every user, and with `rooms` or `broadcast` none"),
            "Users to whom the key may publish, and whose mailboxes it may write and read. `\"*\"` is every user.",
            "The publisher notifies users, and is limited.",
            "[\"*\"]",
        ),
        key(
            "broadcast",
            Flag,
            Words("true, and with `rooms` or `users` false"),
            "Whether the key may publish to all connections of the namespace.",
            "The publisher makes announcements, and is limited.",
            "true",
        ),
        key(
            "revoke",
            Flag,
            Words("true, and with `rooms`, `users` or `broadcast` false"),
            "Whether the key may also end connections and memberships. See [revocation.md](revocation.md).",
            "A publisher that is limited to rooms signs users out, or another one must not.",
            "false",
        ),
    ],
};

/// Keys of `limits`.
pub static LIMITS: Section = Section {
    title: "`limits`",
    about: "Every limit has a named outcome. Timeouts and sizes apply to each connection or request.",
    frame: Frame { above: "limits:", indent: 2 },
    keys: &[
        key(
            "max_connections",
            Number(1, 10_000_000),
            Value("200000"),
            "Connections at a time, over all transports. Further handshakes are rejected with 503. It is never more than the files that \
             may be open, less 64 of them.",
            "The machine has less memory or fewer file descriptors than that.",
            "50000",
        ),
        key(
            "max_memberships",
            Number(1, 1_000_000_000),
            Value("2000000"),
            "Memberships at a time: one for each room of each connection. An address that is alone may have 4 of 5. Beyond \
             it, joins are rejected as with `max_rooms_per_connection`.",
            "Very many connections are in several rooms each, and the machine has the memory.",
            "10000000",
        ),
        key(
            "max_present_per_room",
            Number(1, 10_000_000),
            Value("100000"),
            "Members of one room with `presence`, on this server. Beyond it, users join and are not present.",
            "A room has more users.",
            "20000",
        ),
        key(
            "max_present",
            Number(1, 100_000_000),
            Value("500000"),
            "Members of all rooms with `presence` of a namespace, on this server. Users share them. Beyond it, users join and \
             are not present.",
            "Very many users are in several rooms each, and the machine has the memory.",
            "2000000",
        ),
        key(
            "max_presence_info",
            Size,
            Value("1KB"),
            "The largest `info` of a token that `presence` shows. A larger one is left out.",
            "Pages show more of a user than a name and a picture.",
            "4KB",
        ),
        key(
            "max_http_connections",
            Number(1, 10_000_000),
            Words("`max_connections`"),
            "Sockets at a time that are not WebSockets: requests, idle keep-alive connections, long-polling and Server-Sent \
             Events. An address that is alone may have 4 of 5. Beyond it, a new socket takes the place of one without a request, or \
             of one whose response is not read. If there is none, only health checks are served, and other requests get 503.",
            "Few other sockets are expected than WebSockets.",
            "10000",
        ),
        key(
            "max_message_size",
            Size,
            Value("64KB"),
            "Largest message from a client, attachments included. A larger one closes its connection.",
            "Clients send large messages of their own.",
            "64KB",
        ),
        key(
            "max_publish_size",
            Size,
            Value("1MB"),
            "Largest publish. A larger one is rejected with 413.",
            "The application emits larger messages.",
            "1MB",
        ),
        key(
            "max_room_name",
            Size,
            Value("255"),
            "Length of a room's name in bytes. A join with a longer one is rejected: `Bad room`.",
            "Room names contain long identifiers.",
            "255",
        ),
        key(
            "max_identifier",
            Size,
            Value("2KB"),
            "Longest identifier of a subscription of Action Cable. A longer one is rejected.",
            "Subscriptions have long parameters.",
            "4KB",
        ),
        key(
            "max_pending_commands",
            Number(1, 100_000),
            Value("64"),
            "Commands of one connection of Action Cable that wait until it is decided who it is. Beyond it, the \
             connection is closed.",
            "Pages have many subscriptions, and the application decides slowly.",
            "256",
        ),
        key(
            "max_rooms_per_connection",
            Number(1, 1_000_000),
            Value("128"),
            "Rooms that one connection may be in. Further joins are rejected: `Too many rooms`.",
            "A page shows more records than that, each in its own room.",
            "500",
        ),
        key(
            "send_buffer",
            Size,
            Value("1MB"),
            "Bytes queued for one slow connection. Beyond it, the connection is closed; the client reconnects and recovers.",
            "Messages are large, or slow clients must not take much memory.",
            "1MB",
        ),
        key(
            "request_timeout",
            Duration,
            Value("10s"),
            "Time for a request's head from its first byte, for its body, for a TLS handshake and for a transport upgrade. The \
             first request of a connection has this time from its start.",
            "Clients have very slow networks.",
            "10s",
        ),
        key(
            "keep_alive_timeout",
            Duration,
            Value("75s"),
            "Time for which an HTTP connection is kept open after a response, until the next request begins.",
            "A load balancer keeps its connections open for longer; this must exceed its idle timeout.",
            "120s",
        ),
        key(
            "connect_timeout",
            Duration,
            Value("45s"),
            "Time from opening a connection to entering a namespace. After it, the connection is closed.",
            "Idle connections must be removed sooner.",
            "45s",
        ),
        key(
            "write_timeout",
            Duration,
            Value("10s"),
            "Time for which a connection may accept nothing although data is queued, and a response less than 1 KB per second. After \
             it, the connection is closed.",
            "Clients have very slow networks.",
            "10s",
        ),
        key(
            "joins_per_second",
            Number(1, 1_000_000),
            Value("50"),
            "Joins per second and connection, in the long run. Further joins are rejected: `Too many joins`.",
            "A page joins many rooms at once.",
            "100",
        ),
        key(
            "packets_per_second",
            Number(1, 1_000_000),
            Value("100"),
            "Packets per second and connection, in the long run. Beyond it, the connection is closed.",
            "A page joins many rooms at once.",
            "200",
        ),
        key(
            "send_buffers_total",
            Size,
            Value("1GB"),
            "What may be queued for all connections together, the responses to polls that are not read, the messages of clients that have not arrived completely, and long identifiers of Action Cable. \
             Publications that wait for many members count once. Beyond it, the connections with the largest buffers of the address that holds the most are closed, and \
             recover when they return.",
            "The machine has much or little memory.",
            "4GB",
        ),
        key(
            "bytes_per_second",
            Size,
            Value("128KB"),
            "Bytes per second and connection that a client may send, in the long run. As many, or two of the largest messages, may arrive \
             at once. Beyond it, the connection is closed.",
            "Clients send large messages often.",
            "1MB",
        ),
        key(
            "max_roomless_per_address",
            Number(1, 100_000_000),
            Value("10000"),
            "Connections from one address that have joined no room. Beyond it, the oldest of them is closed. Together, such \
             connections may take half of `max_connections`.",
            "Many clients share an address and wait before they join; behind a proxy, set `trusted_proxies` instead.",
            "50000",
        ),
        key(
            "max_connections_per_address",
            Number(1, 100_000_000),
            Words("an address that is alone may have 4 of 5 of all; the more it has, the more must stay free"),
            "Connections from one address. Beyond it, handshakes get 429.",
            "No address has many users, and none is to have many connections.",
            "1000",
        ),
        key(
            "handshakes_per_second_per_address",
            Number(1, 100_000_000),
            Value("5000"),
            "Handshakes per second from one address, in the long run, and event streams; five times as many at once. Beyond it, \
             they get 429.",
            "More clients than that share an address and reconnect at once; behind a proxy, set `trusted_proxies` instead.",
            "500",
        ),
        key(
            "room_requests_per_second_per_address",
            Number(1, 100_000_000),
            Value("500"),
            "Requests for `…/rooms/…` per second from one address, in the long run; five times as many at once. Beyond it, they get \
             429.",
            "A program reads histories often.",
            "2000",
        ),
        key(
            "wrong_keys_per_second_per_address",
            Number(1, 100_000_000),
            Value("10"),
            "Wrong keys per second from one address, in the long run; five times as many at once. Beyond it, requests with \
             a wrong key get 429, and a connection that has sent more than 20 wrong keys is closed. Right keys are always accepted.",
            "Many clients with old keys share an address.",
            "100",
        ),
        key(
            "max_mailboxes",
            Number(1, 100_000_000),
            Value("100000"),
            "Mailboxes of a namespace for users who were never connected; with `mailbox: {age: 0}`, mailboxes that hold messages. \
             Beyond it, messages for further users are rejected with 507. A publish key that is limited to some users may \
             take half of them.",
            "There are more users than that.",
            "1000000",
        ),
        key(
            "max_mailbox_memory",
            Size,
            Value("64MB"),
            "Memory of all mailboxes of a namespace in the memory engine. Beyond it, messages are rejected with 507. A publish key \
             that is limited to some users may fill half of it. Redis has its own `maxmemory`.",
            "There are many users, or the machine has little memory.",
            "256MB",
        ),
        key(
            "max_mailbox_message",
            Size,
            Value("64KB"),
            "Largest message for a mailbox. A larger one is rejected with 413.",
            "Messages contain more than a notification.",
            "256KB",
        ),
        key(
            "max_notified_users",
            Number(1, 1_000_000),
            Value("1000"),
            "Users of one request to `notify`. A request that names more is rejected with 400.",
            "One message goes to more users.",
            "10000",
        ),
    ],
};

/// Keys of `ping`.
pub static PING: Section = Section {
    title: "`ping`",
    about: "The heartbeat that detects dead connections.",
    frame: Frame { above: "ping:", indent: 2 },
    keys: &[
        key(
            "interval",
            Duration,
            Value("25s"),
            "Time from one ping to the next.",
            "A proxy closes connections that are idle for less than that.",
            "25s",
        ),
        key(
            "timeout",
            Duration,
            Value("20s"),
            "Time to wait for the pong. After it, the connection is closed.",
            "Dead connections must be detected sooner.",
            "20s",
        ),
    ],
};

/// Keys of `log`.
pub static LOG: Section = Section {
    title: "`log`",
    about: "The log on standard error.",
    frame: Frame { above: "log:", indent: 2 },
    keys: &[
        key(
            "level",
            Text,
            Value("info"),
            "`error`, `warn`, `info`, `debug`, `trace`, or a filter in the syntax of `tracing`. The environment variable \
             `NODEVENT_LOG` takes precedence.",
            "To investigate a problem (`debug`).",
            "info",
        ),
        key(
            "audit",
            Flag,
            Value("false"),
            "Whether each publish over HTTP, each change of a page and each rejected key is logged, at every `level`. A publisher may write 10,000 lines at \
             once and 1,000 per second, a client with wrong keys 50 and 5. Lines begin with `audit:`.",
            "You must be able to see who published what.",
            "true",
        ),
        key(
            "format",
            Word(&["text", "json"]),
            Value("text"),
            "Format of the lines: `text` or `json`.",
            "A log collector reads the log.",
            "json",
        ),
    ],
};

/// Keys of `store`.
pub static STORE: Section = Section {
    title: "`store`",
    about: "The store of namespaces without Redis. `store: FOLDER` is short for `store: {folder: FOLDER}`.",
    frame: Frame { above: "store:", indent: 2 },
    keys: &[
        key(
            "folder",
            Text,
            Words("required"),
            "Folder, relative to the folder of this file. It is created. Only one server at a time can use it.",
            "Each server needs its own.",
            "storage/nodevent",
        ),
        key(
            "sync",
            Text,
            Value("always"),
            "`always`: what is confirmed is on disk before that. An interval, `1ms` to `60s`: within this time. After a \
             crash, clients of a store with an interval load again (`recovered: false`).",
            "The disk is slow, and a crash may cost the last moments.",
            "100ms",
        ),
    ],
};

/// Keys of `traces`.
pub static TRACES: Section = Section {
    title: "`traces`",
    about: "The receiver of spans, by OTLP over HTTP with JSON. [server.md](server.md#traces) explains them.",
    frame: Frame { above: "traces:", indent: 2 },
    keys: &[
        key(
            "url",
            Text,
            Words("required"),
            "URL of the receiver, `https` or `http`. Nothing is added to it: the path is usually `/v1/traces`.",
            "It is required.",
            "http://localhost:4318/v1/traces",
        ),
        key(
            "authorization",
            Secret,
            Words("none"),
            "Value of the header `Authorization`.",
            "The receiver requires it.",
            "${TRACES_AUTHORIZATION:-Bearer open-sesame}",
        ),
        key("authorization_file", File, Words("none"), "File that contains this value.", "Secrets are files.", ""),
        key(
            "queue",
            Number(1, 1_000_000),
            Value("4096"),
            "Spans that wait for the receiver. Beyond it, spans are dropped and counted. A publication has one for its \
             publish, one in the engine, and two for each thread with members.",
            "Spans are dropped, and the receiver accepts more.",
            "16384",
        ),
        key(
            "ca",
            File,
            Words("the certificates of the system"),
            "File with the certificates in PEM that are trusted.",
            "The receiver has a certificate of your own authority.",
            "",
        ),
    ],
};

/// Keys of an entry of `listen`.
pub static LISTEN: Section = Section {
    title: "`listen`",
    about: "Keys of each entry of `listen`. The first listener, with `port` at the top, is added if `port` is written.",
    frame: Frame { above: "listen:\n  -", indent: 4 },
    keys: &[
        key(
            "port",
            Number(0, 65_535),
            Words("required"),
            "TCP port.",
            "Each entry needs one, or a `socket`.",
            "8443",
        ),
        key(
            "socket",
            Text,
            Words("none"),
            "Path of a Unix socket instead of a port, relative to the folder of this file. Its clients have the address \
             127.0.0.1. The file of a server that no longer runs is replaced.",
            "A proxy on the same machine connects through it.",
            "",
        ),
        key(
            "socket_mode",
            Text,
            Value("0660"),
            "Permissions of the Unix socket.",
            "The proxy runs as another user, who is not in the server's group.",
            "",
        ),
        key(
            "bind",
            Text,
            Words("`bind` at the top"),
            "Address to bind.",
            "The listener has its own address.",
            "10.0.0.4",
        )
        .or(&["host"]),
        key("ssl", Map("`cert` and `key`"), Words("no TLS"), "Certificate.", "The listener terminates TLS.", "")
            .or(&["tls"]),
        key(
            "publish",
            Word(&["local", "key"]),
            Words("`publish` at the top"),
            "Who may publish without a key through this listener.",
            "An application on the same machine publishes without a key, through a port that no proxy forwards to.",
            "key",
        ),
        key(
            "proxy_protocol",
            Flag,
            Value("false"),
            "Whether each connection begins with a header of the PROXY protocol, version 1 or 2, as `trusted_proxies` send it. \
             Other connections are closed.",
            "A load balancer forwards TCP connections and names the client by this protocol.",
            "",
        ),
    ],
};

/// Keys of `admin`.
pub static ADMIN: Section = Section {
    title: "`admin`",
    about: "The listener for monitoring. Do not expose it.",
    frame: Frame { above: "admin:", indent: 2 },
    keys: &[
        key("port", Number(0, 65_535), Value("8081"), "TCP port.", "Another program uses 8081.", "8081"),
        key(
            "bind",
            Text,
            Value("127.0.0.1"),
            "Address to bind.",
            "Prometheus runs on another machine. Then it needs a `key`.",
            "127.0.0.1",
        )
        .or(&["host"]),
        key(
            "key",
            Secret,
            Words("none: it needs one unless `bind` is an address of this machine alone"),
            "Key that requests must have, as `Authorization: Bearer …`. `/healthz` needs none.",
            "`bind` is not a loopback address: the server does not start without it.",
            "",
        ),
        key("key_file", File, Words("none"), "File that contains the key.", "Secrets are files.", ""),
    ],
};

/// Keys of `ssl`.
pub static SSL: Section = Section {
    title: "`ssl`",
    about: "TLS for a listener. Both files are PEM.",
    frame: Frame { above: "ssl:", indent: 2 },
    keys: &[
        key("cert", File, Words("required"), "Certificate chain.", "`ssl` needs it.", "cert.pem"),
        key("key", File, Words("required"), "Private key.", "`ssl` needs it.", "key.pem"),
    ],
};

/// Keys of `history`.
pub static HISTORY: Section = Section {
    title: "`history`",
    about: "How much history each room keeps. `off` keeps none; an age such as `5m` is short for `{age: 5m}`.",
    frame: Frame { above: "/nodevent:\n  history:", indent: 4 },
    keys: &[
        key(
            "size",
            Number(1, 1_000_000),
            Value("100"),
            "Publications per room.",
            "Disconnected clients miss more than that.",
            "500",
        ),
        key(
            "age",
            Duration,
            Value("5m"),
            "Memory engine: a publication is kept for this time. Redis: the history of a room is kept for this time after its last \
             publication.",
            "Clients are disconnected for longer, e.g. laptops that sleep.",
            "1h",
        ),
        key(
            "max_memory",
            Size,
            Value("64MB"),
            "Memory of all rooms together in the memory engine. Beyond it, the least recently active rooms are evicted. \
             Redis has its own `maxmemory`.",
            "There are many rooms, or the machine has little memory.",
            "256MB",
        ),
        key(
            "rooms",
            Map("for each beginning of a room's name, `off` or `size` and `age`"),
            Words("none"),
            "Different history for rooms whose names begin with the given text. The longest match wins.",
            "Some rooms need more history, others none.",
            "{ Chat_: { size: 500 }, Cursor_: off }",
        ),
    ],
};

/// Keys of one entry of `history.rooms`.
pub static HISTORY_ROOM: Section = Section {
    title: "`history.rooms`",
    about: "Keys of each entry of `history.rooms`; the rest is inherited from `history`.",
    frame: Frame { above: "/nodevent:\n  history:\n    rooms:\n      Chat_:", indent: 8 },
    keys: &[
        key(
            "size",
            Number(1, 1_000_000),
            Words("`history.size`"),
            "Publications per room.",
            "See `history.size`.",
            "500",
        ),
        key(
            "age",
            Duration,
            Words("`history.age`"),
            "Memory engine: a publication is kept for this time. Redis: the history of a room is kept for this time after its last \
             publication.",
            "See `history.age`.",
            "1h",
        ),
    ],
};

/// Keys of `mailbox`.
pub static MAILBOX: Section = Section {
    title: "`mailbox`",
    about: "What is stored for each user. `on` is short for the defaults, an age such as `1h` for `{age: 1h}`. See \
            [mailboxes.md](mailboxes.md).",
    frame: Frame { above: "/nodevent:\n  mailbox:", indent: 4 },
    keys: &[
        key(
            "count",
            Number(1, 100_000),
            Value("1000"),
            "Messages of one user. Beyond it, the oldest message is dropped.",
            "Users are disconnected for long, or need only the last messages.",
            "200",
        ),
        key(
            "bytes",
            Size,
            Value("1MB"),
            "Length of all messages of one user. Beyond it, the oldest messages are dropped.",
            "Messages are large, or memory is small.",
            "256KB",
        ),
        key(
            "age",
            Duration,
            Value("1h"),
            "How long messages are kept while their user is not connected. `0` keeps them until they are acknowledged, also \
             those for users who were never connected.",
            "Users return later than that.",
            "7d",
        ),
        key(
            "unknown",
            Word(&["drop", "keep"]),
            Value("drop"),
            "What happens to messages for users who were not connected within `age`.",
            "Users who were never connected should find messages at their first visit.",
            "keep",
        ),
    ],
};

/// Keys of `presence`.
pub static PRESENCE: Section = Section {
    title: "`presence`",
    about: "Who is in a room. `true` is short for the defaults.",
    frame: Frame { above: "/nodevent:\n  presence:", indent: 4 },
    keys: &[
        key(
            "rooms",
            Texts,
            Words("all rooms"),
            "What the names of rooms with presence begin with.",
            "Only some rooms need it.",
            "[Chat_, Desk_]",
        ),
        key(
            "lease",
            Duration,
            Value("30s"),
            "The time within which the members of a server that was killed leave. Servers renew their leases in a sixth of it.",
            "They must leave sooner, or there are more than 4,000 rooms with members per server.",
            "60s",
        ),
        key(
            "grace",
            Duration,
            Value("10s"),
            "A user who returns within this time has not left.",
            "Pages load slowly, or members must leave at once (`0s`).",
            "5s",
        ),
        key(
            "max_size",
            Number(1, 5_000),
            Value("1000"),
            "Members of a room above which only their number is published and listed.",
            "Pages list more members, or rooms with fewer members have too many events.",
            "200",
        ),
    ],
};

/// Keys of `connection_state_recovery`.
pub static CONNECTION_STATE: Section = Section {
    title: "`connection_state_recovery`",
    about: "Keys below `connection_state_recovery`: clients of Socket.IO that are restored after a reconnect. \
            [recovery.md](recovery.md#clients-of-socketio) explains it.",
    frame: Frame { above: "/nodevent:\n  connection_state_recovery:", indent: 4 },
    keys: &[
        key(
            "max_disconnection",
            Duration,
            Value("2m"),
            "Time for which a client may be disconnected.",
            "Clients are disconnected for longer, such as phones.",
            "10m",
        ),
        key(
            "secret",
            Secret,
            Words("the secrets of the namespace"),
            "Secret that seals what clients carry. All servers of the namespace need the same one.",
            "The namespace has no secret.",
            "${STATE_SECRET:-open-sesame}",
        ),
        key("secret_file", File, Words("none"), "File that contains the secret.", "Secrets are files.", ""),
    ],
};

/// Keys of `hooks`.
pub static HOOKS: Section = Section {
    title: "`hooks`",
    about: "Keys below `hooks`: requests that notify the application. [hooks.md](hooks.md) explains them, with examples.",
    frame: Frame { above: "/nodevent:\n  presence: true\n  hooks:", indent: 4 },
    keys: &[
        key(
            "url",
            Text,
            Words("none"),
            "URL of the requests, `https` or `http`. Nothing is added to it.",
            "It is required.",
            "https://www.example.com/nodevent/hooks",
        ),
        key(
            "secret",
            Secret,
            Words("none"),
            "Secret that signs the requests. It is required.",
            "",
            "${HOOKS_SECRET:-open-sesame}",
        ),
        key("secret_file", File, Words("none"), "File that contains the secret.", "Secrets are files.", ""),
        key(
            "events",
            Texts,
            Words("none"),
            "Events: `connected`, `disconnected`, `entered`, `left`. The last two need `presence`.",
            "The application acts on them.",
            "[connected, left]",
        ),
        key(
            "delivered",
            Texts,
            Words("none"),
            "Names of the publications of which the application is notified; `order_*` is every name that begins with `order_`. \
             They need `history`.",
            "The application acts on what other programs publish.",
            "[comment, \"order_*\"]",
        ),
        key(
            "timeout",
            Duration,
            Value("5s"),
            "Timeout of a request. Then it is sent again.",
            "The application needs longer.",
            "20s",
        ),
        key(
            "batch",
            Number(1, 1_000),
            Value("100"),
            "Events in one request.",
            "The application handles one at a time.",
            "1",
        ),
        key(
            "size",
            Number(1, 1_000_000),
            Value("100000"),
            "Events that wait for the application. Beyond it the oldest are dropped and counted, `connected` and `disconnected` first.",
            "The application may be unavailable for long.",
            "500000",
        ),
        key(
            "bytes",
            Size,
            Value("64MB"),
            "Size of the events that wait. Beyond it the oldest are dropped and counted.",
            "`delivered` has large messages.",
            "256MB",
        ),
        key(
            "attempts",
            Number(1, 1_000),
            Value("10"),
            "Attempts to send an event that the application rejects. Then it is a dead letter.",
            "A rejected event must not delay those of its room for long.",
            "3",
        ),
        key(
            "give_up",
            Duration,
            Value("1d"),
            "Time after which an event becomes a dead letter, if the application does not respond.",
            "Old events are of no use.",
            "1h",
        ),
        key(
            "dead_letters",
            Number(1, 1_000_000),
            Value("10000"),
            "Dead letters that are kept. Beyond it the oldest are dropped and counted.",
            "",
            "",
        ),
        key(
            "ca",
            File,
            Words("the certificates of the system"),
            "File with the certificates in PEM that are trusted.",
            "The application has a certificate of your own authority.",
            "",
        ),
    ],
};

/// Keys of `pages`.
pub static PAGES: Section = Section {
    title: "`pages`",
    about: "Keys below `pages`, for a namespace with `protocol: pakyow`, with `plain`, or with Socket.IO and the dialect \
             `nodevent`. [pages.md](pages.md) explains them.",
    frame: Frame { above: "/live:\n  protocol: pakyow\n  pages:", indent: 4 },
    keys: &[
        key(
            "secret",
            Secret,
            Words("none"),
            "Secret that signs the cookie with the key of a visitor's session. It is required, here and in the application.",
            "",
            "${PAGES_SECRET:-6b1f0d4c9a2e8f7531c4d6e8}",
        ),
        key("secret_file", File, Words("none"), "File that contains the secret.", "Secrets are files.", ""),
        key(
            "cookie",
            Text,
            Value("nodevent_page"),
            "Name of this cookie.",
            "Pages are loaded by HTTPS (`__Host-nodevent_page`), or applications share a host.",
            "__Host-nodevent_page",
        ),
        key(
            "path",
            Text,
            Value("/"),
            "Path at which pages of `protocol: pakyow` connect; every path below it is one too.",
            "Several namespaces have this protocol.",
            "/live",
        ),
        key(
            "initial",
            Duration,
            Value("60s"),
            "Time after which a page is forgotten that does not connect.",
            "Pages load slowly.",
            "5m",
        ),
        key(
            "grace",
            Duration,
            Value("1d"),
            "Time after which a page is forgotten that has disconnected.",
            "Computers sleep for longer, or memory is short.",
            "1h",
        ),
        key(
            "max_channels",
            Number(1, 1_000),
            Value("100"),
            "Channels or rooms of one page, fewer than `limits: max_rooms_per_connection`. Beyond it, a subscription is rejected \
             with 409.",
            "Pages show more.",
            "50",
        ),
        key(
            "max_pages",
            Number(1, 10_000_000),
            Value("200000"),
            "Pages that are kept. Beyond it, those that are new are rejected with 507.",
            "There are more visitors at a time.",
            "1000000",
        ),
    ],
};

/// Keys of `calls`.
pub static CALLS: Section = Section {
    title: "`calls`",
    about: "Keys below `calls`: the requests that clients send to the application over their connections. [calls.md](calls.md) \
            explains them.",
    frame: Frame { above: "/nodevent:\n  calls:", indent: 4 },
    keys: &[
        key(
            "url",
            Text,
            Words("none"),
            "URL of the application, `https` or `http`. The path of a call follows it.",
            "It is required.",
            "http://127.0.0.1:3000",
        ),
        key(
            "secret",
            Secret,
            Words("none"),
            "Secret that signs the requests. It is required, here and in the application.",
            "",
            "${CALLS_SECRET:-0c5e8d1f7a3b9e6204d8f1a7}",
        ),
        key("secret_file", File, Words("none"), "File that contains the secret.", "Secrets are files.", ""),
        key(
            "methods",
            Texts,
            Value("[GET, POST, PUT, PATCH, DELETE]"),
            "Methods that may be called.",
            "Pages call only some of them.",
            "[GET, POST]",
        ),
        key(
            "cookies",
            Texts,
            Words("all, of at most 8 KB"),
            "Cookies of the visitor that are passed on: those of the connection's request.",
            "The application reads only its session.",
            "_example_session",
        ),
        key(
            "origins",
            Texts,
            Words("none"),
            "Origins of pages that may call, in addition to the server's own host on any port. They must be among `origins` at the \
             top too.",
            "The application and the server have different hosts.",
            "https://www.example.com",
        ),
        key(
            "handlers",
            Text,
            Words("none"),
            "Path of the application's handlers for messages, and for `protocol: action_cable` of its channels in Ruby. Clients \
             cannot call it as a route.",
            "The application has handlers of its own (`NoDevent::Realtime.handler`), or channels of Action Cable.",
            "/nodevent/realtime",
        ),
        key(
            "notify",
            Texts,
            Words("none"),
            "What the application is notified of, at the path of `handlers`: `join`, `leave`.",
            "The application acts when a page connects or leaves.",
            "[join, leave]",
        ),
        key(
            "timeout",
            Duration,
            Value("5s"),
            "Timeout of a call as a whole, with the time for which it waits.",
            "The application needs longer.",
            "20s",
        ),
        key(
            "connect_timeout",
            Duration,
            Value("2s"),
            "Timeout of a new connection to the application.",
            "It is far away.",
            "",
        ),
        key(
            "concurrency",
            Number(1, 1_000),
            Value("16"),
            "Calls at a time.",
            "The application has fewer or more processes for them.",
            "4",
        ),
        key(
            "queue",
            Number(0, 100_000),
            Value("1024"),
            "Calls that wait. Beyond it, calls are rejected.",
            "Very many pages call at the same time.",
            "4096",
        ),
        key(
            "per_connection",
            Number(1, 1_000),
            Value("8"),
            "Calls of one connection at a time. Beyond it, calls are rejected.",
            "Pages send many calls at once.",
            "32",
        ),
        key("max_response", Size, Value("256KB"), "The largest response.", "Responses are larger.", "1MB"),
        key(
            "ca",
            File,
            Words("the certificates of the system"),
            "File with the certificates in PEM that are trusted.",
            "The application has a certificate of your own authority.",
            "",
        ),
    ],
};

/// Keys of `redis`.
pub static REDIS: Section = Section {
    title: "`redis`",
    about: "The Redis of a namespace: a URL (`redis://`, `rediss://`, `redis-sentinel://`, `redis-cluster://`, and the \
            same with `valkey`), or these keys. Keys override the parts of `url`.",
    frame: Frame { above: "/nodevent:\n  redis:", indent: 4 },
    keys: &[
        key("url", Secret, Words("none"), "A URL.", "Providers give you one.", "redis://localhost:6379/0"),
        key("host", Text, Value("localhost"), "Host.", "Redis runs on another machine.", "redis.internal"),
        key("port", Number(1, 65_535), Value("6379"), "TCP port.", "Redis has another port.", "6380"),
        key("db", Number(0, 255), Value("0"), "Number of the database.", "Applications share one Redis.", "1")
            .or(&["database"]),
        key(
            "prefix",
            Text,
            Words("none"),
            "What the names of all keys and channels begin with, before a colon: letters, digits, `_`, `-` and `.`.",
            "Applications share one database, or an ACL limits the keys.",
            "shop",
        ),
        key("username", Text, Words("none"), "ACL user.", "Redis has ACL users.", "nodevent").or(&["user"]),
        key(
            "password",
            Secret,
            Words("none"),
            "Password.",
            "Redis requires one.",
            "${REDIS_PASSWORD:-open-sesame}",
        )
        .or(&["auth_pass"]),
        key("password_file", File, Words("none"), "File that contains the password.", "Secrets are files.", ""),
        key("tls", Flag, Value("false"), "Whether to use TLS.", "Redis has TLS and no URL says so.", "true"),
        key(
            "ssl",
            Map("`ca`, `cert` and `key`"),
            Words("the certificates of the system"),
            "Certificates for TLS. Writing it turns `tls` on.",
            "Redis has a certificate of a private CA, or asks for client certificates.",
            "",
        ),
        key(
            "sentinel",
            Map("see [`redis.sentinel`](#redissentinel)"),
            Words("none"),
            "Sentinels that know the primary.",
            "Sentinel supervises Redis.",
            "",
        ),
        key(
            "cluster",
            Texts,
            Words("none"),
            "Some nodes of a Redis Cluster, as `host:port`.",
            "Redis is a cluster.",
            "",
        ),
    ],
};

/// Keys of `redis.ssl`.
pub static REDIS_SSL: Section = Section {
    title: "`redis.ssl`",
    about: "Certificates of the connection to Redis. All files are PEM.",
    frame: Frame { above: "/nodevent:\n  redis:\n    ssl:", indent: 6 },
    keys: &[
        key(
            "ca",
            File,
            Words("the certificates of the system"),
            "Certificates of the CA.",
            "The CA is private.",
            "ca.pem",
        ),
        key(
            "cert",
            File,
            Words("none"),
            "Client certificate chain.",
            "Redis asks for client certificates.",
            "cert.pem",
        ),
        key("key", File, Words("none"), "Private key of the client certificate.", "With `cert`.", "key.pem"),
    ],
};

/// Keys of `redis.sentinel`.
pub static SENTINEL: Section = Section {
    title: "`redis.sentinel`",
    about: "The sentinels. They never receive the user and password of Redis itself.",
    frame: Frame { above: "/nodevent:\n  redis:\n    sentinel:", indent: 6 },
    keys: &[
        key(
            "hosts",
            Texts,
            Words("required, unless `url` names them"),
            "Sentinels, as `host` or `host:port`; the default port is 26379.",
            "Write all of them.",
            "[sentinel1, \"sentinel2:26380\"]",
        ),
        key("name", Text, Value("mymaster"), "Name of the primary.", "It has another name.", "main")
            .or(&["service"]),
        key("username", Text, Words("none"), "ACL user of the sentinels.", "They have ACL users.", "watcher"),
        key(
            "password",
            Secret,
            Words("none"),
            "Password of the sentinels.",
            "They require one.",
            "${SENTINEL_PASSWORD:-open-sesame}",
        ),
    ],
};

/// All sections, in the order of the reference.
pub static SECTIONS: [&Section; 34] = [
    &TOP,
    &SSL,
    &LISTEN,
    &ADMIN,
    &LIMITS,
    &PING,
    &LOG,
    &STORE,
    &TRACES,
    &NAMESPACE,
    &SECRET_ENTRY,
    &AUTH,
    &TOKEN,
    &TOKEN_SECRET,
    &TOKEN_PUBLIC_KEY,
    &PUBLISH_KEY_ENTRY,
    &ACTION_CABLE,
    &ACTION_CABLE_TAP,
    &TURTED,
    &APPLICATION,
    &TURTED_PUSH,
    &NOTIFICATIONS,
    &NOTIFICATIONS_FILE,
    &HISTORY,
    &HISTORY_ROOM,
    &MAILBOX,
    &PRESENCE,
    &CONNECTION_STATE,
    &HOOKS,
    &PAGES,
    &CALLS,
    &REDIS,
    &REDIS_SSL,
    &SENTINEL,
];
