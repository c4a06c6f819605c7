//! A server process: the real binary on a port of its own, which it keeps when it is started again.

use crate::support::program::{self, Program};
use crate::support::redis::free_port;
use crate::support::server::metric;
use crate::support::site::Site;
use crate::support::wait::until;
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// What every server of these tests is told beside its namespaces: a short way down, and as many joins as come.
const SETTINGS: &str = "bind: 127.0.0.1\nadmin: {bind: 127.0.0.1, port: 0}\ndrain_timeout: 2s\nshards: 2\n\
                        limits: {joins_per_second: 10000}\n";
/// Heartbeats that notice a dead link in seconds.
pub const QUICK: &str = "ping: {interval: 2s, timeout: 2s}\n";
/// Heartbeats that do not take thousands of members in one busy process for dead.
pub const CALM: &str = "ping: {interval: 10s, timeout: 20s}\n";

/// What a server may take more than when it had just started: two links to Redis (to each node, in a cluster of three),
/// and those of who asks for the figures.
const DESCRIPTORS: usize = 10;
/// The memory that it may: thousands of members were there, and the allocator keeps what it once had. Kilobytes.
const MEMORY: usize = 96 * 1024;

/// A server process.
pub struct Node {
    pub program: Program,
    pub site: Site,
    pub admin: Site,
    port: u16,
    /// Heartbeats and namespaces, as YAML.
    settings: String,
    folder: TempDir,
    /// What it took when it had just started.
    first: Footprint,
}

/// What a process takes of the machine.
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

    /// Starts a server and waits until it listens; its Redis may be away.
    pub async fn start_unready(namespaces: &str) -> Self {
        Self::start_with(QUICK, namespaces).await
    }

    /// Starts a server with these heartbeats, and waits until it listens.
    pub async fn start_with(heartbeats: &str, namespaces: &str) -> Self {
        let (folder, port) = (TempDir::new().expect("a folder"), free_port());
        let settings = format!("{heartbeats}{namespaces}");
        let (program, site, admin) = Self::serve(&folder, port, &settings).await;
        let first = footprint(&program);
        Self { program, site, admin, port, settings, folder, first }
    }

    /// Starts several servers with the same namespaces.
    pub async fn start_many(count: usize, namespaces: &str) -> Vec<Self> {
        Self::start_many_with(QUICK, count, namespaces).await
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

    /// The configuration as it lies on disk, and its path.
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

    /// Waits until publications get through its engines.
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

    /// SIGTERM; answers the status it ends with.
    pub async fn terminate(&mut self) -> Option<i32> {
        self.program.signal(Signal::TERM);
        self.program.status().await
    }

    /// Starts it again on the same port, after it has ended.
    pub async fn start_again(&mut self) {
        (self.program, self.site, self.admin) = Self::serve(&self.folder, self.port, &self.settings).await;
        self.first = footprint(&self.program);
        self.ready().await;
    }

    /// The value of a series.
    pub async fn metric(&self, series: &str) -> i64 {
        metric(&self.admin, series).await
    }

    /// What the process takes now.
    pub fn footprint(&self) -> Footprint {
        footprint(&self.program)
    }

    /// Waits until nobody is connected, no room has members, and the process takes no more than when it had just
    /// started, but for its links to Redis and the memory that the allocator keeps.
    pub async fn is_back(&self) {
        let first = self.first;
        let back = async || {
            let now = self.footprint();
            self.metric("nodevent_connections").await == 0
                && self.metric("nodevent_rooms").await == 0
                && now.descriptors <= first.descriptors + DESCRIPTORS
                && now.memory <= first.memory + MEMORY
        };
        let what = format!("back where it was: {first:?}, {DESCRIPTORS} descriptors and {MEMORY} KB more at most");
        super::patiently(&what, Duration::from_secs(60), back).await;
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

/// Where the servers are.
pub fn sites(nodes: &[Node]) -> Vec<Site> {
    nodes.iter().map(|node| node.site.clone()).collect()
}
