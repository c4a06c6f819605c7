//! What several servers and nodes of Redis do, with and without publications.

use crate::clock::Nanos;
use crate::process::Processes;
use crate::redis_counters::Counters;
use serde::Serialize;
use std::net::SocketAddr;

/// What all of them have used up to a moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    at: Nanos,
    /// CPU time of each server and each node. Nanoseconds.
    servers: Vec<u64>,
    nodes: Vec<u64>,
    counters: Vec<Counters>,
}

/// What they have used between two moments.
#[derive(Debug, Serialize)]
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    /// CPU time of each server and each node. Microseconds.
    pub(crate) servers_us: Vec<f64>,
    pub(crate) nodes_us: Vec<f64>,
    /// What each node has sent.
    pub(crate) output_bytes: Vec<u64>,
    pub(crate) writes: Vec<u64>,
    /// What each node has allocated at the end. Bytes.
    pub(crate) memory: Vec<u64>,
}

/// The cost of publications with several servers.
#[derive(Debug, Serialize)]
pub(crate) struct Servers {
    pub(crate) publications: u64,
    /// Calls of our script, and how often something was sent.
    pub(crate) calls: u64,
    pub(crate) flushes: u64,
    /// CPU time of the publisher. Microseconds.
    pub(crate) publisher_us: f64,
    /// Before the first connection.
    pub(crate) memory_before: Vec<u64>,
    /// Connected, without publications.
    pub(crate) idle: Usage,
    pub(crate) publishing: Usage,
}

// === impl Snapshot ===

impl Snapshot {
    pub(crate) fn take(
        at: Nanos,
        servers: &Processes,
        redis: &Processes,
        nodes: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        let cpu = |processes: &Processes| processes.each().iter().map(|one| one.cpu().total).collect();
        let counters = nodes.iter().map(|node| Counters::read(*node)).collect::<Result<_, _>>()?;
        Ok(Self { at, servers: cpu(servers), nodes: cpu(redis), counters })
    }

    /// What was used since an earlier moment.
    pub(crate) fn since(&self, before: &Self) -> Usage {
        let microseconds = |now: &[u64], then: &[u64]| {
            now.iter().zip(then).map(|(now, then)| now.saturating_sub(*then) as f64 / 1000.0).collect()
        };
        let counted = |number: fn(&Counters) -> u64| {
            let pairs = self.counters.iter().zip(&before.counters);
            pairs.map(|(now, then)| number(now).saturating_sub(number(then))).collect()
        };
        Usage {
            seconds: (self.at - before.at) as f64 / 1e9,
            servers_us: microseconds(&self.servers, &before.servers),
            nodes_us: microseconds(&self.nodes, &before.nodes),
            output_bytes: counted(|one| one.output_bytes),
            writes: counted(|one| one.writes),
            memory: self.counters.iter().map(|one| one.memory).collect(),
        }
    }
}
