//! The configuration: one file in YAML or JSON, or defaults.
//!
//! **Architecture Invariant:** nothing else in the server reads configuration files or the environment, except
//! `NODEVENT_LOG` and `TURTED_LOGLEVEL` (`log`), `NODEVENT_PUBLISH_KEY` and `TURTED_PUSH_PASSWORD` (`nodevent emit`,
//! `push`), and the files of certificates (`http/tls`, `tls_client`). What the file says ([`tree`], [`reader`]) and
//! what the server needs ([`Config`]) are different types; every error is reported at once. This module holds plain
//! data: it knows no engine, no HTTP and no connection.
//!
//! In reading order: [`keys`] (every key, its type and default), [`tree`] and [`json`] (text to values with
//! locations), [`environment`] (`${NAME}` and sections), [`reader`] and [`values`] (values to types), then a file for
//! each part. [`changes`] finds what differs
//! between two files. [`reference`] prints the reference from [`keys`]. [`web_service`] reads the files of another program.

pub mod action_cable;
pub mod application;
pub mod calls;
pub mod changes;
mod connection_state;
mod credentials;
mod environment;
#[cfg(test)]
mod hidden_values;
pub mod history;
pub mod hooks;
pub mod hosts;
mod json;
pub mod keys;
pub mod limits;
pub mod listen;
pub mod mailbox;
pub mod namespace;
pub mod notifications;
pub mod pages;
mod presence;
pub mod proxies;
mod reader;
pub mod redis;
pub mod reference;
pub mod report;
pub mod secret;
mod store;
mod syntax;
mod token;
pub mod traces;
mod tree;
pub mod turted;
mod values;
pub mod web_service;
mod web_service_keys;
mod yaml;

use crate::origin::Origins;
use changes::Written;
use environment::Environment;
pub use environment::Selected;
use hosts::Hosts;
use limits::Limits;
use listen::{Admin, Listen};
use namespace::Namespace;
use proxies::TrustedProxies;
use reader::MapReader;
use report::Report;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tree::Node;

pub use credentials::read_text as read_secret_file;
pub use values::parse_duration;

/// Files that are tried, in this order, if none is named.
const SEARCH_PATHS: [&str; 4] =
    ["config/nodevent.yml", "/etc/nodevent.json", "/etc/nodevent.yml", "/etc/nodevent/nodevent.yml"];
/// Default of [`Config::drain_timeout`].
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Default of `deflate_min_size`. Bytes.
const DEFLATE_MIN_SIZE: usize = 1024;

/// Everything that the server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public listeners; at least one.
    pub listen: Vec<Listen>,
    /// The admin listener.
    pub admin: Option<Admin>,
    /// The address under which browsers reach the server, for `nodevent check`.
    pub public_url: Option<String>,
    /// Origins of pages that may connect, in addition to the server's own host.
    pub origins: Origins,
    /// Hosts that requests of clients may name.
    pub hosts: Hosts,
    /// Whether programs on this machine may publish over HTTP to namespaces without a `publish_key`, for listeners that
    /// do not say it themselves.
    pub publish_locally: bool,
    /// The Unix socket through which programs on this machine publish without a key.
    pub publish_socket: Option<PathBuf>,
    /// The Unix socket through which the application hands over connections.
    pub handover_socket: Option<PathBuf>,
    /// Origins of pages that may publish, with a key.
    pub publish_origins: Origins,
    /// Proxies whose forwarding headers count.
    pub trusted_proxies: TrustedProxies,
    /// The path of Engine.IO, with a slash at both ends. Not a key of the file: our script and the stock clients use
    /// the default.
    pub path: String,
    /// Whether the console page is served at `/`. `None`: if no namespace has a secret, and in development to pages of this
    /// machine.
    pub console: Option<bool>,
    /// Size from which on publications are compressed for WebSockets that accept it. Bytes. `None`: none is.
    pub deflate: Option<usize>,
    /// Period over which a stopping server closes its connections.
    pub drain_timeout: Duration,
    /// Every limit.
    pub limits: Limits,
    /// Level of the log, or a filter in the syntax of `tracing`.
    pub log: String,
    /// Whether the log is JSON.
    pub log_json: bool,
    /// Whether publishes and rejected keys are logged at every level.
    pub audit: bool,
    /// Number of threads that own connections. `None`: one per core.
    pub shards: Option<usize>,
    /// The namespaces; at least one.
    pub namespaces: Vec<Namespace>,
    /// Where namespaces without Redis keep what they have. `None`: in memory only.
    pub store: Option<crate::store::Settings>,
    /// Where the spans of sampled publications are sent. `None`: nowhere.
    pub traces: Option<traces::Traces>,
    /// Whether the engine of the only namespace is still to be chosen: Redis on localhost if it responds.
    pub autodetect_engine: bool,
    /// The environment, and what it selects in the file.
    pub selected: Selected,
    /// What the file says, to find what has changed since.
    pub written: Written,
}

/// A configuration and its source.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file. `None`: there was none, and all values are defaults.
    pub file: Option<PathBuf>,
    /// Warnings, one line each.
    pub warnings: Vec<String>,
}

/// Loads `named`, or the file that `NODEVENT_CONFIG` names, or the first file of the search path, or the defaults.
///
/// # Errors
/// Returns the report with every error.
pub fn load(named: Option<&Path>) -> Result<Loaded, Report> {
    let named = named.map(Path::to_owned).or_else(|| std::env::var_os("NODEVENT_CONFIG").map(PathBuf::from));
    let found = named.or_else(|| SEARCH_PATHS.iter().map(PathBuf::from).find(|path| path.exists()));
    let Some(file) = found else {
        let environment = Environment::current();
        let config = Config {
            selected: environment.select(None),
            ..defaults(!environment.is_named || environment.is_for_developers())
        };
        return Ok(Loaded { config, file: None, warnings: Vec::new() });
    };
    let mut report = Report::about(file.display().to_string());
    let Some(text) = read_file(&file, &mut report) else { return Err(report) };
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    match read(&text, is_json, &folder, &Environment::current(), &mut report) {
        Some(config) if report.errors.is_empty() => {
            warn_about_readers(&file, &mut report);
            let warnings = report.warning_lines().collect();
            Ok(Loaded { config, file: Some(file), warnings })
        }
        _ => Err(report),
    }
}

fn read_file(file: &Path, report: &mut Report) -> Option<String> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            let hint = "name a readable file, or none for the defaults";
            report.error_without_location(format!("cannot be read: {error}"), hint);
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
            let after = valid.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            let column = String::from_utf8_lossy(after).chars().count() + 1;
            report.error(report::Location { line, column }, "the file is not UTF-8", "save it as UTF-8");
            None
        }
    }
}

/// Warns about a file with secrets that every user of the machine can read.
fn warn_about_readers(file: &Path, report: &mut Report) {
    if report.literal_secret.is_some() && credentials::is_world_readable(file) {
        let hint = format!("chmod 640 {}, or take them from the environment or from files", file.display());
        report.warn_without_location("contains secrets, and every user of this machine can read it", hint);
    }
}

// === impl Config ===

impl Config {
    /// Checks the names of protocols and dialects against those that exist. `file` is named in the report.
    ///
    /// # Errors
    /// Returns the report with every unknown name.
    pub fn check_names(&self, file: &str, protocols: &[&str], dialects: &[&str]) -> Result<(), Report> {
        let mut report = Report::about(file);
        for namespace in &self.namespaces {
            namespace.protocols.iter().for_each(|name| name.check("protocol", protocols, &mut report));
            namespace.dialects.iter().for_each(|name| name.check("dialect", dialects, &mut report));
        }
        if report.errors.is_empty() { Ok(()) } else { Err(report) }
    }

    /// Reads a configuration from YAML text, as a file in the current folder would be read.
    ///
    /// # Errors
    /// Returns the report with every error.
    pub fn from_yaml(text: &str) -> Result<Self, Report> {
        let mut report = Report::about("configuration");
        match read(text, false, Path::new(""), &Environment::current(), &mut report) {
            Some(config) if report.errors.is_empty() => Ok(config),
            _ => Err(report),
        }
    }

    /// Describes in one line who may join which namespace.
    pub fn access(&self) -> String {
        let is_partly = |one: &Namespace| !one.is_open() && one.admits_strangers();
        let classes = [
            ("open to every client", self.names(Namespace::is_open)),
            ("in part open to every client", self.names(is_partly)),
            ("with a key only", self.names(|one| !one.admits_strangers())),
        ];
        let lines = classes.into_iter().filter(|(_, names)| !names.is_empty());
        lines.map(|(who, names)| format!("{who}: {names}")).collect::<Vec<_>>().join("; ")
    }

    /// Describes in one line who may publish over HTTP.
    pub fn publishing(&self) -> String {
        let (keyed, keyless) =
            (self.names(|one| !one.publish_keys.is_empty()), self.names(|one| one.publish_keys.is_empty()));
        let ports = self.local_ports().join(" and ");
        let keyless = match (keyless.is_empty(), ports.is_empty()) {
            (true, _) => None,
            (false, true) => Some(format!("nothing without a publish_key: {keyless}")),
            (false, false) => Some(format!(
                "every program on this machine, through port {ports}: {keyless} (never let a proxy forward to it without a \
                 publish_key)"
            )),
        };
        let keyed = (!keyed.is_empty()).then(|| format!("with a publish_key only: {keyed}"));
        let socket = self.publish_socket.as_ref().map(|path| format!("without a key through {}", path.display()));
        let pages =
            (!self.publish_origins.is_empty()).then(|| "pages of `publish_origins`, with a publish_key".to_owned());
        keyless.into_iter().chain(keyed).chain(socket).chain(pages).collect::<Vec<_>>().join("; ")
    }

    /// The ports through which programs on this machine may publish without a key.
    fn local_ports(&self) -> Vec<String> {
        let is_local = |listen: &&Listen| listen.publish_locally.unwrap_or(self.publish_locally);
        let ports = self.listen.iter().filter(is_local).map(|listen| match &listen.socket {
            Some(socket) => socket.path.display().to_string(),
            None => listen.port.to_string(),
        });
        ports.collect()
    }

    /// Whether some programs may publish over TCP without a key.
    pub fn is_open_to_local_publishers(&self) -> bool {
        !self.local_ports().is_empty() && self.namespaces.iter().any(|one| one.publish_keys.is_empty())
    }

    fn names(&self, include: impl Fn(&Namespace) -> bool) -> String {
        let names = self.namespaces.iter().filter(|one| include(one)).map(|one| one.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    }
}

/// The configuration without a file.
fn defaults(publish_locally: bool) -> Config {
    Config {
        listen: vec![Listen::plain(listen::BIND.into(), listen::PORT)],
        admin: None,
        public_url: None,
        origins: Origins::default(),
        hosts: Hosts::default(),
        publish_locally,
        publish_socket: None,
        handover_socket: None,
        publish_origins: Origins::default(),
        trusted_proxies: TrustedProxies::default(),
        console: None,
        path: "/socket.io/".into(),
        deflate: None,
        drain_timeout: DRAIN_TIMEOUT,
        limits: Limits::default(),
        log: "info".into(),
        log_json: false,
        audit: false,
        shards: None,
        namespaces: vec![Namespace::named(namespace::DEFAULT)],
        store: None,
        traces: None,
        autodetect_engine: true,
        selected: Selected { environment: String::new(), variable: None, section: None },
        written: Written::default(),
    }
}

/// Reads a configuration's text. Other files are relative to `folder`.
fn read(
    text: &str,
    is_json: bool,
    folder: &Path,
    environment: &Environment,
    report: &mut Report,
) -> Option<Config> {
    let root = syntax::read(text, is_json, report)?;
    let selected = environment.select(Some(&root));
    let (is_development, environment) = (environment.is_development(&selected), environment.name.as_str());
    if let Some(sections) = environment::missing_section(&root, environment) {
        report.error(
            root.location,
            format!("there is no section `{environment}`, only {}", sections.join(", ")),
            format!("add it (`{environment}: {{}}` is enough if `shared` has everything), or name another by NODEVENT_ENV"),
        );
        return None;
    }
    let root = environment::interpolate_env(environment::section(root, environment), report);
    read_tree(&root, is_development, folder, report).map(|config| Config { selected, ..config })
}

/// Reads a configuration's values. `publishes_locally` is the default of `publish: local`.
fn read_tree(root: &Node, publishes_locally: bool, folder: &Path, report: &mut Report) -> Option<Config> {
    let mut top = MapReader::open(root, "", &keys::TOP, report)?.with(&keys::NAMESPACE);
    let publish_locally = listen::publishes_locally(&mut top, report).unwrap_or(publishes_locally);
    let (listen, public_url) = listen::public(&mut top, folder, report);
    let origins_location = top.location_of("origins");
    let deflate_min_size = top.size("deflate_min_size", report).unwrap_or(DEFLATE_MIN_SIZE);
    let mut config = Config {
        listen,
        public_url,
        publish_socket: read_socket(&mut top, "publish_socket", folder, report),
        handover_socket: read_socket(&mut top, "handover_socket", folder, report),
        store: store::read(&mut top, folder, report),
        traces: traces::read(&mut top, folder, report),
        publish_origins: read_origins(&mut top, "publish_origins", report),
        origins: read_origins(&mut top, "origins", report),
        admin: listen::admin(&mut top, folder, report),
        trusted_proxies: TrustedProxies::read(&mut top, report),
        console: top.flag("console", report),
        deflate: top.flag("deflate", report).unwrap_or(false).then_some(deflate_min_size),
        drain_timeout: top.duration("drain_timeout", report).unwrap_or(DRAIN_TIMEOUT),
        shards: top.number("shards", report),
        limits: Limits::read(&mut top, report),
        written: Written::of(root),
        ..defaults(publish_locally)
    };
    listen::check_proxies(&config.listen, &config.trusted_proxies, top.location, report);
    read_log(&mut top, &mut config, report);
    config.namespaces = namespace::read(&mut top, folder, report);
    let pushes = config.namespaces.iter().filter_map(|one| one.turted.as_ref()?.push.as_ref()?.listen.clone());
    let public: Vec<Listen> = config.listen.iter().cloned().chain(pushes).collect();
    listen::check_ports(&public, config.admin.as_ref().map(|admin| &admin.listen), top.location, report);
    check_cookies(&config, origins_location, report);
    check_paths(&config, top.location, report);
    config.hosts = Hosts::read(&mut top, config.public_url.as_deref(), &config.namespaces, report);
    config.autodetect_engine = config.namespaces.is_empty();
    if config.namespaces.is_empty() {
        let name = namespace::DEFAULT;
        let what = format!("the file has no namespace, so {name} is open: every client may join its rooms");
        report.warn(root.location, what, format!("write `{name}:` with `secret:` or `open: true` below it"));
        config.namespaces.push(Namespace::named(name));
    }
    top.finish(report);
    Some(config)
}

/// Reads the path of a Unix socket. It is logged, so it must not be the URL of something.
fn read_socket(top: &mut MapReader<'_>, key: &'static str, folder: &Path, report: &mut Report) -> Option<PathBuf> {
    let location = top.location_of(key);
    let path = top.text(key, report)?;
    if path.contains("://") {
        report.error(location, format!("{key} is not a path"), "write a path like /run/nodevent/nodevent.sock");
        return None;
    }
    Some(folder.join(path))
}

/// Reads `origins` or `publish_origins`.
fn read_origins(top: &mut MapReader<'_>, name: &'static str, report: &mut Report) -> Origins {
    let mut origins = Origins::default();
    for (origin, location) in top.texts(name, report) {
        match origins.add(&origin) {
            Ok(None) => {}
            Ok(Some(risk)) => {
                let what = format!("{name} has an entry that allows {}", risk.allows());
                report.warn(location, what, risk.hint());
            }
            Err(bad) => report.error(location, format!("{name} has an entry that {bad}"), bad.hint()),
        }
    }
    origins
}

/// Rejects a configuration in which every page of the web could connect with the cookies of its visitors, and so as them.
fn check_cookies(config: &Config, location: report::Location, report: &mut Report) {
    if !config.origins.allow_every_page() {
        return;
    }
    for namespace in config.namespaces.iter().filter(|namespace| namespace.reads_cookies()) {
        let what = format!(
            "origins allows every page of the web, and {} recognizes visitors by cookies: every page could connect as its visitor",
            namespace.name
        );
        report.error(location, what, "list the origins of your pages");
    }
}

/// Rejects namespaces that would share a path for old publishers: only the first one would receive requests.
fn check_paths(config: &Config, location: report::Location, report: &mut Report) {
    let has_http = |one: &&Namespace| one.notifications.as_ref().is_some_and(|it| it.sources.has_http);
    if config.namespaces.iter().filter(has_http).count() > 1 {
        let what = "several namespaces have `notifications: {http: true}`, which is one path";
        report.error(location, what, "write it below one of them");
    }
    let pushes = config.namespaces.iter().filter_map(|one| one.turted.as_ref()?.push.as_ref());
    let mut paths = std::collections::HashSet::new();
    if pushes.filter(|push| push.listen.is_none()).any(|push| !paths.insert(&push.path)) {
        let what = "several namespaces have the same `turted: push: path`";
        report.error(location, what, "write another `path`, or a `port`");
    }
    let served = config.namespaces.iter().filter(|one| one.serves_action_cable());
    let mut paths = std::collections::HashSet::new();
    if served.map(Namespace::action_cable_path).any(|path| !paths.insert(path)) {
        report.error(location, "several namespaces have the same `action_cable: path`", "write another `path`");
    }
}

fn read_log(top: &mut MapReader<'_>, config: &mut Config, report: &mut Report) {
    let Some(node) = top.take("log") else { return };
    let Some(mut map) = MapReader::open(node, "log", &keys::LOG, report) else { return };
    let location = map.location_of("level");
    if let Some(level) = map.text("level", report) {
        match level.parse::<EnvFilter>() {
            Ok(_) => config.log = level,
            Err(_) => {
                report.error(location, "log.level is not a log level", "write error, warn, info, debug or trace")
            }
        }
    }
    config.audit = map.flag("audit", report).unwrap_or(false);
    config.log_json = map.word("format", report).is_some_and(|format| format == "json");
    map.finish(report);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unnamed(name: &str) -> Environment {
        Environment { name: name.to_owned(), is_named: false }
    }

    fn read_yaml(text: &str) -> (Option<Config>, Report) {
        let mut report = Report::about("c.yml");
        let config = read(text, false, Path::new("/nowhere"), &unnamed("development"), &mut report);
        (config, report)
    }

    fn config(text: &str) -> Config {
        let (config, report) = read_yaml(text);
        assert_eq!(report.to_string(), "", "{text}");
        config.unwrap()
    }

    #[test]
    fn cookies_do_not_say_who_a_visitor_is_if_every_page_may_connect() {
        let auth = "/a: {auth: {url: \"https://www.example.com/live\", cookies: [session]}}";
        let token = "/a: {token: {secret: a-secret-of-more-than-thirty-two-bytes, cookie: t}}";
        let pages = "/a: {protocol: pakyow, pages: {secret: a-secret-of-more-than-thirty-two-bytes}}";
        let calls = |more: &str| {
            let calls = "url: \"http://127.0.0.1:3000\", secret: a-secret-of-more-than-thirty-two-bytes";
            format!("/a: {{open: true, calls: {{{calls}{more}}}}}")
        };
        let (all, listed) = (calls(""), calls(", cookies: [session]"));
        for namespace in [auth, token, pages, &*all, &*listed] {
            for origins in ["\"*\"", "[https://www.example.com, \"null\"]"] {
                let (_, report) = read_yaml(&format!("origins: {origins}\n{namespace}\n"));
                let text = report.to_string();
                assert!(text.contains("every page could connect as its visitor"), "{text}");
                assert!(text.contains("list the origins of your pages"), "{text}");
            }
            config(&format!("origins: https://www.example.com\n{namespace}\n"));
        }
        let header = "/a: {auth: {url: \"https://www.example.com/live\", headers: [X-Visitor]}}";
        let (_, report) = read_yaml(&format!("origins: \"*\"\n{header}\n"));
        assert_eq!(report.to_string(), "", "a page sends no headers by itself");
        let (_, report) = read_yaml(&format!("origins: \"*\"\n{}\n", calls(", cookies: []")));
        assert!(!report.to_string().contains("every page could connect"), "calls without cookies: {report}");
    }

    #[test]
    fn calls_of_action_cable_without_handlers_are_reported() {
        let cable = |more: &str| {
            let calls =
                format!("{{url: \"http://127.0.0.1:3000\", secret: a-secret-of-more-than-thirty-two-bytes{more}}}");
            let cable = "protocol: action_cable, action_cable: {signed_stream_key: a-key-of-sixteen-bytes}";
            format!("/cable: {{{cable}, calls: {calls}}}\n")
        };
        let warnings = |more: &str| read_yaml(&cable(more)).1.warning_lines().collect::<Vec<_>>();
        assert!(
            warnings("").iter().any(|line| line.contains("/cable.calls has no `handlers`")),
            "{:?}",
            warnings("")
        );
        assert!(!warnings(", handlers: /nodevent/cable").iter().any(|line| line.contains("handlers")));
    }

    #[test]
    fn every_key_with_a_slash_is_a_namespace_and_no_other_is() {
        // N-04
        let config = config("port: 9001\n/a: {}\n/b:\n  secret: a-secret-of-more-than-sixteen\n");
        let names: Vec<&str> = config.namespaces.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["/a", "/b"]);
        assert_eq!(config.listen[0].port, 9001);
        assert!(!config.autodetect_engine);
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
        assert_eq!(config.listen[0].host, "::", "an address for browsers is not one to bind");
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
    fn every_error_is_reported_at_once_with_its_line_and_a_hint() {
        // N-08
        let (_, report) = read_yaml(
            "port: eighty\n/a:\n  secret: \"\"\n  redis: {port: 0}\nlimits:\n  send_buffer: lots\nssl: {key: k.pem}\norigins: [\"https://a b\"]\n",
        );
        let text = report.to_string();
        for expected in [
            "c.yml:1:7: port is not a valid number; write a whole number from 0 to 65535",
            "c.yml:3:11: /a.secret is empty",
            "c.yml:4:17: /a.redis.port is not a valid number; write a whole number from 1 to 65535",
            "c.yml:6:16: limits.send_buffer is not a valid size; write a size like 64KB or 1MB",
            "c.yml:7:6: ssl has no cert",
            "c.yml:7:12: ssl.key: the file cannot be read",
            "c.yml:8:11: origins has an entry that is not an origin",
        ] {
            assert!(text.contains(expected), "{expected}\nis not in\n{text}");
        }
    }

    #[test]
    fn only_variables_in_the_chosen_section_must_be_set() {
        let text = "development:\n  /a: {}\nproduction:\n  /a: {secret: \"${NODEVENT_SURELY_UNSET}\"}\n";
        let mut report = Report::about("c.yml");
        assert!(read(text, false, Path::new(""), &unnamed("development"), &mut report).is_some());
        assert_eq!(report.to_string(), "");
        read(text, false, Path::new(""), &unnamed("production"), &mut report);
        assert!(report.to_string().contains("the environment has no NODEVENT_SURELY_UNSET"), "{report}");
    }

    #[test]
    fn the_keys_of_the_gem_are_known() {
        let (_, report) =
            read_yaml("publisher: {queue: 5}\nurl: x\n/a: {open: true, url: y, publisher: {queue: 6}}\n");
        assert_eq!(report.warning_lines().count(), 0);
    }

    #[test]
    fn an_unknown_key_is_reported_with_the_most_similar_known_one() {
        let (_, report) = read_yaml("prot: 80\n/a:\n  open: true\n  histroy: x\n");
        let lines: Vec<String> = report.warning_lines().collect();
        assert!(lines[0].contains("c.yml:4:3: unknown key `/a.histroy`; did you mean `history`?"), "{lines:?}");
        assert!(lines[1].contains("unknown key `prot`; did you mean `port`?"), "{lines:?}");
    }

    #[test]
    fn no_secret_is_printed_by_debug_or_in_a_report() {
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

    /// A part of the message for each error of the vectors.
    const ERRORS: [(&str, &str); 24] = [
        ("empty", " is empty"),
        ("white_space", "white space"),
        ("not_text", "is not text"),
        ("tag", "the tag `"),
        ("syntax", "this is not YAML"),
        ("anchor", "an anchor contains itself"),
        ("variable_missing", "the environment has no NODEVENT_SURELY_UNSET"),
        ("variable_without_braces", "without braces"),
        ("variable_syntax", "`${"),
        ("duplicate", "is written twice"),
        ("tab", "a tab indents the line"),
        ("documents", "a second document"),
        ("empty_file", "the file is empty"),
        ("not_a_map", "the file has no keys"),
        ("erb", "ERB"),
        ("invisible", "an invisible character"),
        ("key", "a key is not text"),
        ("merge", "`<<` does not refer to a map"),
        ("unknown", "did you mean `secret`?"),
        ("slash", "without its slash"),
        ("top", "at the top of the file"),
        ("contradiction", "has a secret and `open: true`"),
        ("section", "there is no section"),
        ("json", "this is not JSON"),
    ];

    fn vectors(list: &str) -> Vec<serde_json::Value> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/vectors/configuration.json");
        let vectors: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        vectors[list].as_array().unwrap().clone()
    }

    #[test]
    fn a_secret_is_the_text_that_is_written_or_an_error_with_its_location() {
        for vector in vectors("secrets") {
            let text = vector["document"].as_str().map_or_else(
                || format!("/a:\n  secret: {}\n", vector["value"].as_str().unwrap()),
                ToOwned::to_owned,
            );
            let mut report = Report::about("c");
            let is_json = vector["json"] == true;
            let config = read(&text, is_json, Path::new("/nowhere"), &unnamed("development"), &mut report);
            if let Some(expected) = vector["text"].as_str() {
                assert_eq!(report.to_string(), "", "{vector}");
                let secrets = config.unwrap().namespaces[0].secrets.clone();
                assert_eq!(secrets[0].as_bytes(), expected.as_bytes(), "{vector}");
                continue;
            }
            let error = &vector["error"];
            let words = ERRORS.iter().find(|(name, _)| error == name).unwrap_or_else(|| panic!("{vector}")).1;
            let shown = report.to_string();
            assert!(shown.contains(words), "{vector}: {words}\nis not in\n{shown}");
            let location = report.errors[0].location.unwrap();
            assert!(vector["line"].as_u64().is_none_or(|line| line == location.line as u64), "{vector}: {shown}");
            let column = vector["column"].as_u64();
            assert!(column.is_none_or(|column| column == location.column as u64), "{vector}: {shown}");
            assert_eq!(report.errors.len(), 1, "one mistake, one error: {vector}: {shown}");
        }
    }

    #[test]
    fn compression_is_off_unless_it_is_switched_on() {
        let deflate = |text: &str| {
            let (config, report) = read_yaml(&format!("{text}\n/a: {{open: true}}\n"));
            assert_eq!(report.to_string(), "");
            config.unwrap().deflate
        };
        assert_eq!(deflate(""), None);
        assert_eq!(deflate("deflate: false\ndeflate_min_size: 2KB"), None);
        assert_eq!(deflate("deflate: true"), Some(1024));
        assert_eq!(deflate("deflate: on\ndeflate_min_size: 100"), Some(100));
        let (_, report) = read_yaml("deflate: gzip\n/a: {open: true}\n");
        assert!(report.to_string().contains("deflate"), "{report}");
    }

    #[test]
    fn numbers_flags_and_durations_are_written_in_one_way() {
        let read = |key: &str, value: &serde_json::Value| {
            let (config, report) = read_yaml(&format!("{key}: {}\n/a: {{open: true}}\n", value.as_str().unwrap()));
            config.filter(|_| report.errors.is_empty())
        };
        for vector in vectors("numbers") {
            let number = read("port", &vector["value"]).map(|config| u64::from(config.listen[0].port));
            assert_eq!(number, vector["number"].as_u64(), "{vector}");
        }
        for vector in vectors("flags") {
            let flag = read("console", &vector["value"]).and_then(|config| config.console);
            assert_eq!(flag, vector["flag"].as_bool(), "{vector}");
        }
        for vector in vectors("durations") {
            let duration =
                read("drain_timeout", &vector["value"]).map(|config| config.drain_timeout.as_millis() as u64);
            assert_eq!(duration, vector["milliseconds"].as_u64(), "{vector}");
        }
    }

    /// Ten thousand files that were made of the vectors by a seeded generator: cut, doubled, mixed with one another. None
    /// makes the reader panic, and each that is rejected has a reason.
    #[test]
    fn damaged_files_are_rejected_with_a_reason() {
        let texts: Vec<String> = vectors("secrets")
            .iter()
            .map(|vector| vector["document"].as_str().or(vector["value"].as_str()).unwrap().to_owned())
            .chain([reference::markdown()])
            .chain(keys::SECTIONS.map(reference::example))
            .collect();
        let mut seed = 0x5eed_u64;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below.max(1)
        };
        let mut accepted = 0;
        for round in 0..10_000 {
            let mut chars: Vec<char> = texts[next(texts.len())].chars().take(500).collect();
            for _ in 0..=next(4) {
                let other: Vec<char> = texts[next(texts.len())].chars().take(500).collect();
                let (from, to) = (next(chars.len() + 1), next(other.len() + 1));
                let piece = &other[to..(to + next(20)).min(other.len())];
                let end = (from + next(8)).min(chars.len());
                chars.splice(from..end, piece.iter().copied());
            }
            let text: String = chars.into_iter().collect();
            let mut report = Report::about("c");
            let config =
                super::read(&text, round % 2 == 0, Path::new("/nowhere"), &unnamed("development"), &mut report);
            assert!(config.is_some() || !report.errors.is_empty(), "no reason:\n{text}");
            accepted += usize::from(report.errors.is_empty());
        }
        assert!(accepted > 100, "only {accepted} files were good enough to be read to the end");
    }

    /// A file on a server is read as `development` if nothing names an environment, so only what is written counts.
    #[test]
    fn publishing_without_a_key_must_be_declared() {
        let publishes = |text: &str, name: &str, is_named: bool| {
            let (mut report, environment) =
                (Report::about("c.yml"), Environment { name: name.to_owned(), is_named });
            let config = read(text, false, Path::new(""), &environment, &mut report);
            config.unwrap_or_else(|| panic!("{report}")).publish_locally
        };
        let (plain, sections) =
            ("/a: {open: true}\n", "development: {/a: {}}\nstaging: {/a: {}}\ntest: {/a: {}}\n");
        for (text, name, is_named, expected) in [
            (plain, "development", false, false),
            (plain, "development", true, true),
            (plain, "test", true, true),
            (plain, "production", true, false),
            (plain, "staging", true, false),
            (sections, "development", false, true),
            (sections, "test", true, true),
            (sections, "staging", true, false),
            ("publish: local\n/a: {}\n", "production", true, true),
            ("publish: key\n/a: {}\n", "development", true, false),
            ("shared: {publish: key}\ndevelopment: {/a: {}}\n", "development", false, false),
        ] {
            assert_eq!(publishes(text, name, is_named), expected, "{text:?} in {name}, named: {is_named}");
        }
    }

    #[test]
    fn what_is_open_to_publishers_is_described() {
        let config = config(
            "port: 1\nlisten: [{port: 2, publish: local}]\n/a: {open: true}\n/b: {open: true, publish_key: 0123456789abcdef}\n",
        );
        assert_eq!(
            config.publishing(),
            "every program on this machine, through port 2: /a (never let a proxy forward to it without a publish_key); \
             with a publish_key only: /b"
        );
        let (closed, _) = read_yaml("/a: {open: true}\n");
        assert_eq!(closed.unwrap().publishing(), "nothing without a publish_key: /a");
    }

    #[test]
    fn publishing_through_other_ways_is_described() {
        let text = "publish_socket: p.sock\npublish_origins: https://a.example\n/a: {open: true, publish_keys: [0123456789abcdef]}\n";
        assert_eq!(
            config(text).publishing(),
            "with a publish_key only: /a; without a key through /nowhere/p.sock; pages of `publish_origins`, with a publish_key"
        );
    }

    #[test]
    fn mistakes_in_publish_keys_are_errors_with_their_location() {
        for (written, expected) in [
            ("publish_keys: []", "/a.publish_keys is not a list of keys"),
            ("publish_keys: one-key-of-sixteen", "/a.publish_keys is not a list of keys"),
            ("publish_keys: [\"\"]", "/a.publish_keys[0] is empty"),
            ("publish_keys: [{id: x}]", "/a.publish_keys[0] has no key"),
            ("publish_keys: [{key: 0123456789abcdef, rooms: []}]", "/a.publish_keys[0].rooms is empty"),
            ("publish_keys: [{key: 0123456789abcdef, rooms: [\"a*b\"]}]", "has an entry with a `*` before its end"),
            ("publish_keys: [{key: 0123456789abcdef, key_file: x}]", "are both written"),
            ("publish_keys: [{key_file: missing}]", "cannot be read"),
        ] {
            let (_, report) = read_yaml(&format!("/a: {{open: true, {written}}}\n"));
            assert!(report.to_string().contains(expected), "{written}: {report}");
            assert!(!report.to_string().contains("0123456789abcdef"), "{report}");
        }
        let (_, report) = read_yaml("/a: {open: true, publish_keys: [{key: 0123456789abcdef, room: x}]}\n");
        // Without its limit it could publish to everything.
        assert!(
            report.to_string().contains("unknown key `/a.publish_keys[0].room`; did you mean `rooms`?"),
            "{report}"
        );
    }

    #[test]
    fn the_proxy_protocol_needs_trusted_proxies_and_excludes_local_publishing() {
        let listen =
            |more: &str| format!("listen: [{{port: 1, proxy_protocol: true{more}}}]\n/a: {{open: true}}\n");
        let (_, report) = read_yaml(&listen(""));
        assert!(report.to_string().contains("no proxy is trusted to name clients"), "{report}");
        let (_, report) = read_yaml(&format!("trusted_proxies: 10.0.0.0/8\n{}", listen(", publish: local")));
        assert!(report.to_string().contains("what a proxy forwards is not local"), "{report}");
        let config = config(&format!("publish: local\ntrusted_proxies: 10.0.0.0/8\n{}", listen("")));
        assert_eq!(config.listen[0].publish_locally, Some(false));
    }
}
