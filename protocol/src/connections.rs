//! The connections of users in Redis: how many a user has, and on which servers. The names of the keys, and the scripts.

use crate::history::{PREFIX, Scope};
use std::time::Duration;

/// Reports the users of a server, and renews its lease. The text documents its keys and arguments.
pub const SYNC: &str = include_str!("../redis/connections_sync.lua");
/// Reads the connections of a user.
pub const READ: &str = include_str!("../redis/connections_read.lua");

/// The names of a namespace's keys. All of them are in one slot of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionKeys {
    /// The sorted set of servers.
    pub servers: String,
}

// === impl ConnectionKeys ===

impl ConnectionKeys {
    /// Returns the hash of a server's users.
    #[must_use]
    pub fn of_server(&self, server: &str) -> String {
        format!("{}:of:{server}", self.servers)
    }
}

// === impl Scope ===

impl Scope {
    /// Returns the keys of the connections of a namespace's users.
    #[must_use]
    pub fn connections(&self, namespace: &str) -> ConnectionKeys {
        let prefix = &self.prefix;
        ConnectionKeys { servers: format!("{prefix}{PREFIX}{{{}:{namespace}}}:connections", namespace.len()) }
    }
}

/// The arguments of the script [`SYNC`]. `is_new`: it begins a complete report.
#[must_use]
pub fn sync_args<'a>(
    server: &str,
    lease: Duration,
    is_new: bool,
    changes: impl Iterator<Item = (&'a str, u32)>,
) -> Vec<String> {
    let mut args = vec![server.to_owned(), lease.as_millis().to_string()];
    args.push(if is_new { "new" } else { "" }.to_owned());
    for (user, connections) in changes {
        args.push(user.to_owned());
        args.push(connections.to_string());
    }
    args
}
