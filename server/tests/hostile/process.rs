//! The server as a separate process, whose memory the tests measure from outside.

#![allow(dead_code, reason = "several test programs use it, each another part")]

use crate::support::server::metric;
use crate::support::{Program, Site};
use rustix::process::Signal;
use std::time::Duration;
use tempfile::TempDir;

/// A server process.
pub(crate) struct Process {
    program: Program,
    pub(crate) site: Site,
    pub(crate) admin: Site,
    _folder: TempDir,
}

// === impl Process ===

impl Process {
    pub(crate) async fn start(configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listening = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\npublish: local\n";
        let program = Program::serve(folder.path(), &format!("{listening}{configuration}")).await;
        let (site, admin) = (program.site().await, program.admin().await);
        Self { program, site, admin, _folder: folder }
    }

    /// Waits until a line of the log contains a text.
    pub(crate) async fn logs(&self, text: &str) -> String {
        self.program.logs(text).await
    }

    /// Stops the process for a time, as a server does that is busy with an attack.
    pub(crate) async fn pause(&self, length: Duration) {
        self.program.signal(Signal::STOP);
        tokio::time::sleep(length).await;
        self.program.signal(Signal::CONT);
    }

    pub(crate) async fn metric(&self, series: &str) -> i64 {
        metric(&self.admin, series).await
    }

    /// Waits until a series has that value.
    pub(crate) async fn metric_is(&self, series: &str, value: i64) {
        let what = format!("{series} is {value}");
        crate::support::wait::until(&what, async || self.metric(series).await == value).await;
    }

    /// Waits until the server can publish through all engines.
    pub(crate) async fn is_ready(&self) {
        let ready = async || self.admin.get("/readyz").await.status == 200;
        crate::support::wait::until("the server is ready", ready).await;
    }

    /// Resident memory. Bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program.pid())).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}
