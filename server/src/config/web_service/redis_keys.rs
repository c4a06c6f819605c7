//! `redis` in `config.yml`: options of the old client of Redis.

use super::super::tree::{Entry, Value};
use super::mapping::{Mapper, Setting};
use percent_encoding::percent_decode_str;
use url::Url;

/// The host without a key.
const HOST: &str = "127.0.0.1";
/// The port without a key.
const PORT: &str = "6379";
/// Options of the old client that have a counterpart.
pub(super) const KNOWN: [&str; 11] =
    ["url", "host", "port", "auth_pass", "password", "user", "username", "db", "database", "prefix", "tls"];
/// Options that tune the old client.
const UNNEEDED: [&str; 18] = [
    "parser",
    "string_numbers",
    "return_buffers",
    "detect_buffers",
    "socket_keepalive",
    "socket_initialdelay",
    "socket_initial_delay",
    "socket_nodelay",
    "no_ready_check",
    "enable_offline_queue",
    "retry_max_delay",
    "retry_strategy",
    "retry_unfulfilled_commands",
    "connect_timeout",
    "max_attempts",
    "family",
    "command_queue_high_water",
    "command_queue_low_water",
];
/// Options that change which Redis is used or how it is secured, with the hint.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("path", "let Redis listen on a port, and write host and port"),
    ("unix_socket", "let Redis listen on a port, and write host and port"),
    ("rename_commands", "give the server an ACL user with the commands that it needs (docs/server.md)"),
    ("disable_resubscribing", "delete it: the server subscribes again after a lost connection"),
];

/// Translates `redis`. Without it, `REDIS_URL` or a Redis on this machine counts, as before.
pub(super) fn map(
    setting: Option<&Setting>,
    variable: &dyn Fn(&str) -> Option<String>,
    mapper: &mut Mapper,
) -> Entry {
    let Some(setting) = setting.filter(|one| one.has_value()) else {
        if let Some(url) = variable("REDIS_URL").map(|url| Setting::of_variable("url", "REDIS_URL", url)) {
            let entries = from_url(&url, mapper);
            return mapper.map(&url, "redis", entries);
        }
        mapper.explain_default(&format!("all sites use the Redis at {HOST}:{PORT} (`redis`)"));
        let host = mapper.default("host", Value::Scalar(HOST.to_owned()));
        let port = mapper.default("port", Value::Scalar(PORT.to_owned()));
        return mapper.default("redis", Value::Map(vec![host, port]));
    };
    if setting.node.entries().is_none() {
        mapper.error(setting, "has no keys", "write `host`, `port` and `auth_pass`, or `url`, below it");
    }
    let below = setting.below();
    let mut entries = Vec::new();
    let url = below.iter().find(|one| one.name == "url" && one.has_value());
    if let Some(url) = url {
        entries.extend(from_url(url, mapper));
    }
    for one in &below {
        match one.name.as_str() {
            "url" => {}
            "host" | "port" if url.is_some() => {
                mapper.explain(one, "does not count, because `url` names the server")
            }
            _ => entries.extend(key(one, mapper)),
        }
    }
    if url.is_none() && !entries.iter().any(|entry| entry.name == "host") {
        mapper.explain_default(&format!("Redis is on {HOST} (`redis: host`)"));
        entries.push(mapper.default("host", Value::Scalar(HOST.to_owned())));
    }
    if let Some(twice) = duplicate(&entries) {
        let hint = "delete all but one: of `auth_pass` and `password`, or what the URL says already";
        mapper.error(setting, &format!("has two values for `{twice}`"), hint);
    }
    mapper.map(setting, "redis", entries)
}

/// Returns a key of ours that has two entries.
fn duplicate(entries: &[Entry]) -> Option<&str> {
    let is_again = |index: usize, name: &str| entries[..index].iter().any(|one| one.name == name);
    entries.iter().enumerate().find(|(index, one)| is_again(*index, &one.name)).map(|(_, one)| one.name.as_str())
}

fn key(setting: &Setting, mapper: &mut Mapper) -> Option<Entry> {
    let name = setting.name.as_str();
    if UNNEEDED.contains(&name) {
        mapper.explain(setting, "is not needed: it tuned the old client of Redis");
        return None;
    }
    if let Some((_, hint)) = UNSUPPORTED.iter().find(|(one, _)| *one == name) {
        mapper.error(setting, "is not supported", *hint);
        return None;
    }
    if !KNOWN.contains(&name) {
        mapper.unknown(setting, &KNOWN);
        return None;
    }
    if name == "tls" {
        return tls(setting, mapper);
    }
    let text = mapper.text(setting)?;
    let (ours, meaning, text) = match name {
        "host" => ("host", "the host of Redis (`redis: host`)", text),
        "port" => ("port", "the port of Redis (`redis: port`)", text),
        "auth_pass" | "password" => ("password", "the password of Redis (`redis: password`)", text),
        "user" | "username" => ("username", "the ACL user of Redis (`redis: username`)", text),
        "db" | "database" => ("db", "the number of the database (`redis: db`)", text),
        _ => ("prefix", "names of keys begin with it (`redis: prefix`)", text.trim_end_matches(':').to_owned()),
    };
    mapper.explain(setting, meaning);
    Some(mapper.entry(setting, ours, text))
}

/// `tls: {}` and `tls: true` turn TLS on. Its options are texts of certificates, not files.
fn tls(setting: &Setting, mapper: &mut Mapper) -> Option<Entry> {
    if let Value::Map(entries) = &setting.node.value {
        if !entries.is_empty() {
            let hint =
                "run `nodevent migrate` without it, then write `redis: {ssl: {ca: ca.pem}}` into the new file";
            mapper.error(setting, "has options, which are not supported", hint);
            return None;
        }
    } else if !mapper.flag(setting)? {
        mapper.explain(setting, "the connection to Redis is not encrypted");
        return None;
    }
    mapper.explain(setting, "the connection to Redis uses TLS, with the certificates of the system (`redis: tls`)");
    Some(mapper.entry(setting, "tls", "true"))
}

/// Translates a URL. The password becomes an entry of its own, so that it can be written into a file of its own.
fn from_url(setting: &Setting, mapper: &mut Mapper) -> Vec<Entry> {
    let Some(text) = mapper.text(setting) else { return Vec::new() };
    mapper.explain(setting, "the address of Redis (`redis: url`)");
    let Ok(mut url) = Url::parse(&text) else {
        // Its reader reports what is wrong.
        return vec![mapper.entry(setting, "url", text)];
    };
    let password = url.password().map(|word| percent_decode_str(word).decode_utf8_lossy().into_owned());
    let Some(password) = password.filter(|_| url.set_password(None).is_ok()) else {
        return vec![mapper.entry(setting, "url", text)];
    };
    let url = mapper.entry(setting, "url", url.as_str());
    vec![url, mapper.entry(setting, "password", password)]
}
