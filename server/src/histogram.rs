//! Histograms of times, which one thread fills and others read.
//!
//! Each shard has its own, so that recording takes no lock and no other thread writes to the same memory. `metrics` adds
//! them up.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds, with their names in seconds.
const BOUNDS: [(u64, &str); 15] = [
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1.0"),
    (2_500_000, "2.5"),
    (5_000_000, "5.0"),
    (10_000_000, "10.0"),
];

/// Counts of times. Only one thread records.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The times up to each bound and above the one before. The last are above all bounds.
    counts: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

/// The times of one shard.
#[derive(Debug, Default)]
pub struct ShardTimes {
    /// From the arrival of a publication to its write to the first member.
    pub publish_to_write: Histogram,
    /// From the arrival of a publication to its write to the last member.
    pub delivery: Histogram,
    /// From a join to what its client has missed.
    pub recovery: Histogram,
}

// === impl Histogram ===

impl Histogram {
    /// Counts a time. Called by the thread that owns the histogram.
    pub fn record(&self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(bound, _)| microseconds <= *bound).unwrap_or(BOUNDS.len());
        // There is one writer, so that an addition needs no lock of the bus.
        let add = |counter: &AtomicU64, by: u64| counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
        add(&self.counts[bucket], 1);
        add(&self.microseconds, microseconds);
    }
}

/// Writes the samples of the sum of several histograms.
pub(crate) fn write(name: &str, all: &[Arc<ShardTimes>], of: fn(&ShardTimes) -> &Histogram, out: &mut String) {
    let sum = |of_one: &dyn Fn(&Histogram) -> u64| all.iter().map(|one| of_one(of(one))).sum::<u64>();
    let mut count = 0;
    for (index, bound) in BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]).enumerate() {
        count += sum(&|one| one.counts[index].load(Relaxed));
        let _ = writeln!(out, "nodevent_{name}_bucket{{le=\"{bound}\"}} {count}");
    }
    let seconds = sum(&|one| one.microseconds.load(Relaxed)) as f64 / 1e6;
    let _ = writeln!(out, "nodevent_{name}_sum {seconds}\nnodevent_{name}_count {count}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_over_all_shards() {
        let shards: Vec<Arc<ShardTimes>> = (0..2).map(|_| Arc::default()).collect();
        for (shard, milliseconds) in [(0, 1), (0, 2), (1, 2), (1, 60_000)] {
            shards[shard].delivery.record(Duration::from_millis(milliseconds));
        }
        let mut text = String::new();
        write("delivery_seconds", &shards, |one| &one.delivery, &mut text);
        for line in [
            "nodevent_delivery_seconds_bucket{le=\"0.0005\"} 0",
            "nodevent_delivery_seconds_bucket{le=\"0.001\"} 1",
            "nodevent_delivery_seconds_bucket{le=\"0.0025\"} 3",
            "nodevent_delivery_seconds_bucket{le=\"10.0\"} 3",
            "nodevent_delivery_seconds_bucket{le=\"+Inf\"} 4",
            "nodevent_delivery_seconds_sum 60.005",
            "nodevent_delivery_seconds_count 4",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
    }
}
