//! The deliveries of all connections.

use crate::clock::Nanos;
use crate::stamp::Stamp;
use hdrhistogram::Histogram;
use serde::Serialize;

/// The highest recorded latency: two minutes.
const MAX_LATENCY: u64 = 120_000_000_000;

/// Deliveries and their latencies.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) deliveries: u64,
    /// Received bytes: all frames, with their headers.
    pub(crate) bytes: u64,
    /// Deliveries that did not have the next number: something was missed or duplicated.
    pub(crate) out_of_order: u64,
    /// Time of the last delivery.
    pub(crate) last: Nanos,
    latency: Latencies,
}

/// Latency from the moment a publication was due to a delivery. Milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// Latencies of one kind.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

// === impl Latencies ===

impl Latencies {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, MAX_LATENCY, 3)?))
    }

    pub(crate) fn record(&mut self, latency: Nanos) {
        self.0.saturating_record(latency);
    }

    pub(crate) fn summary(&self) -> Latency {
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let at = |quantile| milliseconds(self.0.value_at_quantile(quantile));
        Latency { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: milliseconds(self.0.max()) }
    }
}

// === impl Tally ===

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { deliveries: 0, bytes: 0, out_of_order: 0, last: 0, latency: Latencies::new()? })
    }

    /// Counts a delivery to a connection that expects `next_number`.
    pub(crate) fn count(&mut self, stamp: Stamp, now: Nanos, next_number: &mut u32) {
        self.deliveries += 1;
        self.last = now;
        if stamp.number != *next_number {
            self.out_of_order += 1;
        }
        *next_number = stamp.number + 1;
        self.latency.record(now.saturating_sub(stamp.at));
    }

    pub(crate) fn latency(&self) -> Latency {
        self.latency.summary()
    }
}
