//! The namespaces: every key that begins with `/`, and the flat form of older gems.
//!
//! Owns which value of a namespace counts, the rules for names, and the rules that keep a namespace from being open by
//! mistake.
//!
//! # Precedence
//! In the flat form the keys of one namespace are at the top of the file. They belong to the namespace that
//! `namespace:` names, else to the only namespace of the file, else to `/nodevent`. For each of its keys, the first of
//! these that is written counts:
//!
//! | key | 1. | 2. | 3. |
//! |---|---|---|---|
//! | `secret`, `secret_file`, `secrets`, `token`, `auth` and `open` (together) | below `/name` | at the top | no secret, not declared open |
//! | `publish_key`, `publish_key_file`, `publish_keys` (together) | below `/name` | at the top | see `publish` |
//! | `max_key_lifetime`, `bound_keys`, `expiry`, `redis`, `history`, `mailbox`, `presence`, `hooks`, `pages`, `calls`, `connection_state_recovery`, `channel_per_room`, `protocol`, `action_cable`, `dialect`, `allow_eio3`, `user_room_prefix`, `public_room`, `event_prefix` and `update_user_url` (together) | below `/name` | at the top | the default |
//!
//! # Open by mistake
//! A namespace without a secret is open, as it was in the old server, and reported. It is an error if the file suggests
//! that it should be closed: a secret without a value, an unknown key below a namespace that has neither a secret nor
//! `open: true`, a secret at the top of a file with several namespaces, or a namespace whose slash is missing.

use super::action_cable::{self, ActionCable};
use super::application::{Auth, KeySet};
use super::calls::Calls;
use super::connection_state::ConnectionState;
use super::credentials;
use super::history::History;
use super::hooks::Hooks;
use super::keys;
use super::mailbox::Mailbox;
use super::notifications::Notifications;
use super::pages::PagesConfig;
use super::reader::MapReader;
use super::redis::Redis;
use super::report::{Location, Report};
use super::tree::Entry;
use super::turted::{Ident, JoinPolicy, Turted};
use super::web_service_keys;
use crate::connection_state;
use crate::presence;
use crate::publish_key::PublishKey;
use crate::token;
use crate::web_service;
use nodevent_protocol::key::{self, Secret};
use nodevent_protocol::topic::Topic;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The protocol of a namespace that names none.
const PROTOCOL: &str = "socket_io";
/// The protocol of clients without Socket.IO.
const PLAIN: &str = "plain";
/// The protocol whose clients show a signed name for each stream, so that others cannot join.
const ACTION_CABLE: &str = "action_cable";
/// The dialect of a namespace that names none.
const DIALECT: &str = "nodevent";
/// The dialects that decide about joins themselves. Their rooms are apart, so they may share a namespace.
const CLOSED_DIALECTS: [&str; 2] = ["turted", "notifications"];
/// The protocol that decides about joins itself.
const CLOSED_PROTOCOL: &str = "pakyow";
/// The namespace of a file that names none.
pub const DEFAULT: &str = "/nodevent";
/// What other errors say in the place of an invalid name.
const UNNAMED: &str = "/…";
/// Bytes of a name.
const MAX_NAME: usize = 128;
/// Words that follow a namespace in the paths of the HTTP API, so that they cannot be later segments of a name.
const RESERVED: [&str; 10] =
    ["emit", "rooms", "users", "notify", "revoke", "presence", "call", "hooks", "pages", "push"];
/// Keys by which a map is recognized as a namespace whose slash is missing.
const TYPICAL: [&str; 13] = [
    "secret",
    "secret_file",
    "secrets",
    "open",
    "publish_key",
    "publish_key_file",
    "publish_keys",
    "apiKey",
    "max_key_lifetime",
    "bound_keys",
    "token",
    "auth",
    "redis",
];

/// A protocol or dialect, as the file names it. Only the program knows which ones exist; see
/// [`super::Config::check_names`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: String,
    /// Location in the file. `None`: it is the default.
    pub location: Option<Location>,
}

/// The use of keys that are bound to their namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BoundKeys {
    /// They are accepted next to the others. The others are signed.
    #[default]
    Accept,
    /// They are signed. Both kinds are accepted.
    Sign,
    /// They are signed, and the others are rejected.
    Require,
}

/// One namespace.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// Its name with the leading slash.
    pub name: String,
    /// Its engine: `None` is the memory engine.
    pub redis: Option<Redis>,
    /// The protocols that clients may speak; at least one.
    pub protocols: Vec<Named>,
    /// The vocabularies of events inside Socket.IO; at least one.
    pub dialects: Vec<Named>,
    /// What clients of Action Cable may subscribe to.
    pub action_cable: Option<ActionCable>,
    /// Users, channels and pushes of the dialect `turted`.
    pub turted: Option<Turted>,
    /// Channels and sources of the dialect `notifications`.
    pub notifications: Option<Notifications>,
    /// Whether clients of Socket.IO 1 and 2 may connect.
    pub allows_eio3: bool,
    /// Secrets by which room keys may be signed. The first one signs. None: every client may join.
    pub secrets: Vec<Secret>,
    /// Whether `open: true` declares that every client may join.
    pub is_declared_open: bool,
    /// The longest time from now at which a key may still expire. Keys that are valid for longer are rejected.
    pub max_key_lifetime: Option<Duration>,
    /// Which keys are signed and accepted.
    pub bound_keys: BoundKeys,
    /// Whether a membership ends when the key expires with which its room was joined.
    pub ends_expired_memberships: bool,
    /// The tokens of its clients.
    pub token: Option<token::Settings>,
    /// The key set of its tokens that is read while the server runs.
    pub key_set: Option<KeySet>,
    /// How the application is asked who a connection is.
    pub auth: Option<Auth>,
    /// The keys that publishers send over HTTP.
    pub publish_keys: Vec<PublishKey>,
    /// History of its rooms.
    pub history: History,
    /// The mailboxes of its users. `None`: it has none.
    pub mailbox: Option<Mailbox>,
    /// Whether each room has its own channel in Redis, so that a server receives only the rooms of its members.
    pub channel_per_room: bool,
    /// Who is in its rooms. `None`: no room has presence.
    pub presence: Option<presence::Settings>,
    /// Of what the application is notified. `None`: of nothing.
    pub hooks: Option<Hooks>,
    /// How clients of Socket.IO are restored after a reconnect. `None`: they are not.
    pub connection_state: Option<Arc<connection_state::Settings>>,
    /// The pages of its visitors. `None`: it has none.
    pub pages: Option<PagesConfig>,
    /// The application that its clients may call. `None`: they may call nothing.
    pub calls: Option<Calls>,
    /// What its dialect `web_service` knows. `None`: it has another dialect.
    pub web_service: Option<web_service::Settings>,
}

/// The values of one map; `None` if the map does not have the key.
#[derive(Debug, Default)]
struct Written {
    redis: Option<Redis>,
    protocols: Option<Vec<Named>>,
    dialects: Option<Vec<Named>>,
    action_cable: Option<ActionCable>,
    turted: Option<Turted>,
    notifications: Option<Notifications>,
    allows_eio3: Option<bool>,
    secrets: Option<Vec<Secret>>,
    token: Option<(token::Settings, Option<KeySet>)>,
    /// `Some(None)`: it is written and wrong.
    auth: Option<Option<Auth>>,
    open: Option<bool>,
    max_key_lifetime: Option<Duration>,
    bound_keys: Option<BoundKeys>,
    ends_expired_memberships: Option<bool>,
    publish_keys: Option<Vec<PublishKey>>,
    history: Option<History>,
    /// `Some(None)`: `off` is written.
    mailbox: Option<Option<Mailbox>>,
    channel_per_room: Option<bool>,
    presence: Option<Option<presence::Settings>>,
    hooks: Option<(Option<Hooks>, Location)>,
    connection_state: Option<ConnectionState>,
    /// `Some(None)`: it is written and wrong.
    pages: Option<Option<PagesConfig>>,
    calls: Option<Option<Calls>>,
    web_service: Option<(web_service::Settings, Location)>,
}

/// A namespace that is being read.
struct Draft {
    name: String,
    written: Written,
    location: Location,
}

// === impl Namespace ===

impl Namespace {
    /// Returns an open namespace on the memory engine.
    pub fn named(name: &str) -> Self {
        Written::default().into_namespace(name)
    }

    /// Whether every client may join its rooms.
    pub fn is_open(&self) -> bool {
        !self.decides_by_dialect()
            && !is_action_cable_alone(&self.protocols)
            && self.secrets.is_empty()
            && self.auth.is_none()
            && (self.token.is_none() || self.is_declared_open)
    }

    /// Whether its rooms are open, and only clients with a token may connect.
    pub fn is_open_to_users(&self) -> bool {
        self.is_open() && self.token.as_ref().is_some_and(|token| token.is_required)
    }

    /// Whether a client without a key, a token and a signed name can be in one of its rooms.
    pub fn admits_strangers(&self) -> bool {
        let has = |name: &str| self.dialects.iter().any(|one| one.name == name);
        let is_unproven = self.token.is_none() && self.auth.is_none();
        let is_lenient =
            |turted: &Turted| matches!(turted.ident, Ident::AcceptAll) || turted.join == JoinPolicy::Open;
        self.is_open()
            || has("notifications") && is_unproven
            || has("turted") && self.turted.as_ref().is_some_and(is_lenient)
            || self.action_cable.as_ref().is_some_and(|cable| cable.has_public_streams)
            || self.web_service.as_ref().is_some_and(|settings| settings.public_room.is_some())
    }

    /// Whether its dialects decide who joins which room, and clients cannot ask for one in another way.
    pub fn decides_by_dialect(&self) -> bool {
        has_closed_dialect(&self.dialects) || is_closed_protocol(&self.protocols)
    }

    /// Whether one of its protocols decides about joins itself.
    pub fn has_closed_protocol(&self) -> bool {
        has_closed_protocol(&self.protocols)
    }

    /// The path of the WebSocket for clients of Action Cable.
    pub fn action_cable_path(&self) -> String {
        self.action_cable.clone().unwrap_or_default().path
    }

    /// Whether clients of Action Cable may connect.
    pub fn serves_action_cable(&self) -> bool {
        self.protocols.iter().any(|one| one.name == ACTION_CABLE)
    }

    /// Whether cookies say who a connection is.
    pub fn reads_cookies(&self) -> bool {
        let is_cookie = |source: &token::TokenSource| matches!(source, token::TokenSource::Cookie(_));
        let passes_cookies = |calls: &Calls| calls.cookies.as_ref().is_none_or(|names| !names.is_empty());
        self.auth.as_ref().is_some_and(|auth| !auth.cookies.is_empty())
            || self.token.as_ref().is_some_and(|token| token.sources.iter().any(is_cookie))
            || self.pages.is_some()
            || self.calls.as_ref().is_some_and(passes_cookies)
    }

    /// Signs a key for one of its rooms, in the format that `bound_keys` selects.
    ///
    /// # Errors
    /// The expiry does not have 13 digits, or is beyond the maximum lifetime; the text names the fix.
    pub fn sign_key(&self, room: &str, lifetime: Duration, now_ms: u64, secret: &Secret) -> Result<String, String> {
        let is_bound = self.bound_keys != BoundKeys::Accept;
        let default = is_bound.then(|| Duration::from_millis(key::MAX_BOUND_LIFETIME_MS));
        if let Some(max) = self.max_key_lifetime.or(default).filter(|max| lifetime > *max) {
            let (name, max) = (&self.name, max.as_secs());
            return Err(format!(
                "the server rejects keys of {name} that are valid for more than {max} s; sign a shorter one, or raise \
                 `max_key_lifetime`"
            ));
        }
        let expires_ms = now_ms.saturating_add(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
        let key = match is_bound {
            true => key::sign_bound(&self.name, room, expires_ms, secret),
            false => key::sign(room, expires_ms, secret),
        };
        key.map_err(|error| error.to_string())
    }

    /// Signs a key for at most this lifetime, or for what the server accepts.
    ///
    /// # Errors
    /// As [`Namespace::sign_key`].
    pub fn sign_short_key(
        &self,
        room: &str,
        at_most: Duration,
        now_ms: u64,
        secret: &Secret,
    ) -> Result<String, String> {
        let lifetime = self.max_key_lifetime.map_or(at_most, |max| max.min(at_most));
        self.sign_key(room, lifetime, now_ms, secret)
    }

    /// A publish key that may publish to all of these targets.
    pub fn publish_key(&self, topics: &[Topic<'_>]) -> Option<&Secret> {
        let allows_all = |one: &&PublishKey| topics.iter().all(|topic| one.allows(*topic));
        self.publish_keys.iter().find(allows_all).map(|one| &one.key)
    }
}

/// Reads all namespaces of a file. Other files are relative to `folder`. Returns an empty list if the file names none.
pub(super) fn read(top: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Vec<Namespace> {
    let (mut all, mut is_valid) = (Vec::new(), true);
    for entry in top.take_unknown(|name| name.starts_with('/')) {
        let is_name = check_name(&entry.name, entry.location, report);
        is_valid &= is_name;
        let name = if is_name { entry.name.as_str() } else { UNNAMED };
        let written = Written::read_below(entry, name, folder, report);
        all.push(Draft { name: name.to_owned(), written, location: entry.location });
    }
    let flat_keys: Vec<(&'static str, Location)> = keys::NAMESPACE
        .keys
        .iter()
        .filter(|key| !matches!(key.kind, keys::Kind::Gem) && top.has(key.name))
        .map(|key| (key.name, top.location_of(key.name)))
        .collect();
    let location = top.location_of("namespace");
    let mut named = top.text("namespace", report).map(|name| format!("/{}", name.trim_start_matches('/')));
    if let Some(name) = &mut named
        && !check_name(name, location, report)
    {
        is_valid = false;
        UNNAMED.clone_into(name);
    }
    let flat = Written::read(top, folder, report);
    if is_valid {
        check_flat(&flat_keys, named.as_deref(), &all, report);
    }
    let is_flat = !flat_keys.is_empty() || named.is_some();
    let target = named.or_else(|| all.first().map(|one| one.name.clone())).unwrap_or_else(|| DEFAULT.to_owned());
    match all.iter_mut().find(|one| one.name == target) {
        Some(one) => one.written = std::mem::take(&mut one.written).or(flat),
        None if is_flat => all.push(Draft { name: target, written: flat, location }),
        None => {}
    }
    check_strays(top, &all, report);
    check_shared_secrets(&all, report);
    check_paths(&all, report);
    all.into_iter().map(|draft| draft.finish(report)).collect()
}

/// Keys at the top belong to one namespace. Beside several it is not clear to which.
fn check_flat(flat: &[(&'static str, Location)], named: Option<&str>, all: &[Draft], report: &mut Report) {
    let closing = [
        "secret",
        "secret_file",
        "secrets",
        "token",
        "auth",
        "open",
        "publish_key",
        "publish_key_file",
        "max_key_lifetime",
        "bound_keys",
    ];
    let others: Vec<&str> = match named {
        Some(named) => all
            .iter()
            .filter(|one| one.name != named && one.written.is_undeclared())
            .map(|one| one.name.as_str())
            .collect(),
        None if all.len() > 1 => all.iter().map(|one| one.name.as_str()).collect(),
        None => return,
    };
    if others.is_empty() {
        return;
    }
    for (key, location) in flat {
        let what = format!(
            "{key} at the top of the file belongs to one namespace, but the file has {}",
            others.join(", ")
        );
        if closing.contains(key) {
            report.error(*location, what, format!("write {key} below each namespace that it is for"));
        } else if named.is_none() {
            report.warn(*location, what, format!("it counts for {} only; write it below its namespace", others[0]));
        }
    }
}

/// Warns about a secret that two namespaces share: a key that is not bound names a room, but no namespace.
fn check_shared_secrets(all: &[Draft], report: &mut Report) {
    let secrets = |draft: &'_ Draft| draft.written.secrets.clone().unwrap_or_default();
    for (index, two) in all.iter().enumerate() {
        let requires_bound = |draft: &Draft| draft.written.bound_keys == Some(BoundKeys::Require);
        let shares = |one: &&Draft| {
            let own = secrets(two);
            !(requires_bound(one) && requires_bound(two))
                && secrets(one).iter().any(|secret| own.iter().any(|other| other.as_bytes() == secret.as_bytes()))
        };
        if let Some(one) = all[..index].iter().find(shares) {
            let what = format!(
                "{} and {} have the same secret, so a key for one opens rooms of the other",
                one.name, two.name
            );
            report.warn(
                two.location,
                what,
                "give each namespace its own secret, or write `bound_keys: require` below both",
            );
        }
    }
}

/// Reports namespaces whose pages connect at one path.
fn check_paths(all: &[Draft], report: &mut Report) {
    let path = |draft: &Draft| {
        let has_paths = draft.written.protocols.as_deref().is_some_and(has_closed_protocol);
        let pages = draft.written.pages.as_ref()?.as_ref().filter(|_| has_paths);
        pages.map(|pages| pages.path.clone())
    };
    for (index, two) in all.iter().enumerate() {
        let Some(own) = path(two) else { continue };
        if let Some(one) = all[..index].iter().find(|one| path(one).as_ref() == Some(&own)) {
            let what = format!("{} and {} have the same `pages: path`", one.name, two.name);
            report.error(two.location, what, "write another `path` below one of them");
        }
    }
}

/// Rejects unknown keys at the top that leave a namespace open: a misspelt secret, or a namespace without its slash.
fn check_strays(top: &MapReader<'_>, all: &[Draft], report: &mut Report) {
    let is_open_by_omission = all.is_empty() || all.iter().any(|one| one.written.is_undeclared());
    if !is_open_by_omission {
        return;
    }
    for entry in top.unknown() {
        let name = entry.shown_key(|name| misspelt(name).is_some());
        if let Some(entries) = entry.node.entries() {
            if entries.iter().any(|one| TYPICAL.contains(&one.name.as_str())) {
                let what = format!("`{name}` looks like a namespace without its slash");
                report.error(entry.location, what, format!("write `/{name}:`"));
            } else if entries.iter().any(|one| one.name.starts_with('/')) {
                let what = format!("`{name}` looks like the section of another environment");
                report.error(
                    entry.location,
                    what,
                    "name it by NODEVENT_ENV, or add a section for this environment",
                );
            }
            continue;
        }
        if let Some(known) = misspelt(&entry.name) {
            let what = format!("unknown key `{name}`, and a namespace has no secret");
            let hint = format!(
                "did you mean `{known}`? For a namespace that every client may join, write `open: true` below it"
            );
            report.error(entry.location, what, hint);
        }
    }
}

/// Returns the key of a secret that an unknown key at the top was probably meant to be.
fn misspelt(name: &str) -> Option<&'static str> {
    const KEYS: [&str; 5] = ["secret", "secrets", "secret_file", "publish_key", "namespace"];
    let lower = name.to_lowercase();
    let similar = KEYS.into_iter().find(|key| strsim::damerau_levenshtein(&lower, key) <= 2);
    let is_about_secrets = ["secret", "token", "password", "key"].iter().any(|word| lower.contains(word));
    similar.or(is_about_secrets.then_some("secret"))
}

/// Reports a name that would collide with another name, in a path or in Redis.
fn check_name(name: &str, location: Location, report: &mut Report) -> bool {
    let is_char = |c: char| c.is_alphanumeric() || "-_.~".contains(c);
    let segments: Vec<&str> = name.trim_start_matches('/').split('/').collect();
    let problem = if name == "/" {
        return true;
    } else if name.len() > MAX_NAME {
        format!("is longer than {MAX_NAME} bytes")
    } else if segments.iter().any(|segment| segment.is_empty()) || name.starts_with("//") {
        "has an empty part".to_owned()
    } else if segments.iter().any(|segment| segment.chars().all(|c| c == '.')) {
        "has a part that consists of dots".to_owned()
    } else if let Some(c) = name.chars().find(|c| *c != '/' && !is_char(*c)) {
        format!("contains `{}`", c.escape_debug())
    } else if let Some(word) = segments.iter().skip(1).find(|segment| RESERVED.contains(segment)) {
        format!("contains `/{word}`, which the HTTP API uses")
    } else {
        return true;
    };
    let what = format!("the name of a namespace {problem}");
    report.error(location, what, "write letters, digits, `-`, `_`, `.` and `~`, in parts separated by `/`");
    false
}

// === impl Draft ===

impl Draft {
    fn finish(self, report: &mut Report) -> Namespace {
        let Self { name, mut written, location } = self;
        let has_secret = written.secrets.is_some() || written.token.is_some() || written.auth.is_some();
        written.check_dialects(&name, location, report);
        written.check_action_cable(&name, location, report);
        written.check_pages(&name, location, report);
        let has_secret = has_secret
            || written.has_closed_dialect()
            || written.is_action_cable_alone()
            || written.is_closed_by_protocol();
        match written.open {
            // With tokens it may be open: then they only say who a client is.
            Some(true) if written.secrets.is_some() => {
                let what = format!("{name} has a secret and `open: true`");
                report.error(location, what, "delete one of them: with a secret, joins need a key");
            }
            Some(false) if !has_secret => {
                let what = format!("{name} has `open: false` and no secret");
                report.error(location, what, "write `secret:`, e.g. from `openssl rand -hex 32`");
            }
            None if !has_secret => {
                let what = format!("{name} has no secret, so every client may join its rooms");
                report.warn(location, what, "write `secret:`, or `open: true` if that is intended");
            }
            _ => {}
        }
        let auth = written.auth.as_ref().and_then(Option::as_ref);
        let (settings, mailbox) = (written.web_service.as_ref(), written.mailbox.as_ref());
        // A mistake in `auth` is reported already.
        if written.auth.is_none() || auth.is_some() {
            web_service_keys::check(&name, written.is_web_service(), settings, auth, mailbox, location, report);
        }
        let location_of_hooks = written.hooks.as_ref().map_or(location, |(_, location)| *location);
        let connection_state = written.connection_state.take();
        let mut namespace = written.into_namespace(&name);
        namespace.connection_state =
            connection_state.and_then(|state| state.into_settings(&name, &namespace.secrets, report));
        if let Some(hooks) = &namespace.hooks {
            let has_presence = namespace.presence.is_some();
            super::hooks::check(hooks, &name, location_of_hooks, has_presence, &namespace.history, report);
        }
        namespace
    }
}

// === impl Written ===

impl Written {
    /// Reads the keys below the name of a namespace.
    fn read_below(entry: &Entry, name: &str, folder: &Path, report: &mut Report) -> Self {
        let Some(mut map) = MapReader::open(&entry.node, name, &keys::NAMESPACE, report) else {
            // The error is reported. Do not also report the namespace as open.
            return Self { open: Some(true), ..Self::default() };
        };
        let written = Self::read(&mut map, folder, report);
        if written.is_undeclared() {
            // A typo in the key of the secret must not open the namespace.
            for entry in map.take_unknown(|_| true) {
                let is_known = |name: &str| map.suggestion(name).is_some() || misspelt(name).is_some();
                let name = map.name(&entry.shown_key(is_known));
                let known = map.suggestion(&entry.name).unwrap_or("secret");
                let what = format!("unknown key `{name}` in a namespace without a secret");
                let hint = format!(
                    "did you mean `{known}`? For a namespace that every client may join, write `open: true` next to it"
                );
                report.error(entry.location, what, hint);
            }
        }
        map.finish(report);
        written
    }

    fn read(map: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Self {
        let path = map.name("redis");
        let redis = map.take("redis").and_then(|node| Redis::read(node, &path, folder, report));
        let path = map.name("history");
        let history = map.take("history").map(|node| History::read(node, &path, report));
        let path = map.name("mailbox");
        let mailbox = map.take("mailbox").map(|node| Mailbox::read(node, &path, report));
        let path = map.name("presence");
        let presence = map.take("presence").map(|node| super::presence::read(node, &path, report));
        let (path, location) = (map.name("hooks"), map.location_of("hooks"));
        let hooks = map.take("hooks").map(|node| (super::hooks::read(node, &path, folder, report), location));
        let (path, location) =
            (map.name("connection_state_recovery"), map.location_of("connection_state_recovery"));
        let connection_state = map
            .take("connection_state_recovery")
            .map(|node| ConnectionState::read(node, &path, location, folder, report));
        let path = map.name("pages");
        let pages = map.take_entry("pages").map(|entry| super::pages::read(&entry.node, &path, folder, report));
        let path = map.name("calls");
        let calls = map.take_entry("calls").map(|entry| super::calls::read(&entry.node, &path, folder, report));
        let path = map.name("token");
        let token = map.take_entry("token").map(|entry| super::token::read(&entry.node, &path, folder, report));
        let dialects = Some(read_names(map, "dialect", report)).filter(|names| !names.is_empty());
        let is_web_service = dialects.iter().flatten().any(|one| web_service_keys::is_dialect(&one.name));
        let path = map.name("auth");
        let auth = map
            .take_entry("auth")
            .map(|entry| super::application::read(&entry.node, &path, folder, is_web_service, report));
        let path = map.name("action_cable");
        let action_cable =
            map.take_entry("action_cable").map(|entry| action_cable::read(&entry.node, &path, folder, report));
        let path = map.name("turted");
        let turted = map.take_entry("turted").map(|entry| super::turted::read(&entry.node, &path, folder, report));
        let path = map.name("notifications");
        let notifications = map
            .take_entry("notifications")
            .map(|entry| super::notifications::read(&entry.node, &path, folder, report));
        // Keys of the gem.
        map.take("url");
        map.take("publisher");
        Self {
            redis,
            history,
            mailbox,
            secrets: credentials::secrets(map, folder, report),
            token,
            auth,
            open: map.flag("open", report),
            publish_keys: credentials::publish_keys(map, folder, report),
            max_key_lifetime: map.positive_duration("max_key_lifetime", report),
            bound_keys: map.word("bound_keys", report).map(|word| match word.as_str() {
                "require" => BoundKeys::Require,
                "sign" => BoundKeys::Sign,
                _ => BoundKeys::Accept,
            }),
            ends_expired_memberships: map.word("expiry", report).map(|word| word == "leave"),
            protocols: Some(read_names(map, "protocol", report)).filter(|names| !names.is_empty()),
            dialects,
            action_cable,
            turted,
            notifications,
            allows_eio3: map.flag("allow_eio3", report),
            channel_per_room: map.flag("channel_per_room", report),
            presence,
            hooks,
            connection_state,
            pages,
            calls,
            web_service: web_service_keys::read(map, report),
        }
    }

    /// Returns the values of `self`, and those of `below` for what `self` does not say.
    fn or(self, below: Self) -> Self {
        // A secret at the top does not close a namespace that declares itself open.
        let (secrets, token, auth, open) = match (self.secrets, self.token, self.auth, self.open) {
            (None, None, None, None) => (below.secrets, below.token, below.auth, below.open),
            written => written,
        };
        Self {
            secrets,
            token,
            auth,
            open,
            redis: self.redis.or(below.redis),
            protocols: self.protocols.or(below.protocols),
            dialects: self.dialects.or(below.dialects),
            action_cable: self.action_cable.or(below.action_cable),
            turted: self.turted.or(below.turted),
            notifications: self.notifications.or(below.notifications),
            allows_eio3: self.allows_eio3.or(below.allows_eio3),
            max_key_lifetime: self.max_key_lifetime.or(below.max_key_lifetime),
            bound_keys: self.bound_keys.or(below.bound_keys),
            ends_expired_memberships: self.ends_expired_memberships.or(below.ends_expired_memberships),
            publish_keys: self.publish_keys.or(below.publish_keys),
            history: self.history.or(below.history),
            mailbox: self.mailbox.or(below.mailbox),
            channel_per_room: self.channel_per_room.or(below.channel_per_room),
            presence: self.presence.or(below.presence),
            hooks: self.hooks.or(below.hooks),
            connection_state: self.connection_state.or(below.connection_state),
            pages: self.pages.or(below.pages),
            calls: self.calls.or(below.calls),
            web_service: self.web_service.or(below.web_service),
        }
    }

    /// Whether it says neither that the namespace is closed nor that it is open.
    fn is_undeclared(&self) -> bool {
        self.secrets.is_none()
            && self.token.is_none()
            && self.auth.is_none()
            && self.open.is_none()
            && !self.has_closed_dialect()
            && !self.is_action_cable_alone()
            && !self.is_closed_by_protocol()
    }

    /// Whether no other clients connect than those of Action Cable.
    fn is_action_cable_alone(&self) -> bool {
        self.protocols.as_deref().is_some_and(is_action_cable_alone)
    }

    /// Reports what contradicts the protocol `action_cable`.
    fn check_action_cable(&self, name: &str, location: Location, report: &mut Report) {
        let is_served = self.protocols.iter().flatten().any(|one| one.name == ACTION_CABLE);
        action_cable::check(self.action_cable.as_ref(), name, is_served, self.redis.as_ref(), location, report);
        let is_without_handlers = self.calls.iter().flatten().any(|calls| calls.handlers.is_none());
        if self.is_action_cable_alone() && is_without_handlers {
            let what = format!("{name}.calls has no `handlers`, so no channel in Ruby is called");
            report.warn(location, what, "write `handlers: /nodevent/cable` below `calls`");
        }
        let is_without_handlers = self.calls.iter().flatten().any(|calls| calls.handlers.is_none());
        if self.is_action_cable_alone() && is_without_handlers {
            let what = format!("{name}.calls has no `handlers`, so no channel in Ruby is called");
            report.warn(location, what, "write `handlers: /nodevent/cable` below `calls`");
        }
        if self.is_action_cable_alone() && self.open == Some(true) {
            let what = format!("{name} has `open: true`, but clients of Action Cable show signed names of streams");
            let hint =
                "delete `open`; for streams without a signed name, write `action_cable: {public_streams: true}`";
            report.error(location, what, hint);
        } else if is_served && !self.is_action_cable_alone() && self.open == Some(true) {
            let what = format!(
                "{name} shares `protocol: {ACTION_CABLE}` with another protocol and has `open: true`, so every client may \
                 join every stream"
            );
            report.error(location, what, "write `secret: <random text>` instead of `open`, or use two namespaces");
        } else if is_served && self.is_undeclared() {
            let what = format!(
                "{name} shares `protocol: {ACTION_CABLE}` with another protocol and has no secret, so every client may \
                 join every stream"
            );
            report.error(location, what, "write `secret: <random text>`, or use two namespaces");
        }
    }

    /// Whether its dialects decide who joins which room.
    fn has_closed_dialect(&self) -> bool {
        self.dialects.as_deref().is_some_and(has_closed_dialect)
    }

    /// Whether its only protocol decides who joins which room.
    fn is_closed_by_protocol(&self) -> bool {
        self.protocols.as_deref().is_some_and(is_closed_protocol)
    }

    /// Whether clients that join rooms themselves may also belong to pages.
    fn serves_pages(&self) -> bool {
        let protocols = self.protocols.as_deref();
        let speaks = |name: &str| protocols.is_some_and(|all| all.iter().any(|one| one.name == name));
        let is_default = protocols.is_none_or(<[Named]>::is_empty);
        let has_dialect = self.dialects.iter().flatten().all(|one| one.name == DIALECT);
        speaks(PLAIN) || ((is_default || speaks(PROTOCOL)) && has_dialect)
    }

    /// Reports what contradicts the protocol of pages.
    fn check_pages(&self, name: &str, location: Location, report: &mut Report) {
        let has_protocol = self.protocols.as_deref().is_some_and(has_closed_protocol);
        match &self.pages {
            None if has_protocol => {
                let what = format!("{name} has `protocol: {CLOSED_PROTOCOL}` and no `pages`");
                report.error(location, what, "write `pages: {secret: <random text>}` below it");
            }
            Some(_) if !has_protocol && !self.serves_pages() => {
                let what = format!("{name} has `pages` without a protocol for them");
                let hint = format!(
                    "write `protocol: {PROTOCOL}` with `dialect: {DIALECT}`, `protocol: {PLAIN}` or `protocol: {CLOSED_PROTOCOL}`"
                );
                report.error(location, what, hint);
            }
            _ => {}
        }
        if has_protocol && self.open == Some(true) {
            let what = format!("{name} has `open: true`, but `protocol: {CLOSED_PROTOCOL}` decides who joins");
            report.error(location, what, "delete `open`");
        } else if has_protocol && !self.is_closed_by_protocol() && self.is_undeclared() {
            let what =
                format!("{name} shares `protocol: {CLOSED_PROTOCOL}` with another protocol and has no secret");
            report.error(location, what, "write `secret: <random text>`, or use two namespaces");
        }
    }

    /// Reports what contradicts the dialects of a namespace.
    fn check_dialects(&self, name: &str, location: Location, report: &mut Report) {
        let dialects = self.dialects.as_deref().unwrap_or_default();
        let is_closed = |one: &Named| CLOSED_DIALECTS.contains(&one.name.as_str());
        if dialects.len() > 1 && !dialects.iter().all(is_closed) {
            let hint = format!("write one of them, or several of {}", CLOSED_DIALECTS.join(" and "));
            report.error(location, format!("the dialects of {name} cannot share a namespace"), hint);
        }
        if self.has_closed_dialect() && self.open == Some(true) {
            let what = format!("{name} has `open: true`, but its dialect decides who joins");
            report.error(location, what, "delete `open`; write who may join below the key of the dialect");
        }
        let has = |dialect: &str| dialects.iter().any(|one| one.name == dialect);
        match &self.turted {
            None if has("turted") => {
                let what = format!("{name} has no `turted`, so no user is accepted and nothing can be pushed");
                report.warn(location, what, "write `turted: {ident: …, push: {password: …}}` below it");
            }
            Some(_) if !has("turted") => {
                report.error(
                    location,
                    format!("{name} has `turted` without its dialect"),
                    "write `dialect: turted`",
                );
            }
            Some(Turted { push: Some(push), .. }) if push.redis_channel.is_some() && self.redis.is_none() => {
                let what = format!("{name}.turted.push has a `redis_channel`, and {name} has no `redis`");
                report.error(location, what, "write `redis:` below the namespace");
            }
            _ => {}
        }
        match &self.notifications {
            None if has("notifications") => {
                let what = format!("{name} has no `notifications`, so there is no channel");
                report.error(location, what, "write `notifications: {channels: [notif]}` below it");
            }
            Some(_) if !has("notifications") => {
                let what = format!("{name} has `notifications` without its dialect");
                report.error(location, what, "write `dialect: notifications`");
            }
            Some(one) if one.sources.has_http && self.publish_keys.is_none() => {
                let what = format!("{name}.notifications has `http: true`, and {name} has no publish key");
                report.error(location, what, "write `publish_key: <random text>` below the namespace");
            }
            _ => {}
        }
    }

    fn is_web_service(&self) -> bool {
        self.dialects.iter().flatten().any(|one| web_service_keys::is_dialect(&one.name))
    }

    fn into_namespace(self, name: &str) -> Namespace {
        let settings = self.web_service.as_ref().map(|(settings, _)| settings.clone());
        let special = self.is_web_service().then(|| web_service_keys::defaults(settings));
        let (web_service, mailbox, history) = match special {
            Some(special) => (Some(special.settings), special.mailbox, special.history),
            None => (None, None, History::default()),
        };
        let (token, key_set) = self.token.map_or((None, None), |(token, key_set)| (Some(token), key_set));
        let has_channels = self.protocols.as_deref().is_some_and(has_closed_protocol);
        Namespace {
            name: name.to_owned(),
            redis: self.redis,
            protocols: self.protocols.unwrap_or_else(|| vec![Named::default_of(PROTOCOL)]),
            dialects: self.dialects.unwrap_or_else(|| vec![Named::default_of(DIALECT)]),
            action_cable: self.action_cable,
            turted: self.turted,
            notifications: self.notifications,
            allows_eio3: self.allows_eio3.unwrap_or(true),
            secrets: self.secrets.unwrap_or_default(),
            is_declared_open: self.open == Some(true),
            max_key_lifetime: self.max_key_lifetime,
            bound_keys: self.bound_keys.unwrap_or_default(),
            ends_expired_memberships: self.ends_expired_memberships.unwrap_or(false),
            token,
            key_set,
            auth: self.auth.flatten(),
            publish_keys: self.publish_keys.unwrap_or_default(),
            history: self.history.unwrap_or(history),
            mailbox: self.mailbox.unwrap_or(mailbox),
            channel_per_room: self.channel_per_room.unwrap_or(false),
            presence: self.presence.unwrap_or_default(),
            hooks: self.hooks.and_then(|(hooks, _)| hooks),
            connection_state: None,
            pages: self.pages.flatten().map(|pages| pages.with_channels(has_channels)),
            calls: self.calls.flatten(),
            web_service,
        }
    }
}

fn is_action_cable_alone(protocols: &[Named]) -> bool {
    !protocols.is_empty() && protocols.iter().all(|one| one.name == ACTION_CABLE)
}

fn has_closed_dialect(dialects: &[Named]) -> bool {
    dialects.iter().any(|one| CLOSED_DIALECTS.contains(&one.name.as_str()))
}

fn has_closed_protocol(protocols: &[Named]) -> bool {
    protocols.iter().any(|one| one.name == CLOSED_PROTOCOL)
}

/// Whether this is the only protocol.
fn is_closed_protocol(protocols: &[Named]) -> bool {
    has_closed_protocol(protocols) && protocols.len() == 1
}

/// Reads a name or a list of names, each once.
fn read_names(map: &mut MapReader<'_>, key: &'static str, report: &mut Report) -> Vec<Named> {
    let mut names: Vec<Named> = Vec::new();
    for (name, location) in map.texts(key, report) {
        if !names.iter().any(|one| one.name == name) {
            names.push(Named { name, location: Some(location) });
        }
    }
    names
}

// === impl Named ===

impl Named {
    fn default_of(name: &str) -> Self {
        Self { name: name.to_owned(), location: None }
    }

    /// Reports a name that is not known.
    pub(super) fn check(&self, kind: &str, known: &[&str], report: &mut Report) {
        if known.contains(&self.name.as_str()) {
            return;
        }
        let what = format!("there is no {kind} of this name in this version");
        let hint = format!("write one of: {}", known.join(", "));
        report.error(self.location.unwrap_or(Location::START), what, hint);
    }
}
