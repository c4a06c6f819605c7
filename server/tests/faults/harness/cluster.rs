//! A Redis Cluster of three primaries.

use super::redis::Redis;
use crate::support::wait::until;
use std::process::{Command, Stdio};

/// Three Redis processes that share the slots.
pub struct Cluster {
    nodes: Vec<Redis>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts one, and waits until every node knows that it is whole.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Redis::start(&["--cluster-enabled", "yes", "--cluster-port", &bus().to_string()]).await);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut cli = Command::new("redis-cli");
        cli.args(["--cluster", "create"]).args(addresses).args(["--cluster-replicas", "0", "--cluster-yes"]);
        let output = cli.stdin(Stdio::null()).output().expect("redis-cli runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        until("the cluster is whole", async || {
            nodes.iter().all(|node| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        })
        .await;
        Self { nodes }
    }

    /// A namespace that lives here, as YAML; `more` are further settings of it.
    pub fn namespace(&self, name: &str, more: &str) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("\"127.0.0.1:{}\"", node.port)).collect();
        format!("{name}: {{redis: {{cluster: [{}]}}, history: {{size: 10000}}{more}}}\n", nodes.join(", "))
    }
}

/// A port for the nodes' talk among themselves: Redis's own choice, 10,000 above, may not exist.
fn bus() -> u16 {
    crate::support::redis::free_port()
}
