//! Rate limits: a token bucket in eight bytes.

use crate::protocol::Millis;

/// Seconds of the average rate that may be used at once.
const BURST_SECONDS: u32 = 5;

/// A token bucket. Starts full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    tokens: u32,
    /// Low bits of the time of the last refill. Milliseconds.
    refilled: u32,
}

// === impl Rate ===

impl Rate {
    pub(super) fn new(per_second: u32, now: Millis) -> Self {
        Self { tokens: per_second.saturating_mul(BURST_SECONDS), refilled: now as u32 }
    }

    /// Takes a token. Returns `false` if there is none, because the limit is reached.
    pub(super) fn allows(&mut self, per_second: u32, now: Millis) -> bool {
        let passed = (now as u32).wrapping_sub(self.refilled);
        let earned = (u64::from(passed) * u64::from(per_second) / 1000).min(u64::from(u32::MAX)) as u32;
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(per_second.saturating_mul(BURST_SECONDS));
            self.refilled = now as u32;
        }
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_the_rate_holds() {
        let mut rate = Rate::new(10, 0);
        assert_eq!((0..100).filter(|_| rate.allows(10, 0)).count(), 50);
        assert_eq!((0..100).filter(|_| rate.allows(10, 1000)).count(), 10);
        assert!(!rate.allows(10, 1050));
        assert!(rate.allows(10, 1150));
    }

    #[test]
    fn the_bucket_holds_over_a_wrap_of_its_clock() {
        let before = u64::from(u32::MAX) - 10;
        let mut rate = Rate::new(10, before);
        for _ in 0..50 {
            assert!(rate.allows(10, before));
        }
        assert!(!rate.allows(10, before));
        assert!(rate.allows(10, before + 200));
    }
}
