//! `io` in `config.yml`: options of the server of Socket.IO, versions 1 to 4.

use super::super::tree::{Entry, Value};
use super::mapping::{Mapper, Setting};

/// Ten years, the longest duration of our configuration. Milliseconds.
const MAX_MS: u64 = 3650 * 86_400 * 1000;
/// Options that have a counterpart.
pub(super) const KNOWN: [&str; 9] = [
    "pingTimeout",
    "pingInterval",
    "connectTimeout",
    "maxHttpBufferSize",
    "allowEIO3",
    "origins",
    "cors",
    "path",
    "transports",
];
/// Options without a counterpart that change nothing a client could rely on, with the reason.
const UNNEEDED: [(&str, &str); 12] = [
    ("serveClient", "the client script is always served, at /socket.io/socket.io.js"),
    ("upgradeTimeout", "an upgrade may take as long as `limits: request_timeout`"),
    ("perMessageDeflate", "messages are not compressed"),
    ("httpCompression", "responses are not compressed; a proxy can do it"),
    (
        "cookie",
        "the server sets no cookie; with several servers, the proxy keeps the requests of long-polling together",
    ),
    ("cookiePath", "the server sets no cookie"),
    ("cookieHttpOnly", "the server sets no cookie"),
    ("allowUpgrades", "a client decides whether it upgrades to a WebSocket"),
    ("destroyUpgrade", "an upgrade of another path is rejected"),
    ("destroyUpgradeTimeout", "an upgrade of another path is rejected"),
    ("cleanupEmptyChildNamespaces", "every site has one namespace"),
    ("connectionStateRecovery", "the service delivers again what was not acknowledged"),
];
/// Options that contain code or would be ignored with consequences, with the hint.
const UNSUPPORTED: [(&str, &str); 5] = [
    ("adapter", "delete it: all servers of one Redis deliver everything"),
    ("parser", "delete it: clients with another parser cannot connect"),
    ("wsEngine", "delete it"),
    ("allowRequest", "list the origins of your pages in `cors: {origin: […]}`"),
    ("initialPacket", "delete it"),
];

/// The keys of our configuration that come from `io`.
#[derive(Default)]
pub(super) struct Io {
    /// Those at the top.
    pub(super) top: Vec<Entry>,
    /// `allow_eio3`.
    pub(super) allow_eio3: Option<Entry>,
}

/// Translates `io`.
pub(super) fn map(setting: Option<&Setting>, mapper: &mut Mapper) -> Io {
    let mut io = Io::default();
    let (mut ping, mut limits, mut origins) = (Vec::new(), Vec::new(), None);
    let below = setting.map(Setting::below).unwrap_or_default();
    for one in &below {
        match one.name.as_str() {
            "pingTimeout" => ping.extend(milliseconds(one, "timeout", "ping: timeout", mapper)),
            "pingInterval" => ping.extend(milliseconds(one, "interval", "ping: interval", mapper)),
            "connectTimeout" => {
                limits.extend(milliseconds(one, "connect_timeout", "limits: connect_timeout", mapper));
            }
            "maxHttpBufferSize" => {
                if let Some(bytes) = mapper.number(one, 1, u64::from(u32::MAX)) {
                    mapper.explain(
                        one,
                        format!("a client may send {bytes} bytes at a time (`limits: max_message_size`)"),
                    );
                    limits.push(mapper.entry(one, "max_message_size", bytes.to_string()));
                }
            }
            "allowEIO3" => {
                if let Some(is_on) = mapper.flag(one) {
                    mapper.explain(one, "whether clients of Socket.IO 1 and 2 may connect (`allow_eio3`)");
                    io.allow_eio3 = Some(mapper.entry(one, "allow_eio3", is_on.to_string()));
                }
            }
            "origins" => origins = origins.or(old_origins(one, mapper)),
            "cors" => {
                for below in one.below() {
                    match below.name.as_str() {
                        "origin" => origins = origins.or(cors_origins(&below, mapper)),
                        _ => mapper.explain(&below, "is not needed: the server sets the headers of CORS itself"),
                    }
                }
            }
            "path" => check_path(one, mapper),
            "transports" => check_transports(one, mapper),
            _ => other(one, mapper),
        }
    }
    if let Some(setting) = setting {
        if !ping.is_empty() {
            io.top.push(mapper.map(setting, "ping", ping));
        }
        if !limits.is_empty() {
            io.top.push(mapper.map(setting, "limits", limits));
        }
    }
    io.top.push(origins.unwrap_or_else(|| every_origin(mapper)));
    io
}

fn other(setting: &Setting, mapper: &mut Mapper) {
    let name = setting.name.as_str();
    if let Some((_, reason)) = UNNEEDED.iter().find(|(one, _)| *one == name) {
        mapper.explain(setting, format!("is not needed: {reason}"));
    } else if let Some((_, hint)) = UNSUPPORTED.iter().find(|(one, _)| *one == name) {
        mapper.error(setting, "is not supported", *hint);
    } else {
        mapper.unknown(setting, &KNOWN);
    }
}

/// The old program accepted pages of every origin.
fn every_origin(mapper: &mut Mapper) -> Entry {
    mapper.explain_default("pages of every origin may connect (`origins`); a token decides who they are");
    mapper.warn_without_location(
        "pages of every origin may connect, as before",
        "list those of your pages: `io: {cors: {origin: [https://www.example.com]}}` in config.yml",
    );
    mapper.default("origins", Value::Scalar("*".to_owned()))
}

fn milliseconds(setting: &Setting, ours: &str, shown: &str, mapper: &mut Mapper) -> Option<Entry> {
    let ms = mapper.number(setting, 1, MAX_MS)?;
    mapper.explain(setting, format!("{ms} ms (`{shown}`)"));
    Some(mapper.entry(setting, ours, format!("{ms}ms")))
}

/// `origins` of versions 1 and 2: `*:*`, or host and port of several pages in one text.
fn old_origins(setting: &Setting, mapper: &mut Mapper) -> Option<Entry> {
    let texts = mapper.texts(setting)?;
    let all: Vec<String> = texts.iter().flat_map(|text| text.split_whitespace()).map(without_any_port).collect();
    Some(origins(setting, all, mapper))
}

/// `cors: {origin: …}` of later versions.
fn cors_origins(setting: &Setting, mapper: &mut Mapper) -> Option<Entry> {
    let texts = mapper.texts(setting)?;
    let all = match texts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["true"] => vec!["*".to_owned()],
        ["false"] => Vec::new(),
        _ => texts,
    };
    Some(origins(setting, all, mapper))
}

fn origins(setting: &Setting, all: Vec<String>, mapper: &mut Mapper) -> Entry {
    let meaning = match all.as_slice() {
        [] => "only pages of the server's own host may connect (`origins`)",
        [one] if one == "*" => "pages of every origin may connect (`origins`)",
        _ => "pages of these origins may connect, and those of the server's own host (`origins`)",
    };
    mapper.explain(setting, meaning);
    mapper.list(setting, "origins", all)
}

/// A `*` in the place of the port means any port, which our configuration writes without a port.
fn without_any_port(text: &str) -> String {
    text.strip_suffix(":*").unwrap_or(text).to_owned()
}

fn check_path(setting: &Setting, mapper: &mut Mapper) {
    let Some(path) = mapper.text(setting) else { return };
    if path.trim_matches('/') == "socket.io" {
        mapper.explain(setting, "is the path of the server");
        return;
    }
    let hint =
        "let the proxy in front of the server map it: `location /<path>/ { proxy_pass http://…/socket.io/; }`";
    mapper.error(setting, "is not supported: the path is /socket.io/", hint);
}

fn check_transports(setting: &Setting, mapper: &mut Mapper) {
    let Some(transports) = mapper.texts(setting) else { return };
    let has = |name: &str| transports.iter().any(|one| one == name);
    match has("websocket") && has("polling") {
        true => mapper.explain(setting, "both transports are served"),
        false => mapper.warn(
            setting,
            "is not supported: WebSocket and long-polling are both served",
            "let clients name the transport, or block the other one in the proxy; then delete it",
        ),
    }
}
