//! `redis`: the address and the credentials of a namespace's Redis.
//!
//! Owns the settings as plain data. Does not know the Redis client; `engine::redis` converts them.

use super::keys;
use super::reader::{MapReader, check_credential};
use super::report::{Location, Report};
use super::secret::Redacted;
use super::tree::{Node, Value, shown_key};
use super::values::{is_host, parse_number};
use nodevent_protocol::history::Scope;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::{Path, PathBuf};
use url::Url;

/// The Redis of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// One server, the sentinels, or some nodes of the cluster.
    pub hosts: Vec<(String, u16)>,
    /// Role of `hosts`.
    pub kind: Kind,
    /// ACL user.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Redacted>,
    /// Database number.
    pub db: Option<u8>,
    /// The prefix of all keys and channels.
    pub prefix: Option<String>,
    /// Whether the connection uses TLS.
    pub tls: bool,
    /// Certificates for TLS.
    pub ssl: Certificates,
    /// User and password of the sentinels. They never receive those of Redis.
    pub sentinel: (Option<String>, Option<Redacted>),
}

/// Role of the hosts of a [`Redis`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One server.
    Single,
    /// Sentinels that know the primary of that name.
    Sentinel(String),
    /// Nodes of a cluster.
    Cluster,
}

/// Certificates for TLS, PEM files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The file of the CA. `None`: the system's CAs.
    pub ca: Option<PathBuf>,
    /// The client certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Redis's port.
const PORT: u16 = 6379;
/// Sentinel's port.
const SENTINEL_PORT: u16 = 26379;
/// Hint for an invalid URL.
const URL_HINT: &str = "write redis://host:6379/0, rediss://… for TLS, redis-sentinel://… or redis-cluster://…";
/// Keys of other Redis clients that the server cannot honour, with the reason. Ignoring them would change what they
/// secure or which Redis is used.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("path", "Redis is not reached over a Unix socket; write `host` and `port`"),
    ("ssl_params", "write `ssl: {ca: …, cert: …, key: …}`"),
    ("ssl_ca", "write `ssl: {ca: …}`"),
    ("ca_file", "write `ssl: {ca: …}`"),
    ("verify", "certificates are always verified; write `ssl: {ca: …}` for a private CA"),
    ("verify_mode", "certificates are always verified; write `ssl: {ca: …}` for a private CA"),
];

impl Default for Redis {
    fn default() -> Self {
        Self {
            hosts: vec![("localhost".into(), PORT)],
            kind: Kind::Single,
            username: None,
            password: None,
            db: None,
            prefix: None,
            tls: false,
            ssl: Certificates::default(),
            sentinel: (None, None),
        }
    }
}

impl fmt::Display for Redis {
    /// Writes its addresses, without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |(host, port): &(String, u16)| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let hosts: Vec<String> = self.hosts.iter().map(show).collect();
        write!(f, "{}", hosts.join(","))?;
        if let Kind::Sentinel(name) = &self.kind {
            write!(f, " (sentinel {name})")?;
        }
        self.db.map_or(Ok(()), |db| write!(f, "/{db}"))
    }
}

// === impl Redis ===

impl Redis {
    /// Reads `redis`, a URL or a map. Other files are relative to `folder`.
    pub(super) fn read(node: &Node, path: &str, folder: &Path, report: &mut Report) -> Option<Self> {
        if let Value::Scalar(text) = &node.value {
            if text.trim().is_empty() {
                report.error(node.location, format!("{path} is empty"), "write a URL, or delete the key");
                return None;
            }
            let redis = Self::from_url(text, node, path, report)?;
            redis.check_db(path, node.location, report);
            return Some(redis);
        }
        let mut map = MapReader::open(node, path, &keys::REDIS, report)?;
        let mut redis = match map.take("url") {
            Some(node) => Self::from_url(node.scalar().unwrap_or_default(), node, &format!("{path}.url"), report)?,
            None => Self::default(),
        };
        let location = map.location_of("host");
        match map.text("host", report) {
            Some(host) if is_host(&host) => redis.hosts[0].0 = without_brackets(&host).to_owned(),
            Some(_) => {
                let hint = "write a name or an address; the port belongs into `port`, and a URL into `url`";
                report.error(location, format!("{path}.host is not a host"), hint);
            }
            None => {}
        }
        if let Some(port) = map.number("port", report) {
            redis.hosts[0].1 = port;
        }
        redis.db = map.number("db", report).or(redis.db);
        redis.read_prefix(&mut map, report);
        redis.username = map.text("username", report).or(redis.username);
        redis.password = map.password("password", report).or(redis.password);
        if let Some(file) = map.take("password_file") {
            let name = format!("{path}.password_file");
            let text = super::credentials::read_file(file, &name, folder, report);
            redis.password = text.map(Redacted::new).or(redis.password);
        }
        redis.tls = map.flag("tls", report).unwrap_or(redis.tls);
        if let Some(node) = map.take("ssl") {
            redis.read_certificates(node, &format!("{path}.ssl"), folder, report);
        }
        if let Some(node) = map.take("sentinel") {
            redis.read_sentinel(node, &format!("{path}.sentinel"), report);
        }
        let nodes = hosts(&mut map, "cluster", PORT, report);
        if !nodes.is_empty() {
            if matches!(redis.kind, Kind::Sentinel(_)) {
                let what = format!("{path} has a cluster and sentinels");
                report.error(
                    map.location,
                    what,
                    "delete one of them: the nodes of a cluster fail over by themselves",
                );
            }
            redis.hosts = nodes;
            redis.kind = Kind::Cluster;
        }
        redis.check_db(path, map.location, report);
        for entry in map.take_unknown(|name| UNSUPPORTED.iter().any(|(one, _)| *one == name)) {
            let hint = UNSUPPORTED.iter().find(|(name, _)| *name == entry.name).map_or("", |(_, hint)| hint);
            report.error(entry.location, format!("{path}.{} is not supported", entry.name), hint);
        }
        // The old server passed `options` to its client, and ignored `subscribe`.
        map.take_unknown(|name| matches!(name, "options" | "subscribe"));
        map.finish(report);
        Some(redis)
    }

    /// The names of keys and channels in this Redis.
    pub fn scope(&self) -> Scope {
        Scope::new(self.prefix.as_deref(), self.db.unwrap_or(0)).unwrap_or_default()
    }

    fn read_prefix(&mut self, map: &mut MapReader<'_>, report: &mut Report) {
        let location = map.location_of("prefix");
        let name = map.name("prefix");
        let Some(prefix) = map.text("prefix", report) else { return };
        if Scope::new(Some(&prefix), 0).is_none() {
            report.error(
                location,
                format!("{name} is not a prefix"),
                "write 1 to 64 letters, digits, `_`, `-` or `.`",
            );
            return;
        }
        self.prefix = Some(prefix);
    }

    fn check_db(&self, path: &str, location: Location, report: &mut Report) {
        if self.kind == Kind::Cluster && self.db.is_some_and(|db| db != 0) {
            let what = format!("{path} has a db and a cluster");
            report.error(location, what, "delete db: a cluster has only database 0");
        }
    }

    fn read_certificates(&mut self, node: &Node, path: &str, folder: &Path, report: &mut Report) {
        // The Ruby client uses `ssl: true` for TLS.
        if let Some(text) = node.scalar() {
            match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => self.tls = true,
                "false" | "no" | "off" => self.tls = false,
                _ => report.error(node.location, format!("{path} has no keys"), "write `ssl: {ca: ca.pem}`"),
            }
            return;
        }
        let Some(mut map) = MapReader::open(node, path, &keys::REDIS_SSL, report) else { return };
        self.tls = true;
        self.ssl.ca = map.file("ca", folder, report);
        let is_half = map.has("cert") != map.has("key");
        let (cert, key) = (map.file("cert", folder, report), map.file("key", folder, report));
        if is_half {
            report.error(map.location, format!("{path} has only one of cert and key"), "write both");
        }
        self.ssl.client = cert.zip(key);
        // Keys of other clients, such as `verify`. Ignoring them would change what secures the connection.
        for entry in map.take_unknown(|_| true) {
            let what = format!("{path}.{} is not supported", entry.shown_key(|_| false));
            report.error(entry.location, what, "write `ca`, `cert` and `key`; certificates are always verified");
        }
        map.finish(report);
    }

    fn read_sentinel(&mut self, node: &Node, path: &str, report: &mut Report) {
        let Some(mut map) = MapReader::open(node, path, &keys::SENTINEL, report) else { return };
        let nodes = hosts(&mut map, "hosts", SENTINEL_PORT, report);
        let location = map.location_of("name");
        let name = map.text("name", report).unwrap_or_else(|| "mymaster".to_owned());
        if !is_service(&name) {
            let what = format!("{path}.name is not the name of a primary");
            report.error(location, what, "write letters, digits, `.`, `-` or `_`");
        }
        self.sentinel = (map.text("username", report), map.password("password", report));
        let is_by_url = matches!(self.kind, Kind::Sentinel(_));
        if nodes.is_empty() && !is_by_url {
            report.error(map.location, format!("{path} has no hosts"), "write `hosts: [sentinel1:26379]`");
        } else if !nodes.is_empty() {
            self.hosts = nodes;
            self.kind = Kind::Sentinel(name);
        }
        map.finish(report);
    }

    /// The URL may contain a password, so no error repeats it.
    fn from_url(text: &str, node: &Node, path: &str, report: &mut Report) -> Option<Self> {
        match parse_url(text) {
            Ok(redis) => {
                if let Some(password) = &redis.password {
                    check_credential(password.reveal(), node, path, report)?;
                }
                Some(redis)
            }
            Err(reason) => {
                let what = match reason {
                    UrlError::NotRedis => format!("{path} is not a Redis URL"),
                    UrlError::Database => {
                        format!("{path} is not a Redis URL: its database is not a number up to 255")
                    }
                    UrlError::Node => format!("{path} is not a Redis URL: a `node` is not host:port"),
                    UrlError::Service => format!("{path} is not a Redis URL: it has no sentinelServiceName"),
                    UrlError::Parameter(name) => {
                        format!("{path} is not a Redis URL: its parameter `{name}` is not supported")
                    }
                    UrlError::QuestionMark => {
                        format!(
                            "{path} is not a Redis URL: it has a `?` before an `@`; write the `?` of a password as %3F"
                        )
                    }
                };
                report.error(node.location, what, URL_HINT);
                None
            }
        }
    }
}

/// The reasons to reject a URL.
enum UrlError {
    NotRedis,
    Database,
    Node,
    Service,
    /// Its name, as [`shown_key`] returns it.
    Parameter(String),
    /// After a `?` in a password, its rest looks like a parameter.
    QuestionMark,
}

fn parse_url(text: &str) -> Result<Redis, UrlError> {
    let url = Url::parse(text).map_err(|_| UrlError::NotRedis)?;
    let (plain, kind) = match url.scheme() {
        scheme if scheme.ends_with("-sentinel") => (&scheme[..scheme.len() - 9], Kind::Sentinel(String::new())),
        scheme if scheme.ends_with("-cluster") => (&scheme[..scheme.len() - 8], Kind::Cluster),
        scheme => (scheme, Kind::Single),
    };
    let tls = match plain {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(UrlError::NotRedis),
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(UrlError::NotRedis)?;
    let default_port = if matches!(kind, Kind::Sentinel(_)) { SENTINEL_PORT } else { PORT };
    let decode =
        |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| UrlError::NotRedis);
    let mut redis = Redis {
        hosts: vec![(without_brackets(host).to_owned(), url.port().unwrap_or(default_port))],
        kind,
        tls,
        ..Redis::default()
    };
    if !url.username().is_empty() {
        redis.username = Some(decode(url.username())?);
    }
    redis.password = url.password().filter(|word| !word.is_empty()).map(decode).transpose()?.map(Redacted::new);
    redis.db = match url.path().trim_matches('/') {
        "" => None,
        path => Some(parse_number(path).and_then(|db| u8::try_from(db).ok()).ok_or(UrlError::Database)?),
    };
    if url.query().is_some_and(|query| query.contains('@')) {
        return Err(UrlError::QuestionMark);
    }
    for (name, value) in url.query_pairs() {
        match (name.as_ref(), &mut redis.kind) {
            ("node", Kind::Sentinel(_) | Kind::Cluster) => {
                redis.hosts.push(parse_host(&value, default_port).ok_or(UrlError::Node)?);
            }
            ("sentinelServiceName", Kind::Sentinel(service)) => *service = value.into_owned(),
            ("sentinelUsername", Kind::Sentinel(_)) => redis.sentinel.0 = Some(value.into_owned()),
            ("sentinelPassword", Kind::Sentinel(_)) => redis.sentinel.1 = Some(Redacted::new(value)),
            _ => return Err(UrlError::Parameter(shown_key(&name))),
        }
    }
    match &redis.kind {
        Kind::Sentinel(service) if !is_service(service) => Err(UrlError::Service),
        _ => Ok(redis),
    }
}

/// Reads `host`, `host:port`, `::1` or `[::1]:port`.
fn parse_host(text: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && (host.ends_with(']') || !host.contains(':')) => {
            (host, u16::try_from(parse_number(port)?).ok().filter(|port| *port > 0)?)
        }
        _ => (text, default_port),
    };
    let host = without_brackets(host);
    is_host(host).then(|| (host.to_owned(), port))
}

/// Whether Sentinel accepts a text as the name of a primary.
fn is_service(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Reads one or several hosts.
fn hosts(map: &mut MapReader<'_>, key: &'static str, port: u16, report: &mut Report) -> Vec<(String, u16)> {
    let name = map.name(key);
    let mut all = Vec::new();
    let texts: Vec<(String, Location)> = map.texts(key, report);
    for (text, location) in texts {
        match parse_host(&text, port) {
            Some(host) => all.push(host),
            None => report.error(location, format!("{name} has an entry that is not host:port"), "write host:port"),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(redis: &str) -> Result<Redis, String> {
        let config = Config::from_yaml(&format!("/a: {{open: true, redis: {redis}}}\n"));
        config.map(|config| config.namespaces[0].redis.clone().unwrap()).map_err(|report| report.to_string())
    }

    /// The settings as the vectors write them.
    fn shown(redis: &Redis, folder: &Path) -> serde_json::Value {
        let host = |(host, port): &(String, u16)| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let kind = match &redis.kind {
            Kind::Single => "single".to_owned(),
            Kind::Sentinel(name) => format!("sentinel {name}"),
            Kind::Cluster => "cluster".to_owned(),
        };
        let file = |path: &PathBuf| path.strip_prefix(folder).unwrap().display().to_string();
        let mut shown = serde_json::json!({
            "hosts": redis.hosts.iter().map(host).collect::<Vec<_>>(), "kind": kind, "tls": redis.tls,
            "db": redis.db.unwrap_or(0), "username": redis.username, "prefix": redis.prefix,
            "password": redis.password.as_ref().map(Redacted::reveal), "ca": redis.ssl.ca.as_ref().map(file),
            "client": redis.ssl.client.as_ref().map(|(cert, key)| [file(cert), file(key)]),
            "sentinel_username": redis.sentinel.0,
            "sentinel_password": redis.sentinel.1.as_ref().map(Redacted::reveal),
        });
        shown.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        shown
    }

    #[test]
    fn the_vectors_that_the_gem_reads_too() {
        let folder = std::env::temp_dir().join(format!("nodevent-redis-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).unwrap();
        for (name, text) in [
            ("ca.pem", "x"),
            ("cert.pem", "x"),
            ("key.pem", "x"),
            ("password", "from a file\n"),
            ("empty", "\n"),
            ("lines", "a\nb\n"),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/vectors/configuration.json");
        let vectors: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let mut failures = Vec::new();
        for vector in vectors["redis"].as_array().unwrap() {
            let text = format!("/a: {{open: true, redis: {}}}\n", vector["value"].as_str().unwrap());
            let path = folder.join("c.yml");
            std::fs::write(&path, text).unwrap();
            let read = crate::config::load(Some(&path));
            match (read, vector["error"].as_str()) {
                (Ok(loaded), None) => {
                    let found = shown(loaded.config.namespaces[0].redis.as_ref().unwrap(), &folder);
                    if found != vector["target"] {
                        failures.push(format!("{vector}: {found}"));
                    }
                }
                (Err(report), Some(error)) if report.to_string().contains(error) => {}
                (Ok(_), Some(_)) => failures.push(format!("{vector}: accepted")),
                (Err(report), _) => failures.push(format!("{vector}: {report}")),
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    fn a_url_has_all_parts_of_a_map() {
        // N-10
        let url = read("\"rediss://me:wo%20rd@h:7/3\"").unwrap();
        assert_eq!(url.password.as_ref().unwrap().reveal(), "wo rd");
        let parts = read("{host: h, port: 7, db: 3, username: me, password: wo rd, tls: true}").unwrap();
        assert_eq!(url, parts);
        for same in ["\"valkeys://me:wo%20rd@h:7/3\"", "{url: \"rediss://me:wo%20rd@x:7/0\", host: h, db: 3}"] {
            assert_eq!(read(same).unwrap(), parts, "{same}");
        }
        assert_eq!(read("\"redis://h\"").unwrap().to_string(), "h:6379");
        assert_eq!(read("\"redis://[::1]:5/1\"").unwrap().to_string(), "[::1]:5/1");
    }

    #[test]
    fn sentinels_and_clusters_are_written_as_a_url_or_as_a_map() {
        let sentinel = read("{sentinel: {hosts: [a, \"b:5\"], name: main, username: u, password: p}, password: q}");
        let sentinel = sentinel.unwrap();
        assert_eq!(sentinel.hosts, [("a".into(), 26379), ("b".into(), 5)]);
        assert_eq!(sentinel.kind, Kind::Sentinel("main".into()));
        let url = "redis-sentinel://:q@a?sentinelServiceName=main&node=b:5&sentinelUsername=u&sentinelPassword=p";
        assert_eq!(read(&format!("\"{url}\"")).unwrap(), sentinel);
        let cluster = read("{cluster: [\"a:1\", \"b:2\"]}").unwrap();
        assert_eq!(cluster.kind, Kind::Cluster);
        assert_eq!(read("\"redis-cluster://a:1?node=b:2\"").unwrap(), cluster);
    }

    #[test]
    fn what_the_server_cannot_honour_is_an_error_that_names_it() {
        for (redis, expected) in [
            ("\"http://localhost\"", "not a Redis URL"),
            ("localhost", "not a Redis URL"),
            ("\"redis://\"", "not a Redis URL"),
            ("\"redis://h:port/0\"", "not a Redis URL"),
            ("\"redis://h/zero\"", "its database"),
            ("\"redis://h/256\"", "its database"),
            ("\"redis://h?ssl_cert_reqs=none\"", "`ssl_cert_reqs` is not supported"),
            ("\"redis-sentinel://h\"", "no sentinelServiceName"),
            ("\"redis-cluster://h?node=:x\"", "a `node` is not host:port"),
            ("\"unix:///run/redis.sock\"", "not a Redis URL"),
            ("\"redis+sentinel://h\"", "not a Redis URL"),
            ("\"\"", "/a.redis is empty"),
            ("{path: /run/redis.sock}", "/a.redis.path is not supported; Redis is not reached"),
            ("{ssl_params: {verify_mode: 0}}", "/a.redis.ssl_params is not supported"),
            ("{verify: none}", "certificates are always verified"),
            ("{ssl: {ca: nowhere.pem}}", "/a.redis.ssl.ca: the file cannot be read"),
            ("{ssl: {key: Cargo.toml}}", "only one of cert and key"),
            ("{sentinel: {name: x}}", "/a.redis.sentinel has no hosts"),
            ("{cluster: [a], sentinel: {hosts: [b]}}", "/a.redis has a cluster and sentinels"),
            ("{cluster: [a], db: 1}", "/a.redis has a db and a cluster"),
            ("{url: \"redis-cluster://a/1\"}", "/a.redis has a db and a cluster"),
            ("\"redis-cluster://a/1\"", "/a.redis has a db and a cluster"),
            ("{cluster: [\"a:x\"]}", "is not host:port"),
            ("{host: \"redis://:word@h:1\"}", "/a.redis.host is not a host"),
            ("\"redis://me:12?word@h\"", "has a `?` before an `@`"),
            ("{password: \"\"}", "/a.redis.password is empty"),
            ("{password: $REDIS_PASSWORD}", "without braces"),
        ] {
            let report = read(redis).unwrap_err();
            assert!(report.contains(expected), "{redis}: {report}");
        }
        assert!(read("{ssl: true}").unwrap().tls);
    }
}
