//! Times that survive a restart: what is monotonic in memory is the wall clock in the store.

use crate::clock::now_ms;
use std::time::{Duration, Instant};

/// The present, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    instant: Instant,
    wall_ms: u64,
}

// === impl Times ===

impl Times {
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), wall_ms: now_ms() }
    }

    /// The wall clock now, in milliseconds since the Unix epoch.
    pub(super) fn now_ms(&self) -> u64 {
        self.wall_ms
    }

    /// The wall clock at a time, in milliseconds since the Unix epoch.
    pub(super) fn ms(&self, at: Instant) -> u64 {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        match at.checked_duration_since(self.instant) {
            Some(later) => self.wall_ms.saturating_add(millis(later)),
            None => self.wall_ms.saturating_sub(millis(self.instant.duration_since(at))),
        }
    }

    /// The time at which the wall clock showed this. A time that cannot be represented is now.
    pub(super) fn at(&self, ms: u64) -> Instant {
        let at = match ms.checked_sub(self.wall_ms) {
            Some(later) => self.instant.checked_add(Duration::from_millis(later)),
            None => self.instant.checked_sub(Duration::from_millis(self.wall_ms - ms)),
        };
        at.unwrap_or(self.instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_same_after_it_was_stored() {
        let times = Times::now();
        for ms in [0, 1, 86_400_000] {
            let (before, after) = (times.wall_ms - ms, times.wall_ms + ms);
            assert_eq!((times.ms(times.at(before)), times.ms(times.at(after))), (before, after));
        }
        assert!(times.at(u64::MAX) >= times.instant);
    }
}
