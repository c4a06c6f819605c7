//! What the server counts. No label that a browser or a publisher can grow.
//!
//! It owns the counters and their Prometheus text; it does not know who counts. Names follow
//! `nodevent_<noun>[_<unit>][_total]`.

use crate::close_reason::CloseReason;
use nodevent_protocol::publication::InvalidPublication;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Every counter of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections now, whatever their transport.
    pub connections: AtomicI64,
    /// Rooms that have members now, summed over the shards.
    pub rooms: AtomicI64,
    /// Engines through which no publication gets now, as their probes tell.
    pub engines_away: AtomicI64,
    /// Connections begun.
    pub connects: AtomicU64,
    /// Connections ended, by [`CloseReason::index`].
    closes: [AtomicU64; CloseReason::NAMES.len()],
    /// Joins that were let in.
    pub joins: AtomicU64,
    /// Joins that were refused.
    pub refused_joins: AtomicU64,
    /// Publications the engines took from publishers.
    pub publications: AtomicU64,
    /// Publications put before a member.
    pub deliveries: AtomicU64,
    /// Publishes that were skipped, by the place of their reason in [`SKIPPED`].
    skipped: [AtomicU64; SKIPPED.len()],
    /// Handshakes refused because there were as many connections as there may be.
    pub refused_connections: AtomicU64,
    /// Handshakes refused because of their origin.
    pub refused_origins: AtomicU64,
    /// HTTP requests that were refused as malformed, unauthorised or too large.
    pub refused_requests: AtomicU64,
    /// HTTP requests whose head or body did not arrive in time, and responses that were not read in time.
    pub request_timeouts: AtomicU64,
    /// HTTP requests whose head or body was larger than its limit.
    pub oversized_requests: AtomicU64,
    /// Upgrades that were not finished in time.
    pub upgrade_timeouts: AtomicU64,
    /// Messages an engine knows to have missed (its own queue overflowed, or the link to Redis was down).
    pub engine_lost: AtomicU64,
    /// Times the members of a room were told that publications may be missing.
    pub gaps: AtomicU64,
    /// Lost publications that were read from the history and delivered after all.
    pub mended: AtomicU64,
    /// Reads of a room's history.
    pub history_reads: AtomicU64,
    /// Times an engine lost its link.
    pub engine_disconnects: AtomicU64,
}

/// Why a publish is skipped.
const SKIPPED: [&str; 9] = [
    "not_utf8",
    "not_json",
    "not_an_object",
    "no_room",
    "bad_room",
    "no_event",
    "not_an_event",
    "too_large",
    "other",
];

// === impl Metrics ===

impl Metrics {
    /// Counts a connection that ended.
    pub fn closed(&self, reason: CloseReason) {
        self.closes[reason.index()].fetch_add(1, Relaxed);
        self.connections.fetch_sub(1, Relaxed);
    }

    /// How many connections ended for `reason`.
    pub fn closes(&self, reason: CloseReason) -> u64 {
        self.closes[reason.index()].load(Relaxed)
    }

    /// Counts a publish that was skipped.
    pub fn skip(&self, skipped: &InvalidPublication) {
        self.skip_for(skipped.reason());
    }

    /// Counts a publish that was skipped for being larger than the publish limit.
    pub fn skip_too_large(&self) {
        self.skip_for("too_large");
    }

    fn skip_for(&self, reason: &str) {
        let index = SKIPPED.iter().position(|one| *one == reason).unwrap_or(SKIPPED.len() - 1);
        self.skipped[index].fetch_add(1, Relaxed);
    }

    /// Everything as Prometheus text, format 0.0.4.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(4096);
        let gauges = [
            ("nodevent_connections", "Connections now.", &self.connections),
            ("nodevent_rooms", "Rooms that have members now, summed over the shards.", &self.rooms),
            ("nodevent_engines_away", "Engines through which no publication gets now.", &self.engines_away),
        ];
        for (name, help, value) in gauges {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {}", value.load(Relaxed));
        }
        let counters = [
            ("nodevent_connects_total", "Connections begun.", &self.connects),
            ("nodevent_joins_total", "Joins that were let in.", &self.joins),
            ("nodevent_refused_joins_total", "Joins that were refused.", &self.refused_joins),
            ("nodevent_publications_total", "Publications taken from publishers.", &self.publications),
            ("nodevent_deliveries_total", "Publications put before a member.", &self.deliveries),
            ("nodevent_refused_connections_total", "Handshakes refused at the bound.", &self.refused_connections),
            ("nodevent_refused_origins_total", "Handshakes refused for their origin.", &self.refused_origins),
            ("nodevent_refused_requests_total", "HTTP requests refused.", &self.refused_requests),
            ("nodevent_request_timeouts_total", "HTTP requests too slow to be served.", &self.request_timeouts),
            ("nodevent_oversized_requests_total", "HTTP requests too large to be read.", &self.oversized_requests),
            ("nodevent_upgrade_timeouts_total", "Upgrades not finished in time.", &self.upgrade_timeouts),
            ("nodevent_engine_lost_total", "Publications an engine knows to have missed.", &self.engine_lost),
            ("nodevent_gaps_total", "Rooms whose members were told that publications may be missing.", &self.gaps),
            ("nodevent_mended_total", "Lost publications that the history gave back.", &self.mended),
            ("nodevent_history_reads_total", "Reads of a room's history.", &self.history_reads),
            ("nodevent_engine_disconnects_total", "Times an engine lost its link.", &self.engine_disconnects),
        ];
        for (name, help, value) in counters {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {}", value.load(Relaxed));
        }
        let _ = writeln!(
            out,
            "# HELP nodevent_log_dropped_total Lines of the log that nobody read in time.\n\
             # TYPE nodevent_log_dropped_total counter\nnodevent_log_dropped_total {}",
            crate::log::dropped()
        );
        let labelled = [
            ("nodevent_closes_total", "Connections ended.", &CloseReason::NAMES[..], &self.closes[..]),
            ("nodevent_skipped_total", "Publishes that were skipped.", &SKIPPED[..], &self.skipped[..]),
        ];
        for (name, help, labels, values) in labelled {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (label, value) in labels.iter().zip(values) {
                let _ = writeln!(out, "{name}{{reason=\"{label}\"}} {}", value.load(Relaxed));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_help_and_type_and_starts_at_zero() {
        let metrics = Metrics::default();
        let text = metrics.render();
        assert!(text.contains("nodevent_closes_total{reason=\"outbox_full\"} 0"));
        assert!(text.contains("nodevent_skipped_total{reason=\"not_json\"} 0"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(text.contains(&format!("# TYPE {name} ")), "{name} has no type");
            let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(name.starts_with("nodevent_") && is_plain, "{name}");
            let is_counter = text.contains(&format!("# TYPE {name} counter"));
            assert_eq!(name.ends_with("_total"), is_counter, "{name}");
            // The only label is one of a fixed list of ours: nobody outside can make more series.
            let labels = line.strip_prefix(name).unwrap().split(' ').next().unwrap();
            assert!(labels.is_empty() || labels.starts_with("{reason=\""), "{line}");
        }
    }

    #[test]
    fn an_ended_connection_is_counted_by_its_reason() {
        let metrics = Metrics::default();
        metrics.connections.fetch_add(1, Relaxed);
        metrics.closed(CloseReason::OutboxFull);
        assert_eq!(metrics.closes(CloseReason::OutboxFull), 1);
        assert!(metrics.render().contains("nodevent_connections 0"));
    }
}
