//! `sites.yml`, or the only site of the environment: one namespace each.

use super::super::tree::{Entry, Value};
use super::files::Text;
use super::mapping::{Mapper, Setting, shown_site};
use super::server_keys::Shared;

/// The keys of a site, with the variable of a site that comes from the environment, and what they mean.
const KEYS: [(&str, &str, &str); 7] = [
    ("authUrl", "AUTH_URL", "the application is asked there who a client is, and for its rooms (`auth: url`)"),
    ("authScheme", "AUTH_SCHEME", "the word before the token in the header of that request (`auth: scheme`)"),
    ("apiKey", "API_KEY", "the key of POST /send (`publish_key`); the header X-Api-Key can carry it too"),
    ("userRoomPrefix", "USER_ROOM_PREFIX", "rooms that begin with it belong to one user (`user_room_prefix`)"),
    (
        "updateUserUrl",
        "UPDATE_USER_URL",
        "the application is notified there of users who connect and disconnect (`update_user_url`)",
    ),
    ("publicChannel", "PUBLIC_CHANNEL", "a room that every client is in, also one without a token (`public_room`)"),
    ("eventPrefix", "EVENT_PREFIX", "the names of `batch` and `resync` begin with it (`event_prefix`)"),
];
/// The keys of a site.
pub(super) const NAMES: [&str; 7] =
    ["authUrl", "authScheme", "apiKey", "userRoomPrefix", "updateUserUrl", "publicChannel", "eventPrefix"];
/// The variable that names the site of the environment.
const NAME: &str = "SITE_NAME";

/// One site.
pub(super) struct Site {
    /// The name of its namespace, without the slash.
    name: String,
    /// Where its name is written.
    named: Setting,
    settings: Vec<Setting>,
}

/// Finds the sites. If the environment names one, it is the only one, as in SocketIO Web Service.
pub(super) fn sites(
    text: Option<&Text>,
    variable: &dyn Fn(&str) -> Option<String>,
    mapper: &mut Mapper,
) -> Vec<Site> {
    if let Some(name) = variable(NAME) {
        let named = Setting::of_variable("", NAME, name.clone());
        mapper.explain(&named, "is the only site");
        if let Some(text) = text {
            let hint = format!("unset {NAME}, or delete the file");
            let what = format!("names the only site, so {} does not count", text.path.display());
            mapper.warn(&named, &what, hint);
        }
        let names = KEYS.into_iter().map(|(name, variable, _)| (name, variable));
        let of = |(name, of): (&str, &str)| variable(of).map(|value| Setting::of_variable(name, of, value));
        let settings = names.filter_map(of).collect();
        return vec![Site { name, named, settings }];
    }
    let settings = text.map(|text| Setting::of_file(&text.path, &text.root)).unwrap_or_default();
    if settings.is_empty() {
        let hint = "write sites.yml in the folder or in its folder config, or set SITE_NAME, AUTH_URL, AUTH_SCHEME and API_KEY";
        mapper.error_without_location("there is no site", hint);
    }
    let mut sites = Vec::new();
    for setting in settings {
        if setting.node.entries().is_none() {
            mapper.error(&setting, "is not a site", "write authUrl, authScheme and apiKey below its name");
            continue;
        }
        let named = setting.clone().shown_as(&shown_site(&setting.name));
        let settings = named.below();
        sites.push(Site { name: setting.name, named, settings });
    }
    sites
}

/// Translates a site into a namespace.
pub(super) fn map(site: &Site, shared: &Shared, mapper: &mut Mapper) -> Option<Entry> {
    let Site { name, named, settings } = site;
    for setting in settings.iter().filter(|one| !NAMES.contains(&one.name.as_str())) {
        mapper.unknown(setting, &NAMES);
    }
    let mut take = |name: &str| {
        let setting = settings.iter().find(|one| one.name == name)?;
        let text = mapper.text(setting)?;
        let meaning = KEYS.iter().find(|(one, ..)| *one == name).map_or("", |(.., meaning)| meaning);
        mapper.explain(setting, meaning);
        Some((setting, text))
    };
    let (url, scheme, key) = (take("authUrl"), take("authScheme"), take("apiKey"));
    let (public_channel, event_prefix) = (take("publicChannel"), take("eventPrefix"));
    let (prefix, update_url) = (take("userRoomPrefix"), take("updateUserUrl"));
    for (taken, missing, hint) in [
        (
            &url,
            "has no authUrl, so no client could connect",
            "write `authUrl: https://www.example.com/socketrooms`",
        ),
        (
            &scheme,
            "has no authScheme: the application would receive the word undefined",
            "write `authScheme: Bearer`",
        ),
        (
            &key,
            "has no apiKey, so nothing could send to it",
            "write `apiKey:` with a text of `openssl rand -hex 32`",
        ),
    ] {
        if taken.is_none() {
            mapper.error(named, missing, hint);
        }
    }
    let (url, scheme, key) = (url?, scheme?, key?);
    check_key(key.0, &key.1, mapper);
    if shared.is_later && event_prefix.is_none() && prefix.is_some() {
        let what = "is of a version that may have sent `_batch` and `_resync`; pages receive `batch` and `resync`";
        mapper.warn(named, what, "if they listen to the names with `_`, write `eventPrefix: _` below the site");
    }
    let auth = vec![mapper.entry(url.0, "url", url.1), mapper.entry(scheme.0, "scheme", scheme.1)];
    let mut entries = vec![
        mapper.default("dialect", Value::Scalar("web_service".to_owned())),
        mapper.map(url.0, "auth", auth),
        mapper.entry(key.0, "publish_key", key.1),
    ];
    match prefix {
        Some((setting, prefix)) => {
            entries.push(mapper.entry(setting, "user_room_prefix", prefix));
            entries.push(shared.mailbox.clone());
            entries.extend(update_url.map(|(setting, url)| mapper.entry(setting, "update_user_url", url)));
        }
        None => {
            if let Some((setting, _)) = update_url {
                let what = "has no effect without userRoomPrefix, because no room belongs to a user";
                mapper.warn(setting, what, "write `userRoomPrefix`, or delete it");
            }
            mapper.explain_default(&format!("{}: no room belongs to one user, so nothing is kept", named.key()))
        }
    }
    for (taken, ours) in [(public_channel, "public_room"), (event_prefix, "event_prefix")] {
        entries.extend(taken.map(|(setting, text)| mapper.entry(setting, ours, text)));
    }
    entries.push(shared.redis.clone());
    entries.extend(shared.allow_eio3.clone());
    Some(mapper.map(named, &format!("/{name}"), entries))
}

/// The old reader of YAML took some unquoted texts for numbers, and changed them.
fn check_key(setting: &Setting, text: &str, mapper: &mut Mapper) {
    let is_digit = |c: char| c.is_ascii_hexdigit() || "xob_+-.e".contains(c);
    let is_number =
        text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') && text.chars().all(is_digit);
    let is_plain = text.chars().all(|c| c.is_ascii_digit()) && !text.starts_with('0') && text.len() < 16;
    if is_number && !is_plain {
        let hint = "if it is not in quotes, publishers may have to send it as it is written";
        mapper.warn(setting, "looks like a number that SocketIO Web Service may have read as another text", hint);
    }
}
