//! A Redis Cluster of three primaries.

use super::redis::Redis;
use crate::support::redis::{free_port, redis_cli};
use crate::support::wait::until;
use std::net::TcpListener;
use std::process::Stdio;

/// Three Redis processes that share the slots.
pub struct Cluster {
    nodes: Vec<Redis>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts a cluster, and waits until every node reports it as complete.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Redis::start_on(port_with_bus(), &["--cluster-enabled", "yes"]).await);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut cli = redis_cli();
        cli.args(["--cluster", "create"]).args(addresses).args(["--cluster-replicas", "0", "--cluster-yes"]);
        let output = cli.stdin(Stdio::null()).output().expect("redis-cli runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        until("the cluster is complete", async || {
            nodes.iter().all(|node| node.query(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        })
        .await;
        Self { nodes }
    }

    /// Number of subscribed room channels, with sharded or plain subscriptions.
    pub fn channels(&self) -> usize {
        let kinds = ["CHANNELS", "SHARDCHANNELS"];
        let lists =
            self.nodes.iter().flat_map(|node| kinds.map(|kind| node.query(&["PUBSUB", kind, "nodevent:1:{*"])));
        // Before Redis 7 the second command returns an error, which is not a channel name.
        lists.map(|list| list.lines().filter(|line| line.starts_with("nodevent:1:{")).count()).sum()
    }

    /// A namespace on this cluster, as YAML; `more` holds further settings.
    pub fn namespace(&self, name: &str, more: &str) -> String {
        self.namespace_with(name, &format!("history: {{size: 10000}}{more}"))
    }

    /// A namespace with exactly these settings.
    pub fn namespace_with(&self, name: &str, settings: &str) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("\"127.0.0.1:{}\"", node.port)).collect();
        format!("{name}: {{redis: {{cluster: [{}]}}, {settings}}}\n", nodes.join(", "))
    }
}

/// Returns a free port whose cluster bus port, 10,000 above it, is free too. (Redis before version 7 always uses that
/// one.)
fn port_with_bus() -> u16 {
    loop {
        let port = free_port();
        if port.checked_add(10_000).is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return port;
        }
    }
}
