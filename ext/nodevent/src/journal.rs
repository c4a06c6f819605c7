//! What became of this process's publications: four counts, and what Ruby should tell its log and its error handler.
//!
//! Reports of one kind and reason that nobody has fetched yet are one report, so their number is bounded however
//! many publications fail.

use crate::pipe::Bell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Reports that wait to be fetched. More reasons at a time than this are counted under the last one.
const MOST_REPORTS: usize = 32;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// Whether somebody wants to hear of what was sent.
    wants_sent: AtomicBool,
    reports: Mutex<Vec<Report>>,
    /// Rung when there are reports.
    pub(crate) bell: Bell,
}

/// Something that happened in the background.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// What.
    pub(crate) kind: Kind,
    /// To how many publications.
    pub(crate) count: u64,
    /// How long: the outage, or the slowest of what was sent.
    pub(crate) lasted: Duration,
    /// Where and why, for a person.
    pub(crate) text: Arc<str>,
}

/// What a [`Report`] is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// The engine has these publications.
    Sent,
    /// The engine will not have these publications.
    Failed,
    /// The queue had no room for these publications.
    Dropped,
    /// The engine cannot be reached. Once per outage.
    Away,
    /// The engine is back.
    Back,
}

/// The counts, since the process began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
}

// === impl Journal ===

impl Journal {
    /// The engine has `count` publications, the slowest after `lasted`.
    pub(crate) fn sent(&self, count: u64, lasted: Duration, engine: &Arc<str>) {
        self.sent.fetch_add(count, Ordering::Relaxed);
        if self.wants_sent.load(Ordering::Relaxed) {
            self.report(Report { kind: Kind::Sent, count, lasted, text: Arc::clone(engine) });
        }
    }

    /// The engine will not have `count` publications.
    pub(crate) fn failed(&self, count: u64, reason: &Arc<str>) {
        self.failed.fetch_add(count, Ordering::Relaxed);
        self.report(Report { kind: Kind::Failed, count, lasted: Duration::ZERO, text: Arc::clone(reason) });
    }

    /// The queue had no room for a publication.
    pub(crate) fn dropped(&self, engine: &Arc<str>) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.report(Report { kind: Kind::Dropped, count: 1, lasted: Duration::ZERO, text: Arc::clone(engine) });
    }

    /// A caller took its publication back before it was sent, and has been told.
    pub(crate) fn withdrawn(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// The engine is away, or back after `lasted`.
    pub(crate) fn outage(&self, kind: Kind, lasted: Duration, text: Arc<str>) {
        self.report(Report { kind, count: 0, lasted, text });
    }

    /// Counts what another publisher did, so that there is one set of counts.
    pub(crate) fn count(&self, kind: Kind) {
        match kind {
            Kind::Sent => &self.sent,
            Kind::Dropped => &self.dropped,
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
        }
    }

    /// Says whether [`Kind::Sent`] shall be reported.
    pub(crate) fn want_sent(&self, wanted: bool) {
        self.wants_sent.store(wanted, Ordering::Relaxed);
    }

    /// What happened since the last call, at once.
    pub(crate) fn fetch(&self) -> Vec<Report> {
        std::mem::take(&mut *self.reports())
    }

    fn reports(&self) -> MutexGuard<'_, Vec<Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, report: Report) {
        let mut reports = self.reports();
        // Away and Back must stay in turn; all else is a sum.
        let same = |other: &&mut Report| other.kind == report.kind && report.count > 0 && other.text == report.text;
        if let Some(other) = reports.iter_mut().find(same) {
            other.count += report.count;
            other.lasted = other.lasted.max(report.lasted);
        } else if reports.len() < MOST_REPORTS {
            reports.push(report);
        } else if let Some(last) = reports.last_mut() {
            last.count += report.count;
        }
        let first = reports.len() == 1;
        drop(reports);
        if first {
            self.bell.ring();
        }
    }
}
