//! Decides whether to use something that has failed lately: a web request must not wait for an engine that is
//! unavailable.
//!
//! It knows neither engines nor clocks.

use std::time::{Duration, Instant};

/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The time for one attempt after a pause, before another one is allowed.
const PROBE: Duration = Duration::from_secs(1);

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Failures in a row.
    failures: u32,
    failed_at: Option<Instant>,
    /// Nothing is tried before that.
    paused_until: Option<Instant>,
}

// === impl Breaker ===

impl Breaker {
    /// Whether to try. After a pause, one attempt is allowed at a time.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        if self.paused_until.is_some_and(|until| now < until) {
            return false;
        }
        if self.failures > 0 {
            self.paused_until = Some(now + PROBE);
        }
        true
    }

    /// An attempt that started at `started` has failed. Those that were under way at the same time count as one failure.
    pub(crate) fn failed(&mut self, started: Instant, now: Instant) {
        if self.failed_at.is_some_and(|at| started <= at) {
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.failed_at = Some(now);
        self.paused_until = Some(now + pause);
    }

    /// An attempt has succeeded.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }
}
