//! What a run has measured, as one line of JSON.

use crate::process::{Cpu, Memory};
use crate::tally::Latency;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) connections: usize,
    pub(crate) connect: Connect,
    pub(crate) memory: MemoryUse,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) slow: Option<Slow>,
    pub(crate) storm: Option<Storm>,
}

/// Connects and joins.
#[derive(Debug, Serialize)]
pub(crate) struct Connect {
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// The server's CPU time for one. Microseconds.
    pub(crate) cpu_us: f64,
    /// Joins that had to be asked for again, since no answer came.
    pub(crate) asked_again: u64,
}

/// Bytes, per connection.
#[derive(Debug, Serialize)]
pub(crate) struct MemoryUse {
    /// Resident memory of the server before the first connection, in all. Bytes.
    pub(crate) server: i64,
    /// Joined, and nothing heard yet.
    pub(crate) idle: f64,
    /// When all that was published had been delivered.
    pub(crate) after: f64,
    /// The kernel's slabs for both ends of a connection.
    pub(crate) slab: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Delivery {
    pub(crate) publications: u64,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    /// Publishes that the server did not confirm in time.
    pub(crate) unconfirmed: u64,
    /// Connections that the server ended without being asked to.
    pub(crate) ended: u64,
    /// Deliveries that did not follow the one before.
    pub(crate) misplaced: u64,
    /// From the first publication to the last delivery.
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) latency_ms: Latency,
    /// How late the publisher was, for 99 of 100. Microseconds.
    pub(crate) publisher_late_us: f64,
    /// The server's CPU time per delivery. Microseconds.
    pub(crate) cpu_us: f64,
    /// That of what works beside the server, i.e. of Redis. Microseconds.
    pub(crate) beside_cpu_us: f64,
    /// The generator's own. Microseconds.
    pub(crate) generator_cpu_us: f64,
    /// All of the server's CPU time while it was measured. Nanoseconds.
    pub(crate) cpu: Cpu,
}

#[derive(Debug, Serialize)]
pub(crate) struct Slow {
    pub(crate) connections: usize,
    /// How many of them the server closed.
    pub(crate) closed: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Storm {
    /// Connections that came back.
    pub(crate) returned: u64,
    pub(crate) recovered: u64,
    pub(crate) not_recovered: u64,
    /// From the moment the server was up again until the last was in its room. Seconds.
    pub(crate) all_back_s: f64,
    /// How many have heard everything, each once and in order.
    pub(crate) complete: usize,
}

// === impl MemoryUse ===

impl MemoryUse {
    pub(crate) fn new(before: Memory, idle: Memory, after: Memory, connections: usize) -> Self {
        let each = |bytes: i64| bytes as f64 / connections as f64;
        Self {
            server: before.resident,
            idle: each((idle - before).resident),
            after: each((after - before).resident),
            slab: each((idle - before).slab),
        }
    }
}
