//! Gives memory that connections have used back to the operating system.
//!
//! glibc keeps what is freed in small pieces, such as what thousands of handshakes and joins needed at the same time. After
//! 10,000 joins this is about half of the resident memory. `malloc_trim` gives back the pages that are free as a whole. It
//! locks one arena of the allocator after another, so it runs when few connections are opened or closed, and rarely.

use nodevent_server::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How often it is considered.
const INTERVAL: Duration = Duration::from_secs(1);
/// Connections that are opened or closed before it is worth the time.
const MIN_CHANGES: u64 = 500;
/// It waits until less than one in so many of these changes was during the last [`INTERVAL`].
const CALM: u64 = 100;

/// When memory is given back.
#[derive(Debug, Default)]
struct Schedule {
    /// Connections opened and closed until the last look.
    seen: u64,
    /// Those of them that were counted the last time that memory was given back.
    done: u64,
}

// === impl Schedule ===

impl Schedule {
    /// Whether memory is to be given back now. `changes`: connections opened and closed so far.
    fn is_due(&mut self, changes: u64) -> bool {
        let recent = changes.saturating_sub(self.seen);
        self.seen = self.seen.max(changes);
        let all = self.seen - self.done;
        let is_due = all >= MIN_CHANGES && recent <= all / CALM;
        if is_due {
            self.done = self.seen;
        }
        is_due
    }
}

/// Gives memory back whenever it is worth the time. Never returns.
pub(super) async fn give_back(metrics: Arc<Metrics>) {
    let (mut schedule, mut interval) = (Schedule::default(), tokio::time::interval(INTERVAL));
    loop {
        interval.tick().await;
        let (opened, open) = (metrics.connections_opened.load(Relaxed), metrics.connections.load(Relaxed));
        let changes = (2 * opened).saturating_sub(open.max(0) as u64);
        if schedule.is_due(changes) {
            let _ = tokio::task::spawn_blocking(trim).await;
        }
    }
}

#[cfg(target_env = "gnu")]
fn trim() {
    let began = Instant::now();
    // SAFETY: it has no preconditions, and may be called from any thread.
    let any = unsafe { libc::malloc_trim(0) } == 1;
    tracing::debug!(any, ms = began.elapsed().as_millis() as u64, "gave free memory back to the operating system");
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_the_connections_of_a_rush_are_open() {
        let mut schedule = Schedule::default();
        let due: Vec<bool> =
            [0, 4_000, 9_000, 10_000, 10_050, 10_060].map(|changes| schedule.is_due(changes)).into();
        assert_eq!(due, [false, false, false, false, true, false]);
    }

    #[test]
    fn few_connections_are_not_worth_it() {
        let mut schedule = Schedule::default();
        assert!(!schedule.is_due(MIN_CHANGES - 1) && !schedule.is_due(MIN_CHANGES - 1));
        assert!(schedule.is_due(MIN_CHANGES), "one more");
        assert!(!schedule.is_due(MIN_CHANGES + 6), "they are counted from there on");
    }

    #[test]
    fn a_constant_change_does_not_prevent_it() {
        let mut schedule = Schedule::default();
        let due: Vec<u64> = (1..=250).filter(|second| schedule.is_due(second * 100)).collect();
        assert_eq!(due, [100, 200]);
    }
}
