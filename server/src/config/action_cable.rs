//! `action_cable`: which streams the clients of Action Cable may subscribe to, and from where messages come.
//!
//! **Architecture Invariant:** what is not written is closed. Without a key no signed name is accepted, and without
//! `public_streams` no other.

use super::credentials;
use super::keys;
use super::reader::MapReader;
use super::redis::Redis;
use super::report::{Location, Report};
use super::tree::Node;
use nodevent_protocol::key::Secret;
use ring::pbkdf2;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

/// The path of the WebSocket, as in Rails.
const PATH: &str = "/cable";
/// The interval of pings, as in Rails. A stock client reconnects after two without one.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// The shortest time between two refreshes of one stream for a page.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// The longest time over which a refresh is spread over the pages.
const REFRESH_WINDOW: Duration = Duration::from_secs(1);
/// The salt of the key of signed names of streams in turbo-rails.
const SALT: &[u8] = b"turbo/signed_stream_verifier_key";
/// The iterations and bytes of keys that Rails derives.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);
const KEY_BYTES: usize = 64;
/// The longest prefix of channels. Bytes.
const MAX_PREFIX: usize = 128;

/// The settings of one namespace.
#[derive(Debug, Clone)]
pub struct ActionCable {
    /// The path of the WebSocket.
    pub path: String,
    /// The keys that sign names of streams.
    pub keys: Vec<Secret>,
    /// Whether clients of AnyCable may subscribe to every stream by its name.
    pub has_public_streams: bool,
    /// The interval of pings.
    pub ping_interval: Duration,
    /// Whether pages load again if messages are missing that cannot be recovered.
    pub refreshes: bool,
    /// The shortest time between two refreshes of one stream for a page. Zero: they are not merged.
    pub refresh_interval: Duration,
    /// The longest time over which a refresh is spread over the pages.
    pub refresh_window: Duration,
    /// Whether clients of the extended protocol may whisper.
    pub has_whispers: bool,
    /// The channels of the stock Redis adapter that are a source.
    pub tap: Option<Tap>,
}

/// The channels of the stock Redis adapter.
#[derive(Debug, Clone)]
pub struct Tap {
    /// The Redis of `config/cable.yml`. `None`: that of the namespace.
    pub redis: Option<Redis>,
    /// Its `channel_prefix`.
    pub channel_prefix: String,
}

impl Default for ActionCable {
    fn default() -> Self {
        Self {
            path: PATH.to_owned(),
            keys: Vec::new(),
            has_public_streams: false,
            ping_interval: PING_INTERVAL,
            refreshes: true,
            refresh_interval: REFRESH_INTERVAL,
            refresh_window: REFRESH_WINDOW,
            has_whispers: false,
            tap: None,
        }
    }
}

/// Reads `action_cable`. Other files are relative to `folder`.
pub(super) fn read(node: &Node, path: &str, folder: &Path, report: &mut Report) -> ActionCable {
    let default = ActionCable::default();
    let Some(mut map) = MapReader::open(node, path, &keys::ACTION_CABLE, report) else { return default };
    let location = map.location_of("path");
    let url_path = map.text("path", report).unwrap_or(default.path);
    let is_path = url_path.starts_with('/')
        && url_path.len() > 1
        && !url_path.contains(['?', '#', ' ', '%'])
        && !["/api/", "/socket.io/", "/ws/"].iter().any(|other| url_path.starts_with(other));
    if !is_path {
        let what = format!("{path}.path is not a path of a WebSocket");
        report.error(location, what, "write a path like /cable");
    }
    let bases = credentials::several(
        &mut map,
        ["secret_key_base", "secret_key_base_file", "secret_key_bases"],
        folder,
        report,
    );
    let explicit = credentials::several(
        &mut map,
        ["signed_stream_key", "signed_stream_key_file", "signed_stream_keys"],
        folder,
        report,
    );
    let mut keys: Vec<Secret> = bases.iter().flatten().flat_map(derived).collect();
    keys.extend(explicit.into_iter().flatten());
    let has_public_streams = map.flag("public_streams", report).unwrap_or(false);
    let ping_interval = map.positive_duration("ping_interval", report).unwrap_or(PING_INTERVAL);
    let refreshes = map.flag("refresh", report).unwrap_or(true);
    let refresh_interval = map.duration("refresh_interval", report).unwrap_or(default.refresh_interval);
    let refresh_window = map.duration("refresh_window", report).unwrap_or(default.refresh_window);
    let has_whispers = map.flag("whispers", report).unwrap_or(false);
    let tap_path = map.name("tap");
    let tap = map.take("tap").and_then(|node| read_tap(node, &tap_path, folder, report));
    map.finish(report);
    ActionCable {
        path: url_path,
        keys,
        has_public_streams,
        ping_interval,
        refreshes,
        refresh_interval,
        refresh_window,
        has_whispers,
        tap,
    }
}

fn read_tap(node: &Node, path: &str, folder: &Path, report: &mut Report) -> Option<Tap> {
    let mut map = MapReader::open(node, path, &keys::ACTION_CABLE_TAP, report)?;
    let redis_path = map.name("redis");
    let redis = map.take("redis").and_then(|node| Redis::read(node, &redis_path, folder, report));
    let location = if map.has("channel_prefix") { map.location_of("channel_prefix") } else { map.location };
    let channel_prefix = map.text("channel_prefix", report).filter(|prefix| !prefix.is_empty());
    map.finish(report);
    let Some(channel_prefix) = channel_prefix else {
        let what = format!("{path} has no channel_prefix, so it would receive every channel of that Redis");
        let hint = "write `channel_prefix:` as in config/cable.yml; add one there if it has none";
        report.error(location, what, hint);
        return None;
    };
    if channel_prefix.len() > MAX_PREFIX || channel_prefix.chars().any(char::is_control) {
        let what = format!("{path}.channel_prefix is longer than {MAX_PREFIX} bytes, or has control characters");
        report.error(location, what, "write the one of config/cable.yml");
        return None;
    }
    Some(Tap { redis, channel_prefix })
}

/// The keys of signed names that turbo-rails derives from `secret_key_base`: with SHA-256 since the defaults of Rails
/// 7.0, with SHA-1 before.
fn derived(secret_key_base: &Secret) -> [Secret; 2] {
    [pbkdf2::PBKDF2_HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA1].map(|algorithm| {
        let mut key = [0; KEY_BYTES];
        pbkdf2::derive(algorithm, ITERATIONS, SALT, secret_key_base.as_bytes(), &mut key);
        // It has 64 bytes.
        Secret::new(key.as_slice()).unwrap_or_else(|_| secret_key_base.clone())
    })
}

/// Reports what contradicts the protocol of a namespace.
pub(super) fn check(
    settings: Option<&ActionCable>,
    name: &str,
    is_served: bool,
    redis: Option<&Redis>,
    location: Location,
    report: &mut Report,
) {
    let Some(settings) = settings.filter(|_| is_served) else {
        if is_served {
            let what = format!("{name} has no `action_cable`, so no signed name of a stream is accepted");
            let hint = "write `action_cable: {secret_key_base: ${SECRET_KEY_BASE}}` below it";
            report.warn(location, what, hint);
        } else if settings.is_some() {
            let what = format!("{name} has `action_cable` without its protocol");
            report.error(location, what, "write `protocol: action_cable`");
        }
        return;
    };
    if settings.keys.is_empty() && !settings.has_public_streams {
        let what = format!("{name}.action_cable has no key, so no signed name of a stream is accepted");
        let hint =
            "write `secret_key_base:`, or `signed_stream_key:` if config.turbo.signed_stream_verifier_key is set";
        report.warn(location, what, hint);
    }
    let Some(tap) = &settings.tap else { return };
    match (&tap.redis, redis) {
        (None, None) => {
            let what = format!("{name}.action_cable.tap has no `redis`, and {name} has none");
            report.error(location, what, "write `redis:` as in config/cable.yml below `tap`");
        }
        (_, Some(engine)) if engine.prefix.as_deref() == Some(&tap.channel_prefix) => {
            let what = format!("the channel_prefix of {name}.action_cable.tap is the prefix of {name}.redis");
            report.error(location, what, "write another `prefix` below `redis` of the namespace");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use base64::Engine as _;
    use nodevent_protocol::action_cable::signed_name;
    use serde_json::Value;

    fn settings(text: &str) -> ActionCable {
        let text = format!("/cable: {{protocol: action_cable, action_cable: {text}}}\n");
        let config = Config::from_yaml(&text).unwrap_or_else(|report| panic!("{report}"));
        config.namespaces[0].action_cable.clone().unwrap()
    }

    #[test]
    fn keys_are_derived_as_rails_derives_them() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/vectors/action_cable.json");
        let vectors: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let base = vectors["secret_key_base"].as_str().unwrap();
        let settings = settings(&format!("{{secret_key_base: {base}, signed_stream_keys: [an explicit key]}}"));
        let decode = |key: &Value| {
            base64::engine::general_purpose::STANDARD.decode(key["base64"].as_str().unwrap()).unwrap()
        };
        let expected: Vec<Vec<u8>> = vectors["keys"].as_array().unwrap().iter().map(decode).collect();
        assert_eq!(settings.keys.iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>(), expected);
        let now = vectors["now"].as_u64().unwrap();
        for accepted in vectors["accepted"].as_array().unwrap() {
            let token = accepted["token"].as_str().unwrap();
            assert!(signed_name::verify(token, &settings.keys, now).is_ok(), "{accepted}");
        }
    }

    #[test]
    fn what_is_not_written_is_closed() {
        let closed = settings("{}");
        assert!(closed.keys.is_empty() && !closed.has_public_streams && closed.tap.is_none());
        assert!(!closed.has_whispers);
        assert_eq!((&*closed.path, closed.ping_interval, closed.refreshes), ("/cable", PING_INTERVAL, true));
        assert!(!Config::from_yaml("/cable: {protocol: action_cable}\n").unwrap().namespaces[0].is_open());
        let secret = "secret: sesame-open-wide-1234567890";
        let shared = format!("/a: {{protocol: [socket_io, action_cable], {secret}}}\n");
        assert!(!Config::from_yaml(&shared).unwrap().namespaces[0].is_open());
    }

    #[test]
    fn mistakes_are_reported_with_their_fix() {
        let redis = "redis://localhost";
        for (text, error) in [
            ("protocol: action_cable, action_cable: {path: cable}".to_owned(), "is not a path of a WebSocket"),
            ("protocol: action_cable, action_cable: {path: /api/cable}".to_owned(), "is not a path of a WebSocket"),
            (
                "protocol: action_cable, action_cable: {secret_key_base: \"\"}".to_owned(),
                "secret_key_base is empty",
            ),
            (
                "protocol: action_cable, action_cable: {signed_stream_keys: []}".to_owned(),
                "signed_stream_keys is empty",
            ),
            (
                format!("protocol: action_cable, action_cable: {{tap: {{redis: \"{redis}\"}}}}"),
                "has no channel_prefix",
            ),
            ("protocol: action_cable, action_cable: {tap: {channel_prefix: app}}".to_owned(), "has no `redis`"),
            (
                format!(
                    "redis: {{url: \"{redis}\", prefix: app}}, protocol: action_cable, action_cable: {{tap: {{channel_prefix: app}}}}"
                ),
                "is the prefix of /cable.redis",
            ),
            ("open: true, action_cable: {}".to_owned(), "`action_cable` without its protocol"),
            ("open: true, protocol: action_cable".to_owned(), "has `open: true`"),
            (
                "protocol: [socket_io, action_cable]".to_owned(),
                "shares `protocol: action_cable` with another protocol and has no secret",
            ),
            ("protocol: [plain, action_cable]".to_owned(), "so every client may join every stream"),
            (
                "protocol: [socket_io, action_cable], open: true".to_owned(),
                "shares `protocol: action_cable` with another protocol and has `open: true`",
            ),
            (
                "protocol: [socket_io, action_cable], open: true, token: {secret: a-secret-of-more-than-thirty-two-bytes}"
                    .to_owned(),
                "write `secret: <random text>` instead of `open`, or use two namespaces",
            ),
        ] {
            let report = Config::from_yaml(&format!("/cable: {{{text}}}\n")).unwrap_err();
            assert!(report.to_string().contains(error), "{text}: {report}");
        }
        let both = "/a: {protocol: action_cable}\n/b: {protocol: action_cable}\n";
        assert!(Config::from_yaml(both).unwrap_err().to_string().contains("the same `action_cable: path`"));
    }
}
