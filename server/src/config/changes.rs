//! What has changed between two readings of the configuration, and which of it a running server can use.
//!
//! Owns the list of keys that a reload applies. It compares what the files say, key by key, so that an operator reads the
//! names that are in the file. Values are compared by their digests, and are never printed. It does not apply anything.

use super::keys;
use super::tree::{Node, Value};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// Keys at the top of the file that a reload applies. They decide which pages reach what a namespace opens, and were checked
/// together with the namespaces of the file. So they wait for the restart if a namespace does.
const TOP: [&str; 5] = ["hosts", "origins", "public_url", "publish_origins", "trusted_proxies"];
/// Keys of a namespace that a reload applies. In the flat form they are at the top of the file.
const NAMESPACE: [&str; 9] = [
    "apiKey",
    "bound_keys",
    "max_key_lifetime",
    "publish_key",
    "publish_key_file",
    "publish_keys",
    "secret",
    "secret_file",
    "secrets",
];
/// Keys below `token` that a reload applies.
const TOKEN: [&str; 6] = ["jwks_file", "public_key_file", "public_keys", "secret", "secret_file", "secrets"];
/// Keys below `log` that a reload applies.
const LOG: [&str; 1] = ["level"];
/// Keys below `limits` that a reload applies.
pub const LIMITS: [&str; 14] = [
    "bytes_per_second",
    "handshakes_per_second_per_address",
    "joins_per_second",
    "keep_alive_timeout",
    "max_connections",
    "max_connections_per_address",
    "max_memberships",
    "max_notified_users",
    "max_roomless_per_address",
    "packets_per_second",
    "room_requests_per_second_per_address",
    "send_buffer",
    "write_timeout",
    "wrong_keys_per_second_per_address",
];

/// The keys of a file, with digests of their values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Written(BTreeMap<Vec<String>, [u8; 32]>);

/// What a reload of the configuration changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys that a running server uses at once.
    pub applied: Vec<String>,
    /// Keys that need a restart.
    pub need_restart: Vec<String>,
    /// Whether hosts, origins and proxies stay as they are until the restart, because a namespace does.
    pub keeps_origins: bool,
}

// === impl Written ===

impl Written {
    /// The keys of a file's tree.
    pub(super) fn of(root: &Node) -> Self {
        let mut written = Self::default();
        for entry in root.entries().unwrap_or_default() {
            written.add(vec![entry.name.clone()], &entry.node);
        }
        written
    }

    /// Adds a key. Namespaces and the sections whose keys differ are split into their keys.
    fn add(&mut self, path: Vec<String>, node: &Node) {
        let is_namespace = path.len() == 1 && path[0].starts_with('/');
        let key = path.last().map(String::as_str).unwrap_or_default();
        match node.entries() {
            Some(entries) if is_namespace || matches!(key, "limits" | "log" | "token") => {
                for entry in entries {
                    let below = path.iter().cloned().chain([entry.name.clone()]).collect();
                    self.add(below, &entry.node);
                }
            }
            _ => {
                let mut hash = Sha256::new();
                digest(&node.value, &mut hash);
                self.0.insert(path, hash.finalize().into());
            }
        }
    }

    /// Compares what is in use with what is `newer`, and takes what a running server can use at once. `may_apply`: whether keys
    /// for the access to this namespace can be applied.
    pub fn update(&mut self, newer: &Self, may_apply: impl Fn(&str) -> bool) -> Changes {
        let mut changes = Changes::default();
        let gone = self.0.keys().filter(|path| !newer.0.contains_key(*path));
        let paths: Vec<Vec<String>> = newer.0.keys().chain(gone).cloned().collect();
        let waits = |path: &[String]| {
            let first = first(path);
            let is_about_access = !TOP.contains(&first) && first != "limits" && first != "log";
            !is_reloadable(path) || is_about_access && !may_apply(first)
        };
        let changed: Vec<Vec<String>> =
            paths.into_iter().filter(|path| self.0.get(path) != newer.0.get(path)).collect();
        changes.keeps_origins = changed.iter().any(|path| is_of_namespace(path) && waits(path));
        for path in changed {
            if waits(&path) || changes.keeps_origins && TOP.contains(&first(&path)) {
                changes.need_restart.push(shown(&path));
                continue;
            }
            changes.applied.push(shown(&path));
            match newer.0.get(&path).copied() {
                Some(value) => self.0.insert(path, value),
                None => self.0.remove(&path),
            };
        }
        for names in [&mut changes.applied, &mut changes.need_restart] {
            names.sort();
            names.dedup();
        }
        changes
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Two files may say the same in different ways, and keys may be values in the wrong place.
        f.debug_struct("Written").finish_non_exhaustive()
    }
}

fn shown(path: &[String]) -> String {
    path.iter().map(|part| super::tree::shown_key(part)).collect::<Vec<_>>().join(".")
}

fn first(path: &[String]) -> &str {
    path.first().map_or("", String::as_str)
}

/// Whether a key is one of a namespace. In the flat form these are at the top of the file.
fn is_of_namespace(path: &[String]) -> bool {
    first(path).starts_with('/') || keys::NAMESPACE.find(first(path)).is_some()
}

fn is_reloadable(path: &[String]) -> bool {
    let below = match path {
        [first, rest @ ..] if first.starts_with('/') => rest,
        [first] if TOP.contains(&first.as_str()) => return true,
        path => path,
    };
    let has = |list: &[&str], key: &String| list.contains(&key.as_str());
    match below {
        [section, key] if section == "limits" => has(&LIMITS, key),
        [section, key] if section == "log" => has(&LOG, key),
        [section, key] if section == "token" => has(&TOKEN, key),
        [key] => has(&NAMESPACE, key),
        _ => false,
    }
}

/// Adds a value without its locations.
fn digest(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Null => hash.update([0]),
        Value::Scalar(text) => {
            hash.update([1]);
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        }
        Value::List(list) => {
            hash.update([2]);
            hash.update(list.len().to_be_bytes());
            list.iter().for_each(|node| digest(&node.value, hash));
        }
        Value::Map(entries) => {
            hash.update([3]);
            hash.update(entries.len().to_be_bytes());
            for entry in entries {
                hash.update(entry.name.len().to_be_bytes());
                hash.update(&entry.name);
                digest(&entry.node.value, hash);
            }
        }
    }
}

// === impl Changes ===

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.applied.as_slice() {
            [] => f.write_str("no key that a reload applies was changed")?,
            applied => write!(f, "in use: {}", applied.join(", "))?,
        }
        match self.need_restart.as_slice() {
            [] => Ok(()),
            keys => write!(f, "; restart the server to use: {}", keys.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn written(text: &str) -> Written {
        Config::from_yaml(text).unwrap_or_else(|report| panic!("{report}")).written
    }

    #[test]
    fn keys_that_changed_are_named_and_divided() {
        let old = written(
            "port: 1\nlimits: {send_buffer: 1mb, max_room_name: 99}\n/a: {secret: one}\n/b: {open: true}\n",
        );
        let new = written(
            "port: 2\nlog: {level: debug, audit: true}\nlimits: {send_buffer: 2mb, max_room_name: 100}\n\
             /a: {secret: two, history: off}\n/b: {open: true}\n",
        );
        let mut used = old.clone();
        let changes = used.update(&new, |_| true);
        assert_eq!(changes.applied, ["/a.secret", "limits.send_buffer", "log.level"]);
        assert_eq!(changes.need_restart, ["/a.history", "limits.max_room_name", "log.audit", "port"]);
        assert!(!format!("{new:?}{changes}").contains("two"));
        let again = used.update(&new, |_| true);
        assert_eq!((again.applied.len(), again.need_restart), (0, changes.need_restart), "until the restart");
        assert_eq!(old.clone().update(&new, |name| name != "/a").need_restart[1], "/a.secret");
        assert_eq!(used.update(&old, |_| true).applied.len(), 3, "back");
        assert_eq!(used, old);
    }

    #[test]
    fn hosts_and_origins_wait_for_the_restart_if_a_namespace_does() {
        let old = written("/a: {open: true}\n");
        for (new, waits) in [
            ("/a: {secret: one}\n", true),
            ("/a: {open: true, history: off}\n", true),
            ("/a: {open: true}\n/b: {open: true}\n", true),
            ("shards: 2\n/a: {open: true}\n", false),
            ("/a: {open: true, publish_key: a-key-of-more-than-sixteen}\n", false),
        ] {
            let mut used = old.clone();
            let new = written(&format!("hosts: a.example\norigins: [\"https://a.example\"]\n{new}"));
            let changes = used.update(&new, |_| true);
            let is_listed =
                |list: &[String]| ["hosts", "origins"].iter().all(|name| list.contains(&(*name).to_owned()));
            assert_eq!(changes.keeps_origins, waits, "{changes}");
            assert!(is_listed(if waits { &changes.need_restart } else { &changes.applied }), "{changes}");
        }
        let flat = written("open: true\n");
        let changes = flat.clone().update(&written("hosts: a.example\nsecret: one\n"), |_| false);
        assert!(changes.keeps_origins && changes.applied.is_empty(), "{changes}");
    }

    #[test]
    fn the_order_of_keys_and_their_notation_change_nothing() {
        let one = written("limits: {send_buffer: 1mb, max_room_name: 99}\n/a: {secret: one}\n");
        let other = written("/a:\n  secret: 'one'\nlimits:\n  max_room_name: 99\n  send_buffer: 1mb\n");
        assert_eq!(one, other);
    }
}
