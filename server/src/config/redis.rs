//! `redis`: where the Redis of a namespace is.

use super::report::{Place, Report};
use super::secret::Hidden;
use super::table::Table;
use super::tree::{Node, Value};
use fred::types::config::{ClusterDiscoveryPolicy, Server, ServerConfig};
use std::fmt;

/// The Redis of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// One server, the sentinels, or some nodes of the cluster.
    pub hosts: Vec<(String, u16)>,
    /// How `hosts` are meant.
    pub kind: Kind,
    /// ACL user.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Hidden>,
    /// Database number.
    pub db: Option<u8>,
    /// Whether the link is TLS.
    pub tls: bool,
    /// User and password of the sentinels, where they ask for them: those of Redis are never shown to them.
    pub sentinel: (Option<String>, Option<Hidden>),
}

/// How the hosts of a [`Redis`] are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One server.
    Single,
    /// Sentinels that know the primary of that name.
    Sentinel(String),
    /// Nodes of a cluster.
    Cluster,
}

/// Redis's port.
const PORT: u16 = 6379;
/// Sentinel's port.
const SENTINEL_PORT: u16 = 26379;

impl Default for Redis {
    fn default() -> Self {
        Self {
            hosts: vec![("localhost".into(), PORT)],
            kind: Kind::Single,
            username: None,
            password: None,
            db: None,
            tls: false,
            sentinel: (None, None),
        }
    }
}

impl fmt::Display for Redis {
    /// Where it is, without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        write!(f, "{}", hosts.join(","))?;
        if let Kind::Sentinel(name) = &self.kind {
            write!(f, " (sentinel {name})")?;
        }
        self.db.map_or(Ok(()), |db| write!(f, "/{db}"))
    }
}

// === impl Redis ===

impl Redis {
    /// The same, in the words of the Redis client.
    pub fn server(&self) -> ServerConfig {
        let hosts = || self.hosts.iter().map(|(host, port)| Server::new(host.as_str(), *port)).collect::<Vec<_>>();
        match &self.kind {
            Kind::Single => ServerConfig::Centralized { server: hosts().swap_remove(0) },
            Kind::Sentinel(name) => ServerConfig::Sentinel {
                hosts: hosts(),
                service_name: name.clone(),
                username: self.sentinel.0.clone(),
                password: self.sentinel.1.as_ref().map(|password| password.reveal().to_owned()),
            },
            Kind::Cluster => ServerConfig::Clustered { hosts: hosts(), policy: ClusterDiscoveryPolicy::default() },
        }
    }

    /// Reads `redis:`, a URL or a map.
    pub fn read(node: &Node, path: &str, report: &mut Report) -> Option<Self> {
        if let Value::Scalar(text) = &node.value {
            return Self::from_url(text, node.place, path, report);
        }
        let mut table = Table::open(node, path, report)?;
        let place = table.place_of(&["url"]);
        let mut redis = match table.text(&["url"], report) {
            Some(url) => Self::from_url(&url, place, &format!("{path}.url"), report)?,
            None => Self::default(),
        };
        if let Some(host) = table.text(&["host"], report) {
            redis.hosts[0].0 = host;
        }
        if let Some(port) = table.number(&["port"], 1, u16::MAX, report) {
            redis.hosts[0].1 = port;
        }
        redis.db = table.number(&["db", "database"], 0, u8::MAX, report).or(redis.db);
        redis.username = table.text(&["username", "user"], report).or(redis.username);
        redis.password = table.text(&["password", "auth_pass"], report).map(Hidden::new).or(redis.password);
        redis.tls = table.flag(&["tls"], report).unwrap_or(redis.tls);
        if let Some(node) = table.take(&["sentinel"]) {
            redis.read_sentinel(node, &format!("{path}.sentinel"), report);
        }
        let nodes = hosts(&mut table, "cluster", PORT, report);
        if !nodes.is_empty() {
            redis.hosts = nodes;
            redis.kind = Kind::Cluster;
        }
        // Options of the client that the old server used, and a relic of its tests: without effect here.
        table.take(&["options"]);
        table.take(&["subscribe"]);
        table.finish(report);
        Some(redis)
    }

    fn read_sentinel(&mut self, node: &Node, path: &str, report: &mut Report) {
        let Some(mut table) = Table::open(node, path, report) else { return };
        let nodes = hosts(&mut table, "hosts", SENTINEL_PORT, report);
        let name = table.text(&["name", "service"], report).unwrap_or_else(|| "mymaster".to_owned());
        self.sentinel = (table.text(&["username"], report), table.text(&["password"], report).map(Hidden::new));
        let by_url = matches!(self.kind, Kind::Sentinel(_));
        if nodes.is_empty() && !by_url {
            report.mistake(table.place, format!("{path} has no hosts"), "write `hosts: [sentinel1:26379]`");
        } else if !nodes.is_empty() {
            self.hosts = nodes;
            self.kind = Kind::Sentinel(name);
        }
        table.finish(report);
    }

    fn from_url(url: &str, place: Place, path: &str, report: &mut Report) -> Option<Self> {
        let tls = scheme_tls(url);
        let config = match fred::types::config::Config::from_url(url) {
            Ok(config) if tls.is_some() => config,
            _ => {
                // The URL may hold a password: it is not repeated.
                report.mistake(
                    place,
                    format!("{path} is not a Redis URL"),
                    "write redis://host:6379/0, rediss://… for TLS, redis-sentinel://… or redis-cluster://…",
                );
                return None;
            }
        };
        let pair = |server: &Server| (server.host.to_string(), server.port);
        let mut sentinel = (None, None);
        let (hosts, kind) = match &config.server {
            ServerConfig::Centralized { server } => (vec![pair(server)], Kind::Single),
            ServerConfig::Sentinel { hosts, service_name, username, password } => {
                sentinel = (username.clone(), password.clone().map(Hidden::new));
                (hosts.iter().map(pair).collect(), Kind::Sentinel(service_name.clone()))
            }
            ServerConfig::Clustered { hosts, .. } => (hosts.iter().map(pair).collect(), Kind::Cluster),
        };
        Some(Self {
            hosts,
            kind,
            username: config.username,
            password: config.password.map(Hidden::new),
            db: config.database,
            tls: tls.unwrap_or_default(),
            sentinel,
        })
    }
}

/// Whether the scheme of a URL means TLS. `None`: it is not a scheme of Redis.
fn scheme_tls(url: &str) -> Option<bool> {
    let (scheme, _) = url.split_once("://")?;
    let scheme = scheme.strip_suffix("-sentinel").or_else(|| scheme.strip_suffix("-cluster")).unwrap_or(scheme);
    match scheme {
        "redis" | "valkey" => Some(false),
        "rediss" | "valkeys" => Some(true),
        _ => None,
    }
}

/// `host` or `host:port`, one or several.
fn hosts(table: &mut Table<'_>, key: &'static str, port: u16, report: &mut Report) -> Vec<(String, u16)> {
    let name = table.name(key);
    let mut all = Vec::new();
    for (text, place) in table.texts(&[key], report) {
        match text.rsplit_once(':') {
            None => all.push((text, port)),
            Some((host, port)) => match port.parse() {
                Ok(port) => all.push((host.to_owned(), port)),
                Err(_) => report.mistake(place, format!("{name}: `{text}` has no port"), "write host:port"),
            },
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use fred::types::config::ServerConfig;

    #[test]
    fn sentinels_are_shown_their_own_password_and_never_that_of_redis() {
        let shown = |sentinel: &str, more: &str| {
            let text = format!("/a: {{redis: {{{more}password: inner, sentinel: {{{sentinel}}}}}}}");
            let config = Config::from_yaml(&text).unwrap();
            match config.namespaces[0].redis.as_ref().unwrap().server() {
                ServerConfig::Sentinel { username, password, .. } => (username, password),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(shown("hosts: [s1]", ""), (None, None));
        let own = (Some("watcher".to_owned()), Some("outer".to_owned()));
        assert_eq!(shown("hosts: [s1], username: watcher, password: outer", ""), own);
        let url = "url: \"redis-sentinel://s1:26379?sentinelServiceName=main\", ";
        assert_eq!(shown("username: watcher, password: outer", url), own, "beside a URL");
    }
}
