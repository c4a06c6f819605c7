//! `config.yml`: the keys of a section, except for those below `redis` and `io`.

use super::super::tree::{Entry, Value};
use super::files::Text;
use super::mapping::{Mapper, Setting};
use super::{io_keys, redis_keys};

/// The port that SocketIO Web Service used without a key.
const PORT: &str = "1337";
/// How long it kept messages for users who were not connected, without a key. Seconds.
const TTL: u64 = 3600;
/// Ten years, the longest duration of our configuration. Seconds.
const MAX_TTL: u64 = 3650 * 86_400;
/// Documented keys. `device_ttl` is the later name of `client_ttl`.
pub(super) const KNOWN: [&str; 9] =
    ["port", "client_ttl", "device_ttl", "redis", "flakeid", "io", "winston", "airbrake", "servers"];

/// Settings that hold for every site.
pub(super) struct Shared {
    /// `redis`.
    pub(super) redis: Entry,
    /// `mailbox`, for a site with user rooms.
    pub(super) mailbox: Entry,
    /// `allow_eio3`.
    pub(super) allow_eio3: Option<Entry>,
    /// Whether the files are those of a later version, which sent `_batch` and `_resync`.
    pub(super) is_later: bool,
}

/// The keys of our configuration that come from `config.yml`.
pub(super) struct Server {
    /// Those at the top.
    pub(super) top: Vec<Entry>,
    pub(super) shared: Shared,
}

/// Translates a section of `config.yml`, and the variables that take precedence.
pub(super) fn map(text: Option<&Text>, variable: &dyn Fn(&str) -> Option<String>, mapper: &mut Mapper) -> Server {
    let settings = text.map(|text| Setting::of_file(&text.path, &text.root)).unwrap_or_default();
    let get = |name: &str| settings.iter().find(|one| one.name == name);
    let mut top = vec![port(get("port"), variable, mapper)];
    let is_later =
        get("device_ttl").is_some() || ["DEVICE_TTL", "SITE_NAME"].iter().any(|name| variable(name).is_some());
    let ttl = ttl(get("client_ttl"), get("device_ttl"), variable, mapper);
    let redis = redis_keys::map(get("redis"), variable, mapper);
    let io = io_keys::map(get("io"), mapper);
    top.extend(io.top);
    for setting in &settings {
        match setting.name.as_str() {
            "port" | "client_ttl" | "device_ttl" | "redis" | "io" => {}
            "flakeid" => flakeid(setting, mapper),
            "winston" => top.extend(log(setting, mapper)),
            "airbrake" => mapper.warn(
                setting,
                "is not supported: errors are not sent to a service",
                "watch the log and the metrics (docs/metrics.md), then delete it",
            ),
            "servers" => mapper.explain(setting, "is read by the deployment only"),
            _ => mapper.unknown(setting, &KNOWN),
        }
    }
    // Publishing without a key, which a development machine may allow, was not possible.
    top.push(mapper.default("publish", Value::Scalar("key".to_owned())));
    Server { top, shared: Shared { redis, mailbox: ttl, allow_eio3: io.allow_eio3, is_later } }
}

fn port(setting: Option<&Setting>, variable: &dyn Fn(&str) -> Option<String>, mapper: &mut Mapper) -> Entry {
    if let Some(setting) = variable("PORT").map(|port| Setting::of_variable("port", "PORT", port)) {
        if let Some(port) = mapper.number(&setting, 0, 65_535) {
            mapper
                .explain(&setting, format!("the server listens on port {port} (`port`), whatever config.yml says"));
            return mapper.entry(&setting, "port", port.to_string());
        }
        return mapper.default("port", Value::Scalar(PORT.to_owned()));
    }
    if let Some(setting) = setting
        && let Some(port) = mapper.number(setting, 0, 65_535)
    {
        mapper.explain(setting, format!("the server listens on port {port} (`port`)"));
        return mapper.entry(setting, "port", port.to_string());
    }
    mapper.explain_default(&format!("the server listens on port {PORT} (`port`)"));
    mapper.default("port", Value::Scalar(PORT.to_owned()))
}

fn ttl(
    client: Option<&Setting>,
    device: Option<&Setting>,
    variable: &dyn Fn(&str) -> Option<String>,
    mapper: &mut Mapper,
) -> Entry {
    let written = |one: Option<&Setting>| one.filter(|setting| setting.has_value()).cloned();
    let (client, device) = (written(client), written(device));
    if let (Some(client), Some(device)) = (&client, &device)
        && client.node.value != device.node.value
    {
        let hint = format!("delete {} or {}; `client_ttl` is the older name", client.key(), device.key());
        mapper.error(device, "and client_ttl have different values", hint);
    }
    let of_environment = || variable("DEVICE_TTL").map(|ttl| Setting::of_variable("device_ttl", "DEVICE_TTL", ttl));
    let setting = client.or(device).or_else(of_environment);
    let mailbox = |mapper: &mut Mapper, setting: &Setting, ttl: u64| {
        let age = mapper.entry(setting, "age", age(ttl));
        mapper.map(setting, "mailbox", vec![age])
    };
    match setting {
        Some(setting) => {
            // A wrong number is an error, whatever is returned.
            let ttl = mapper.number(&setting, 0, MAX_TTL).unwrap_or(TTL);
            let meaning = match ttl {
                0 => "messages of a user are kept until they are acknowledged, also those of users who were never connected \
                      (`mailbox: age`)"
                    .to_owned(),
                ttl => format!("messages of a user are kept for {ttl} s while the user is not connected (`mailbox: age`)"),
            };
            mapper.explain(&setting, meaning);
            mailbox(mapper, &setting, ttl)
        }
        None => {
            mapper.explain_default(&format!(
                "messages of a user are kept for {TTL} s while the user is not connected (`mailbox: age`)"
            ));
            let age = mapper.default("age", Value::Scalar(age(TTL)));
            mapper.default("mailbox", Value::Map(vec![age]))
        }
    }
}

/// Writes seconds as our configuration does.
fn age(seconds: u64) -> String {
    if seconds == 0 { "0".to_owned() } else { format!("{seconds}s") }
}

fn flakeid(setting: &Setting, mapper: &mut Mapper) {
    let known = ["datacenter", "worker", "id", "epoch", "seqMask"];
    for below in setting.below() {
        match known.contains(&below.name.as_str()) {
            true => mapper.explain(
                &below,
                "is not needed: the engine numbers messages for all servers, in order and without duplicates",
            ),
            false => mapper.unknown(&below, &known),
        }
    }
}

/// `winston`: the level of its console is the level of the log.
fn log(setting: &Setting, mapper: &mut Mapper) -> Option<Entry> {
    let mut level = None;
    for transport in setting.below() {
        if transport.name != "console" {
            let hint = "let the service manager write the log, which goes to standard error";
            mapper.warn(&transport, "is not supported: there is one log, on standard error", hint);
            continue;
        }
        for below in transport.below() {
            if below.name == "level" {
                level = log_level(&below, mapper).map(|level| mapper.entry(&below, "level", level));
            } else {
                mapper.explain(
                    &below,
                    "is not needed: the log is one line for each event; `log: {format: json}` changes it",
                );
            }
        }
    }
    let level = level?;
    Some(mapper.map(setting, "log", vec![level]))
}

fn log_level(setting: &Setting, mapper: &mut Mapper) -> Option<&'static str> {
    let level = match mapper.text(setting)?.as_str() {
        "error" | "emerg" | "alert" | "crit" => "error",
        "warn" | "warning" => "warn",
        "info" | "notice" => "info",
        "http" | "verbose" | "debug" => "debug",
        "silly" => "trace",
        _ => {
            mapper.error(setting, "is not a level of winston", "write error, warn, info, verbose, debug or silly");
            return None;
        }
    };
    mapper.explain(setting, format!("the log has the level {level} (`log: level`)"));
    Some(level)
}
