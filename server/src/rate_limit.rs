//! Rate limits: a token bucket in eight bytes, for what clients send and for lines of the log.
//!
//! # Units
//! `now` is a time of any clock that does not run backwards. Milliseconds.

/// Seconds of the average rate that may be used at once.
const BURST_SECONDS: u32 = 5;

/// A rate limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RateLimit {
    /// The average rate.
    per_second: u32,
    /// Maximum number that may be used at once.
    burst: u32,
}

/// A token bucket. Starts full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucket {
    tokens: u32,
    /// Low bits of the time of the last refill. Milliseconds.
    refilled: u32,
}

// === impl RateLimit ===

impl RateLimit {
    pub(crate) const fn with_burst(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst }
    }

    /// A limit with the usual burst, and at least `min_burst`.
    pub(crate) fn new(per_second: u32, min_burst: u32) -> Self {
        Self { per_second, burst: per_second.saturating_mul(BURST_SECONDS).max(min_burst) }
    }
}

// === impl TokenBucket ===

impl TokenBucket {
    pub(crate) fn new(limit: RateLimit, now: u64) -> Self {
        Self { tokens: limit.burst, refilled: now as u32 }
    }

    /// Whether all tokens are there at `now`, so that a new bucket would be the same.
    pub(crate) fn is_full(mut self, limit: RateLimit, now: u64) -> bool {
        self.allows_many(limit, 0, now);
        self.tokens >= limit.burst
    }

    /// Whether there are `count` tokens at `now`. Takes none.
    pub(crate) fn has(mut self, limit: RateLimit, count: u32, now: u64) -> bool {
        self.allows_many(limit, count, now)
    }

    /// Takes a token. Returns `false` if there is none, because the limit is reached.
    pub(crate) fn allows(&mut self, limit: RateLimit, now: u64) -> bool {
        self.allows_many(limit, 1, now)
    }

    /// Takes `count` tokens. Returns `false` if there are fewer, because the limit is reached.
    pub(crate) fn allows_many(&mut self, limit: RateLimit, count: u32, now: u64) -> bool {
        let passed = (now as u32).wrapping_sub(self.refilled);
        let earned = (u64::from(passed) * u64::from(limit.per_second) / 1000).min(u64::from(u32::MAX)) as u32;
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(limit.burst);
            self.refilled = now as u32;
        }
        match self.tokens.checked_sub(count) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_the_rate_holds() {
        let limit = RateLimit::new(10, 0);
        let mut bucket = TokenBucket::new(limit, 0);
        assert_eq!((0..100).filter(|_| bucket.allows(limit, 0)).count(), 50);
        assert_eq!((0..100).filter(|_| bucket.allows(limit, 1000)).count(), 10);
        assert!(!bucket.allows(limit, 1050));
        assert!(bucket.allows(limit, 1150));
    }

    #[test]
    fn the_burst_can_be_larger_than_usual() {
        let limit = RateLimit::new(10, 120);
        let mut bucket = TokenBucket::new(limit, 0);
        assert_eq!((0..200).filter(|_| bucket.allows(limit, 0)).count(), 120);
    }

    #[test]
    fn the_bucket_holds_over_a_wrap_of_its_clock() {
        let before = u64::from(u32::MAX) - 10;
        let limit = RateLimit::new(10, 0);
        let mut bucket = TokenBucket::new(limit, before);
        for _ in 0..50 {
            assert!(bucket.allows(limit, before));
        }
        assert!(!bucket.allows(limit, before));
        assert!(bucket.allows(limit, before + 200));
    }
}
