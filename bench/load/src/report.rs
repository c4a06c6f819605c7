//! The measurements of a run, as one line of JSON.

use crate::process::{Cpu, Memory};
use crate::servers::Servers;
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
    pub(crate) presence: Option<Presence>,
    pub(crate) mailbox: Option<Mailbox>,
    pub(crate) servers: Option<Servers>,
}

/// Connects and joins.
#[derive(Debug, Serialize)]
pub(crate) struct Connect {
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// The server's CPU time per connect and join. Microseconds.
    pub(crate) cpu_us: f64,
    /// Joins that were sent again because no acknowledgement arrived.
    pub(crate) join_retries: u64,
}

/// Bytes, per connection.
#[derive(Debug, Serialize)]
pub(crate) struct MemoryUse {
    /// Total resident memory of the server before the first connection. Bytes.
    pub(crate) server: i64,
    /// The part of it that is no file. Bytes.
    pub(crate) server_private: i64,
    /// After all joins, before the first delivery.
    pub(crate) idle: f64,
    /// After all deliveries.
    pub(crate) after: f64,
    /// The part of it that is no file.
    pub(crate) after_private: f64,
    /// The kernel's slabs for both ends of a connection.
    pub(crate) slab: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Delivery {
    pub(crate) publications: u64,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    /// Publishes without a confirmation in time.
    pub(crate) unconfirmed: u64,
    /// Connections that the server closed unexpectedly.
    pub(crate) ended: u64,
    /// Deliveries that did not have the next number.
    pub(crate) out_of_order: u64,
    /// Received bytes per delivery: the frame with its header, and a share of the pings.
    pub(crate) bytes: f64,
    /// From the first publication to the last delivery.
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) latency_ms: Latency,
    /// 99th percentile of the publisher's lateness. Microseconds.
    pub(crate) publisher_lateness_us: f64,
    /// The server's CPU time per delivery. Microseconds.
    pub(crate) cpu_us: f64,
    /// The CPU time of its Redis per delivery. Microseconds.
    pub(crate) redis_cpu_us: f64,
    /// The generator's CPU time per delivery. Microseconds.
    pub(crate) generator_cpu_us: f64,
    /// The server's total CPU time during the measurement. Nanoseconds.
    pub(crate) cpu: Cpu,
}

/// Users who leave their rooms and enter them again.
#[derive(Debug, Serialize)]
pub(crate) struct Presence {
    /// Users who left, and who entered, together.
    pub(crate) changes: u64,
    /// The server's CPU time per change. Microseconds.
    pub(crate) cpu_us: f64,
    /// The CPU time of its Redis per change. Microseconds.
    pub(crate) redis_cpu_us: f64,
    /// Events that the users who stay should have received, and have received.
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    /// From the join to the event.
    pub(crate) enter_ms: Latency,
    /// From the end of the grace period to the event.
    pub(crate) leave_ms: Latency,
}

/// Acknowledgements of messages.
#[derive(Debug, Serialize)]
pub(crate) struct Mailbox {
    /// Messages whose acknowledgement the server has confirmed.
    pub(crate) acknowledged: u64,
    /// From an acknowledgement to its confirmation.
    pub(crate) acknowledgement_ms: Latency,
}

#[derive(Debug, Serialize)]
pub(crate) struct Slow {
    pub(crate) connections: usize,
    /// Number of these that the server closed.
    pub(crate) closed: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Storm {
    /// Connections that reconnected.
    pub(crate) reconnected: u64,
    pub(crate) recovered: u64,
    pub(crate) not_recovered: u64,
    /// Time from the server's restart to the last join. Seconds.
    pub(crate) all_joined_s: f64,
    /// Connections that received everything, in order and without duplicates.
    pub(crate) complete: usize,
}

// === impl MemoryUse ===

impl MemoryUse {
    pub(crate) fn new(before: Memory, idle: Memory, after: Memory, connections: usize) -> Self {
        let each = |bytes: i64| bytes as f64 / connections as f64;
        Self {
            server: before.resident,
            server_private: before.private,
            idle: each((idle - before).resident),
            after: each((after - before).resident),
            after_private: each((after - before).private),
            slab: each((idle - before).slab),
        }
    }
}
