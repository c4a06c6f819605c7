//! What the operator asks for: one file in YAML or JSON, or defaults.
//!
//! **Architecture Invariant:** nothing else in the server reads files of configuration or the environment. What
//! was said in the file ([`tree`], [`table`]) and what the server needs ([`Config`]) are different types; every
//! mistake is reported at once.

pub mod history;
pub mod limits;
pub mod listen;
pub mod namespace;
pub mod redis;
pub mod report;
pub mod secret;
mod table;
mod tree;

use crate::edge::Origins;
use limits::Limits;
use listen::Listen;
use namespace::Namespace;
use report::Report;
use std::path::{Path, PathBuf};
use std::time::Duration;
use table::Table;

pub use table::parse_duration;

/// Where a configuration is looked for when none is named.
const PLACES: [&str; 4] =
    ["config/nodevent.yml", "/etc/nodevent.json", "/etc/nodevent.yml", "/etc/nodevent/nodevent.yml"];
/// Variables that name the environment, whose section of the file is read.
const ENVIRONMENT: [&str; 3] = ["NODEVENT_ENV", "RAILS_ENV", "RACK_ENV"];
/// Default of [`Config::drain_timeout`].
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything the server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public listeners; at least one.
    pub listen: Vec<Listen>,
    /// The admin listener.
    pub admin: Option<Listen>,
    /// Pages that may connect beside those of the same host.
    pub origins: Origins,
    /// The path of Engine.IO, with a slash at both ends. No key of the file: our script and the stock clients ask
    /// for the default.
    pub path: String,
    /// Whether the console page is served at `/`. `None`: if no namespace has a secret.
    pub console: Option<bool>,
    /// Period over which a stopping server closes its connections.
    pub drain_timeout: Duration,
    /// Every bound.
    pub limits: Limits,
    /// How much is logged: a level, or a filter in the syntax of `tracing`.
    pub log: String,
    /// Whether the log is JSON.
    pub log_json: bool,
    /// How many threads own connections. `None`: one per core.
    pub shards: Option<usize>,
    /// The namespaces; at least one.
    pub namespaces: Vec<Namespace>,
    /// Whether the engine of the only namespace is yet to be chosen: Redis on localhost if it answers.
    pub choose_engine: bool,
}

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file. `None`: there was none, and all are defaults.
    pub file: Option<PathBuf>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
}

/// Loads `named`, or what `NODEVENT_CONFIG` names, or the first file at the usual places, or the defaults.
///
/// # Errors
/// The report of everything that is wrong.
pub fn load(named: Option<&Path>) -> Result<Loaded, Report> {
    let named = named.map(Path::to_owned).or_else(|| std::env::var_os("NODEVENT_CONFIG").map(PathBuf::from));
    let found = named.or_else(|| PLACES.iter().map(PathBuf::from).find(|place| place.exists()));
    let Some(file) = found else {
        return Ok(Loaded { config: defaults(), file: None, warnings: Vec::new() });
    };
    let mut report = Report::about(file.display().to_string());
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let is_json = file.extension().is_some_and(|extension| extension == "json");
            let folder = file.parent().unwrap_or(Path::new("")).to_owned();
            match read(&text, is_json, &folder, &environment(), &mut report) {
                Some(config) if report.mistakes.is_empty() => {
                    let warnings = report.warning_lines().collect();
                    Ok(Loaded { config, file: Some(file), warnings })
                }
                _ => Err(report),
            }
        }
        Err(error) => {
            report.general(format!("cannot be read: {error}"), "name a readable file, or none for the defaults");
            Err(report)
        }
    }
}

// === impl Config ===

impl Config {
    /// Reads a configuration from YAML text, as a file in the present folder would be read.
    ///
    /// # Errors
    /// The report of everything that is wrong.
    pub fn from_yaml(text: &str) -> Result<Self, Report> {
        let mut report = Report::about("configuration");
        match read(text, false, Path::new(""), &environment(), &mut report) {
            Some(config) if report.mistakes.is_empty() => Ok(config),
            _ => Err(report),
        }
    }
}

/// The environment whose section is read.
fn environment() -> String {
    let named = ENVIRONMENT.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    named.unwrap_or_else(|| "development".to_owned())
}

fn defaults() -> Config {
    Config {
        listen: vec![Listen { host: "0.0.0.0".into(), port: listen::PORT, tls: None }],
        admin: None,
        origins: Origins::default(),
        console: None,
        path: "/socket.io/".into(),
        drain_timeout: DRAIN_TIMEOUT,
        limits: Limits::default(),
        log: "info".into(),
        log_json: false,
        shards: None,
        namespaces: vec![Namespace::named(namespace::DEFAULT)],
        choose_engine: true,
    }
}

/// Reads a configuration's text. `folder` is where other files are looked for.
fn read(text: &str, is_json: bool, folder: &Path, environment: &str, report: &mut Report) -> Option<Config> {
    let root = tree::read(text, is_json, report)?;
    if let Some(sections) = tree::missing_section(&root, environment) {
        report.mistake(
            root.place,
            format!("there is no section `{environment}`, only {}", sections.join(", ")),
            "add it (`{}` is enough where all is shared), or name another by NODEVENT_ENV",
        );
        return None;
    }
    let root = tree::fill(tree::section(root, environment), report);
    let mut top = Table::open(&root, "", report)?;
    let mut config = defaults();
    config.listen = listen::public(&mut top, folder, report);
    config.admin = listen::admin(&mut top, report);
    for (origin, place) in top.texts(&["origins"], report) {
        if let Err(bad) = config.origins.add(&origin) {
            report.mistake(place, format!("origins: `{origin}` {bad}"), "or leave it out");
        }
    }
    config.console = top.flag(&["console"], report);
    config.drain_timeout = top.duration(&["drain_timeout"], report).unwrap_or(config.drain_timeout);
    config.shards = top.number(&["shards"], 1, 64, report);
    config.limits = Limits::read(&mut top, report);
    read_log(&mut top, &mut config, report);
    // Where and how the gem publishes; nothing for the server.
    top.take(&["url"]);
    top.take(&["publisher"]);
    config.namespaces = namespace::read(&mut top, report);
    config.choose_engine = config.namespaces.is_empty();
    if config.namespaces.is_empty() {
        config.namespaces.push(Namespace::named(namespace::DEFAULT));
    }
    top.finish(report);
    Some(config)
}

fn read_log(top: &mut Table<'_>, config: &mut Config, report: &mut Report) {
    let Some(mut table) = top.take(&["log"]).and_then(|node| Table::open(node, "log", report)) else { return };
    if let Some(level) = table.text(&["level"], report) {
        config.log = level;
    }
    let place = table.place_of(&["format"]);
    match table.text(&["format"], report).as_deref() {
        None | Some("text") => {}
        Some("json") => config.log_json = true,
        Some(other) => report.mistake(place, format!("log.format is `{other}`"), "write text or json"),
    }
    table.finish(report);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_yaml(text: &str) -> (Option<Config>, Report) {
        let mut report = Report::about("c.yml");
        let config = read(text, false, Path::new("/nowhere"), "development", &mut report);
        (config, report)
    }

    fn config(text: &str) -> Config {
        let (config, report) = read_yaml(text);
        assert_eq!(report.to_string(), "", "{text}");
        config.unwrap()
    }

    #[test]
    fn every_key_with_a_slash_is_a_namespace_and_no_other_is() {
        // N-04
        let config = config("port: 9001\n/a: {}\n/b:\n  secret: a-secret-of-more-than-sixteen\n");
        let names: Vec<&str> = config.namespaces.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["/a", "/b"]);
        assert_eq!(config.listen[0].port, 9001);
        assert!(!config.choose_engine);
    }

    #[test]
    fn the_flat_keys_of_an_old_gem_mean_one_namespace() {
        let config = config(
            "host: http://localhost:8080\nnamespace: board\nsecret: long-enough-to-be-a-secret\nredis: {host: r, port: 1}\n",
        );
        assert_eq!(config.namespaces.len(), 1);
        assert_eq!(config.namespaces[0].name, "/board");
        assert_eq!(config.namespaces[0].secrets.len(), 1);
        assert_eq!(config.namespaces[0].redis.as_ref().unwrap().to_string(), "r:1");
        assert_eq!(config.listen[0].host, "0.0.0.0", "an address for browsers is not one to bind");
    }

    #[test]
    fn the_old_server_configuration_is_read_and_what_it_ignored_is_ignored() {
        // N-09
        let config = config(
            r#"{"port": 8085, "listen": [{"port": 8086}], "/nodevent": {"redis": {"port": 6379, "host": "localhost", "subscribe": "events", "options": {}}}}"#,
        );
        assert_eq!(config.listen.iter().map(|one| one.port).collect::<Vec<_>>(), [8086, 8085]);
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_line_and_remedy() {
        // N-08
        let (_, report) = read_yaml(
            "port: eighty\n/a:\n  secret: \"\"\n  redis: {port: 0}\nlimits:\n  send_buffer: lots\nssl: {key: k.pem}\norigins: [\"https://a b\"]\n",
        );
        let text = report.to_string();
        for expected in [
            "c.yml:1:7: port is `eighty`; write a whole number from 0 to 65535",
            "c.yml:3:11: /a.secret is empty",
            "c.yml:4:17: /a.redis.port is `0`; write a whole number from 1 to 65535",
            "c.yml:6:16: limits.send_buffer is `lots`; write a size like 64KB or 1MB",
            "ssl has no cert",
            "ssl.key: /nowhere/k.pem cannot be read",
            "origins: `https://a b` is not an origin",
        ] {
            assert!(text.contains(expected), "{expected}\nis not in\n{text}");
        }
    }

    #[test]
    fn the_environment_is_asked_only_for_what_is_used() {
        let text = "development:\n  /a: {}\nproduction:\n  /a: {secret: \"${NODEVENT_SURELY_UNSET}\"}\n";
        let mut report = Report::about("c.yml");
        assert!(read(text, false, Path::new(""), "development", &mut report).is_some());
        assert_eq!(report.to_string(), "");
        read(text, false, Path::new(""), "production", &mut report);
        assert!(report.to_string().contains("the environment has no NODEVENT_SURELY_UNSET"), "{report}");
    }

    #[test]
    fn the_keys_of_the_gem_are_known() {
        let (_, report) = read_yaml("publisher: {queue: 5}\nurl: x\n/a: {url: y, publisher: {queue: 6}}\n");
        assert_eq!(report.warning_lines().count(), 0);
    }

    #[test]
    fn an_unknown_key_is_warned_about_with_the_nearest_known_one() {
        let (_, report) = read_yaml("prot: 80\n/a:\n  sceret: x\n");
        let lines: Vec<String> = report.warning_lines().collect();
        assert!(lines[0].contains("c.yml:3:3: unknown key `/a.sceret`; did you mean `secret`?"), "{lines:?}");
        assert!(lines[1].contains("unknown key `prot`; did you mean `port`?"), "{lines:?}");
    }

    #[test]
    fn no_secret_is_shown_by_debug_or_in_a_report() {
        // N-51
        let text = "/a:\n  secret: sesame-open-wide-123\n  publish_key: publish-me-quietly\n  redis: {url: \"redis://u:pass-word-9@h:1/2\"}\n";
        let shown = format!("{:?}", config(text));
        for hidden in ["sesame", "publish-me", "pass-word"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
        let (_, report) = read_yaml("/a: {redis: \"redis://u:pass-word-9@h:port/2\"}\n");
        assert!(report.to_string().contains("/a.redis is not a Redis URL"));
        assert!(!report.to_string().contains("pass-word"));
    }

    #[test]
    fn a_redis_is_named_in_any_of_its_ways() {
        // N-10
        let read = |redis: &str| config(&format!("/a: {{redis: {redis}}}\n")).namespaces[0].redis.clone().unwrap();
        let url = read("\"rediss://me:word@h:7/3\"");
        assert_eq!((url.hosts.clone(), url.db, url.tls), (vec![("h".into(), 7)], Some(3), true));
        assert_eq!(url.username.as_deref(), Some("me"));
        let parts = read("{host: h, port: 7, db: 3, password: word, tls: true}");
        assert_eq!((parts.hosts, parts.db, parts.tls), (url.hosts, url.db, url.tls));
        let sentinel = read("{sentinel: {hosts: [a, \"b:5\"], name: main}}");
        assert_eq!(sentinel.hosts, [("a".into(), 26379), ("b".into(), 5)]);
        assert_eq!(sentinel.kind, redis::Kind::Sentinel("main".into()));
        assert_eq!(read("{cluster: [\"a:1\", \"b:2\"]}").kind, redis::Kind::Cluster);
    }
}
