//! The counters of the process and their Prometheus text.
//!
//! Owns the names of all series. Knows nothing of the parts that count. No label has a value that a client or a
//! publisher chooses, so the number of series is fixed. Names follow `nodevent_<noun>[_<unit>][_total]`.

use crate::close_reason::CloseReason;
use nodevent_protocol::publication::InvalidPublication;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// The counters of the process; each is one series of the same name.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Open connections, over all transports.
    pub connections: AtomicI64,
    /// Rooms that have members, summed over the shards.
    pub rooms: AtomicI64,
    /// Engines whose health probe fails.
    pub engines_unavailable: AtomicI64,
    /// Connections opened.
    pub connections_opened: AtomicU64,
    /// Connections ended, by [`CloseReason::index`].
    disconnects: [AtomicU64; CloseReason::NAMES.len()],
    /// Joins that succeeded.
    pub joins: AtomicU64,
    /// Joins that were rejected.
    pub rejected_joins: AtomicU64,
    /// Publications that an engine accepted from a publisher.
    pub publications: AtomicU64,
    /// Publications delivered to a member.
    pub deliveries: AtomicU64,
    /// Invalid publishes, by the index of their reason in [`INVALID`].
    invalid_publishes: [AtomicU64; INVALID.len()],
    /// Handshakes rejected because the server had `limits: max_connections` connections.
    pub rejected_connections: AtomicU64,
    /// Handshakes rejected because of their origin.
    pub rejected_origins: AtomicU64,
    /// HTTP requests rejected as malformed or unauthorized.
    pub rejected_requests: AtomicU64,
    /// HTTP requests whose head or body did not arrive in time, and responses that were not read in time.
    pub request_timeouts: AtomicU64,
    /// HTTP requests whose head or body exceeded its limit.
    pub oversized_requests: AtomicU64,
    /// Transport upgrades that did not finish in time.
    pub upgrade_timeouts: AtomicU64,
    /// Messages that an engine missed because its receive queue overflowed.
    pub engine_lagged_messages: AtomicU64,
    /// Gaps that members of a room were notified of.
    pub gaps: AtomicU64,
    /// Missed publications that were read from the history and delivered.
    pub backfilled_publications: AtomicU64,
    /// Reads of a room's history.
    pub history_reads: AtomicU64,
    /// Connections of an engine that were lost.
    pub engine_disconnects: AtomicU64,
}

/// Why a publish is invalid.
const INVALID: [&str; 9] = [
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
        self.disconnects[reason.index()].fetch_add(1, Relaxed);
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Returns how many connections ended for `reason`.
    pub fn disconnects(&self, reason: CloseReason) -> u64 {
        self.disconnects[reason.index()].load(Relaxed)
    }

    /// Counts a publish that is not a publication.
    pub fn count_invalid_publish(&self, invalid: &InvalidPublication) {
        self.count_invalid(invalid.reason());
    }

    /// Counts a publish that exceeds `limits: max_publish_size`.
    pub fn count_oversized_publish(&self) {
        self.count_invalid("too_large");
    }

    fn count_invalid(&self, reason: &str) {
        let index = INVALID.iter().position(|one| *one == reason).unwrap_or(INVALID.len() - 1);
        self.invalid_publishes[index].fetch_add(1, Relaxed);
    }

    /// Renders all series as Prometheus text, format 0.0.4.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(4096);
        let gauges = [
            ("connections", "Open connections.", &self.connections),
            ("rooms", "Rooms that have members, summed over the shards.", &self.rooms),
            ("engines_unavailable", "Engines whose health probe fails.", &self.engines_unavailable),
        ];
        for (name, help, value) in gauges {
            write_series(&mut out, name, help, "gauge", value.load(Relaxed));
        }
        let counters = [
            ("connections_opened_total", "Connections opened.", &self.connections_opened),
            ("joins_total", "Joins that succeeded.", &self.joins),
            ("rejected_joins_total", "Joins that were rejected.", &self.rejected_joins),
            ("publications_total", "Publications accepted from publishers.", &self.publications),
            ("deliveries_total", "Publications delivered to a member.", &self.deliveries),
            ("rejected_connections_total", "Handshakes rejected at max_connections.", &self.rejected_connections),
            ("rejected_origins_total", "Handshakes rejected because of their origin.", &self.rejected_origins),
            ("rejected_requests_total", "HTTP requests rejected.", &self.rejected_requests),
            ("request_timeouts_total", "HTTP requests that timed out.", &self.request_timeouts),
            ("oversized_requests_total", "HTTP requests that were too large.", &self.oversized_requests),
            ("upgrade_timeouts_total", "Transport upgrades that timed out.", &self.upgrade_timeouts),
            (
                "engine_lagged_messages_total",
                "Messages missed because the receive queue of an engine overflowed.",
                &self.engine_lagged_messages,
            ),
            ("gaps_total", "Gaps that members of a room were notified of.", &self.gaps),
            (
                "backfilled_publications_total",
                "Missed publications recovered from the history.",
                &self.backfilled_publications,
            ),
            ("history_reads_total", "Reads of a room's history.", &self.history_reads),
            ("engine_disconnects_total", "Connections of an engine that were lost.", &self.engine_disconnects),
        ];
        for (name, help, value) in counters {
            write_series(&mut out, name, help, "counter", value.load(Relaxed));
        }
        let help = "Log lines dropped because the log was not read in time.";
        write_series(&mut out, "log_lines_dropped_total", help, "counter", crate::log::dropped());
        let labelled = [
            ("disconnects_total", "Connections ended.", &CloseReason::NAMES[..], &self.disconnects[..]),
            (
                "invalid_publishes_total",
                "Publishes that are not publications.",
                &INVALID[..],
                &self.invalid_publishes[..],
            ),
        ];
        for (name, help, labels, values) in labelled {
            write_head(&mut out, name, help, "counter");
            for (label, value) in labels.iter().zip(values) {
                let _ = writeln!(out, "nodevent_{name}{{reason=\"{label}\"}} {}", value.load(Relaxed));
            }
        }
        out
    }
}

fn write_head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP nodevent_{name} {help}\n# TYPE nodevent_{name} {kind}");
}

fn write_series(out: &mut String, name: &str, help: &str, kind: &str, value: impl std::fmt::Display) {
    write_head(out, name, help, kind);
    let _ = writeln!(out, "nodevent_{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_help_and_type_and_starts_at_zero() {
        let metrics = Metrics::default();
        let text = metrics.render();
        assert!(text.contains("nodevent_disconnects_total{reason=\"send_buffer_full\"} 0"));
        assert!(text.contains("nodevent_invalid_publishes_total{reason=\"not_json\"} 0"));
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
        assert_eq!(metrics.disconnects(CloseReason::OutboxFull), 1);
        assert!(metrics.render().contains("nodevent_connections 0"));
    }
}
