//! A server process: the real binary on its own port, which it keeps across restarts.

use crate::support::program::{self, Program};
use crate::support::redis::free_port;
use crate::support::server::metric;
use crate::support::site::Site;
use crate::support::wait::until;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Settings of every server in these tests: a short shutdown, and no limit on the rate of joins.
const SETTINGS: &str = "bind: 127.0.0.1\npublish: local\nadmin: {bind: 127.0.0.1, port: 0}\ndrain_timeout: 2s\nshards: 2\n\
                        limits: {joins_per_second: 10000}\n";
/// Makes the memory engine durable.
pub const STORE: &str = "store: data\n";
/// Heartbeats that detect a dead link within seconds.
pub const FAST_HEARTBEAT: &str = "ping: {interval: 2s, timeout: 2s}\n";
/// Heartbeats that thousands of members in one busy process can keep up with.
pub const SLOW_HEARTBEAT: &str = "ping: {interval: 10s, timeout: 20s}\n";

/// Heartbeats for browsers, which respond to them only while the test reads.
pub const RARE_HEARTBEAT: &str = "ping: {interval: 2m, timeout: 2m}\n";

/// File descriptors permitted above the baseline: two links to Redis (to each node, in a cluster of three), and those of
/// the metrics requests.
const EXTRA_DESCRIPTORS: usize = 10;
/// Memory permitted above the baseline: the allocator keeps what thousands of members once needed. Kilobytes.
const EXTRA_MEMORY: usize = 96 * 1024;

/// A server process.
pub struct Node {
    pub program: Program,
    pub site: Site,
    pub admin: Site,
    port: u16,
    /// Heartbeats and namespaces, as YAML.
    settings: String,
    folder: TempDir,
    /// Resources in use right after the start.
    baseline: Footprint,
}

/// Resources of the machine that a process uses.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    pub descriptors: usize,
    /// Resident memory. Kilobytes.
    pub memory: usize,
}

// === impl Node ===

impl Node {
    /// Starts a server with these namespaces (YAML), and waits until it is ready.
    pub async fn start(namespaces: &str) -> Self {
        let node = Self::start_unready(namespaces).await;
        node.ready().await;
        node
    }

    /// Starts a server and waits until it listens; its Redis may be unavailable.
    pub async fn start_unready(namespaces: &str) -> Self {
        Self::start_with(FAST_HEARTBEAT, namespaces).await
    }

    /// Starts a server with these heartbeats, and waits until it listens.
    pub async fn start_with(heartbeats: &str, namespaces: &str) -> Self {
        let (folder, port) = (TempDir::new().expect("a folder"), free_port());
        let settings = format!("{heartbeats}{namespaces}");
        let (program, site, admin) = Self::serve(&folder, port, &settings).await;
        let baseline = footprint(&program);
        Self { program, site, admin, port, settings, folder, baseline }
    }

    /// Starts several servers with the same namespaces.
    pub async fn start_many(count: usize, namespaces: &str) -> Vec<Self> {
        Self::start_many_with(FAST_HEARTBEAT, count, namespaces).await
    }

    /// Starts several servers for thousands of members.
    pub async fn start_many_with(heartbeats: &str, count: usize, namespaces: &str) -> Vec<Self> {
        let mut nodes = Vec::new();
        for _ in 0..count {
            let node = Self::start_with(heartbeats, namespaces).await;
            node.ready().await;
            nodes.push(node);
        }
        nodes
    }

    /// Writes the configuration file and returns its path.
    pub fn write(folder: &TempDir, port: u16, settings: &str) -> PathBuf {
        let file = folder.path().join("nodevent.yml");
        std::fs::write(&file, format!("{SETTINGS}port: {port}\n{settings}")).expect("a file is written");
        file
    }

    async fn serve(folder: &TempDir, port: u16, settings: &str) -> (Program, Site, Site) {
        let file = Self::write(folder, port, settings);
        let mut command = program::command(folder.path());
        command.arg(file);
        let program = Program::spawn(command);
        let admin = program.admin().await;
        let site = Site::at(&format!("http://127.0.0.1:{port}"));
        (program, site, admin)
    }

    /// Waits until the server can publish through its engines.
    pub async fn ready(&self) {
        until("the server is ready", async || self.is_ready().await).await;
    }

    pub async fn is_ready(&self) -> bool {
        self.admin.get("/readyz").await.status == 200
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.program.signal(Signal::KILL);
        self.program.status().await;
    }

    /// Sends SIGTERM and returns the exit status.
    pub async fn terminate(&mut self) -> Option<i32> {
        self.program.signal(Signal::TERM);
        self.program.status().await
    }

    /// Starts the server again on the same port, after it has exited.
    pub async fn start_again(&mut self) {
        (self.program, self.site, self.admin) = Self::serve(&self.folder, self.port, &self.settings).await;
        self.baseline = footprint(&self.program);
        self.ready().await;
    }

    /// Replaces the program in its process, as an upgrade does, and waits until the new one is ready.
    pub async fn upgrade(&mut self) {
        let listening = || -> Vec<String> {
            let lines = self.program.log().into_iter();
            lines
                .filter_map(|line| Some(line.split_once("listening for administration url=")?.1.to_owned()))
                .collect()
        };
        let before = listening().len();
        self.program.signal(Signal::USR2);
        until("the new program listens", async || listening().len() > before).await;
        self.admin = Site::at(listening()[before].trim());
        self.baseline = footprint(&self.program);
        self.ready().await;
    }

    /// Replaces the configuration, which a restart or an upgrade reads.
    pub fn configure(&mut self, namespaces: &str) {
        self.settings = namespaces.to_owned();
        Self::write(&self.folder, self.port, &self.settings);
    }

    /// The folder of its configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The value of a series.
    pub async fn metric(&self, series: &str) -> i64 {
        metric(&self.admin, series).await
    }

    /// Resources in use now.
    pub fn footprint(&self) -> Footprint {
        footprint(&self.program)
    }

    /// Waits until no client is connected, no room has members, and the process uses no more than its baseline, its
    /// links to Redis and the memory that the allocator keeps.
    pub async fn returns_to_baseline(&self) {
        let baseline = self.baseline;
        let returned = async || {
            let now = self.footprint();
            self.metric("nodevent_connections").await == 0
                && self.metric("nodevent_rooms").await == 0
                && now.descriptors <= baseline.descriptors + EXTRA_DESCRIPTORS
                && now.memory <= baseline.memory + EXTRA_MEMORY
        };
        let what = format!("at most {EXTRA_DESCRIPTORS} descriptors and {EXTRA_MEMORY} KB above {baseline:?}");
        super::eventually(&what, Duration::from_secs(60), returned).await;
    }
}

fn footprint(program: &Program) -> Footprint {
    let proc = format!("/proc/{}", program.pid());
    let descriptors = std::fs::read_dir(format!("{proc}/fd")).expect("its descriptors").count();
    let status = std::fs::read_to_string(format!("{proc}/status")).expect("its status");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let memory = memory.trim().trim_end_matches(" kB").parse().expect("kilobytes");
    Footprint { descriptors, memory }
}

/// Addresses of the servers.
pub fn sites(nodes: &[Node]) -> Vec<Site> {
    nodes.iter().map(|node| node.site.clone()).collect()
}
