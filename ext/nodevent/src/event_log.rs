//! The outcomes of this process's publications: counts, and reports for Ruby's log and error handlers.
//!
//! Reports with the same kind and text are merged until Ruby fetches them, so their number is bounded however many
//! publications fail.

use crate::positions::Positions;
use crate::wakeup::Wakeup;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The maximum of unfetched reports. Further distinct reports are counted under the last one.
const MAX_REPORTS: usize = 32;

/// Counts and unfetched reports; see the head of this file.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    /// Whether successful publishes are reported.
    report_sent: AtomicBool,
    reports: Mutex<Vec<Report>>,
    /// The last positions of rooms.
    pub(crate) positions: Positions,
    /// Notified when there are reports.
    pub(crate) wakeup: Wakeup,
}

/// An event in the background.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// The kind of event.
    pub(crate) kind: Kind,
    /// The number of publications affected.
    pub(crate) count: u64,
    /// The length of the outage, or the latency of the slowest publication that was sent.
    pub(crate) duration: Duration,
    /// Address and reason, for a person.
    pub(crate) text: Arc<str>,
}

/// The kind of a [`Report`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// The engine accepted these publications.
    Sent,
    /// The engine rejected these publications.
    Failed,
    /// The queue was full.
    Dropped,
    /// The publication was too large to be queued. Counted only, because the caller gets the error.
    Rejected,
    /// The engine cannot be reached. Reported once per outage.
    Unavailable,
    /// The engine can be reached again.
    Restored,
    /// Publications arrive, but something is wrong that a person should know.
    Warning,
}

/// The counts since the process started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
    pub(crate) rejected: u64,
}

// === impl EventLog ===

impl EventLog {
    /// The engine accepted `count` publications, the slowest after `duration`.
    pub(crate) fn sent(&self, count: u64, duration: Duration, engine: &Arc<str>) {
        self.sent.fetch_add(count, Ordering::Relaxed);
        if self.report_sent.load(Ordering::Relaxed) {
            self.report(Report { kind: Kind::Sent, count, duration, text: Arc::clone(engine) });
        }
    }

    /// The engine rejected `count` publications.
    pub(crate) fn failed(&self, count: u64, reason: &Arc<str>) {
        self.failed.fetch_add(count, Ordering::Relaxed);
        self.report(Report { kind: Kind::Failed, count, duration: Duration::ZERO, text: Arc::clone(reason) });
    }

    /// A publication was dropped because the queue is full.
    pub(crate) fn dropped(&self, engine: &Arc<str>) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.report(Report { kind: Kind::Dropped, count: 1, duration: Duration::ZERO, text: Arc::clone(engine) });
    }

    /// A caller timed out before its publication was sent; the caller received the error.
    pub(crate) fn withdrawn(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// The engine is unavailable, or available again after `duration`.
    pub(crate) fn outage(&self, kind: Kind, duration: Duration, text: Arc<str>) {
        self.report(Report { kind, count: 0, duration, text });
    }

    /// Counts a publication of a publisher that is not native, so that there is one set of counts.
    pub(crate) fn count(&self, kind: Kind) {
        match kind {
            Kind::Sent => &self.sent,
            Kind::Dropped => &self.dropped,
            Kind::Rejected => &self.rejected,
            _ => &self.failed,
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            sent: self.sent.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
        }
    }

    /// Sets whether [`Kind::Sent`] is reported.
    pub(crate) fn set_report_sent(&self, wanted: bool) {
        self.report_sent.store(wanted, Ordering::Relaxed);
    }

    /// The reports since the last call.
    pub(crate) fn fetch(&self) -> Vec<Report> {
        std::mem::take(&mut *self.reports())
    }

    fn reports(&self) -> MutexGuard<'_, Vec<Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, report: Report) {
        let mut reports = self.reports();
        // Unavailable and Restored (count 0) must stay in order; all other reports can be summed.
        let same = |other: &&mut Report| other.kind == report.kind && report.count > 0 && other.text == report.text;
        if let Some(other) = reports.iter_mut().find(same) {
            other.count += report.count;
            other.duration = other.duration.max(report.duration);
        } else if reports.len() < MAX_REPORTS {
            reports.push(report);
        } else if let Some(last) = reports.last_mut() {
            last.count += report.count;
        }
        let first = reports.len() == 1;
        drop(reports);
        if first {
            self.wakeup.notify();
        }
    }
}
