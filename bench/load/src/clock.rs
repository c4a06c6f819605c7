//! The clock of a run, for the stamps of publications and the arrival times.

use std::time::{Duration, Instant};

/// Nanoseconds since the start of the run.
pub(crate) type Nanos = u64;

/// A clock that starts with the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

// === impl Clock ===

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Nanos {
        self.0.elapsed().as_nanos() as Nanos
    }

    /// Converts a time of this clock to an instant.
    pub(crate) fn instant(self, at: Nanos) -> Instant {
        self.0 + Duration::from_nanos(at)
    }
}
