//! A Sentinel that monitors a primary and promotes its replica.

use crate::support::redis::{free_port, redis_cli, redis_server};
use crate::support::wait::until;
use std::process::{Child, Stdio};
use tempfile::TempDir;

/// A Sentinel process with a quorum of one.
pub struct Sentinel {
    pub port: u16,
    child: Child,
    _folder: TempDir,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Sentinel ===

impl Sentinel {
    /// Starts a Sentinel for the primary on that port, and waits until it knows the replica.
    pub async fn watch(primary: u16) -> Self {
        let (port, folder) = (free_port(), TempDir::new().expect("a folder"));
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 10000\n"
        );
        std::fs::write(&file, text).expect("a file is written");
        let mut command = redis_server();
        command.arg(&file).arg("--sentinel").current_dir(folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let sentinel = Self { port, child: child.expect("redis-server runs as a sentinel"), _folder: folder };
        until("the sentinel knows the replica", async || {
            let known = sentinel.query(&["SENTINEL", "REPLICAS", "mymaster"]);
            known.contains("name") && known.contains("master-link-status\nok")
        })
        .await;
        sentinel
    }

    /// Port of the primary, as the Sentinel sees it.
    pub fn primary(&self) -> Option<u16> {
        let reply = self.query(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]);
        reply.lines().nth(1).and_then(|port| port.parse().ok())
    }

    fn query(&self, command: &[&str]) -> String {
        let mut cli = redis_cli();
        let output = cli.args(["-p", &self.port.to_string()]).args(command).stdin(Stdio::null()).output();
        String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).into_owned()
    }
}
