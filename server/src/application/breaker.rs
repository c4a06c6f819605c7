//! The circuit breaker: after several failures in succession it rejects requests for a while, then lets one through.
//!
//! Decides only; [`super::client`] counts and logs what it decides.

use std::time::{Duration, Instant};

/// Failures in succession that open it.
const MAX_FAILURES: u32 = 5;
/// The first time for which it is open. It doubles with each failed probe.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The longest time for which it is open.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The state of a circuit breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    /// Failures since the last success.
    failures: u32,
    /// How long it is open next time.
    pause: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// A probe is on its way.
    HalfOpen,
}

/// A request that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    /// Whether its result decides about the state.
    pub(super) is_probe: bool,
}

/// A change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Requests are rejected for this long.
    Opened(Duration),
    /// One request is let through.
    HalfOpened,
    /// All requests are let through.
    Closed,
}

// === impl Breaker ===

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed, failures: 0, pause: MIN_PAUSE }
    }
}

impl Breaker {
    /// Decides about a request. `None`: it is rejected. The result of what is let through must be recorded.
    pub(super) fn admit(&mut self, now: Instant) -> Option<(Pass, Option<Change>)> {
        match self.state {
            State::Closed => Some((Pass { is_probe: false }, None)),
            State::Open { until } if now >= until => {
                self.state = State::HalfOpen;
                Some((Pass { is_probe: true }, Some(Change::HalfOpened)))
            }
            State::Open { .. } | State::HalfOpen => None,
        }
    }

    /// Records whether the application responded to a request.
    pub(super) fn record(&mut self, pass: Pass, responded: bool, now: Instant) -> Option<Change> {
        match (&self.state, pass.is_probe, responded) {
            (State::Closed, _, true) => {
                self.failures = 0;
                None
            }
            (State::Closed, _, false) => {
                self.failures += 1;
                (self.failures >= MAX_FAILURES).then(|| self.open(now))
            }
            (State::HalfOpen, true, true) => {
                *self = Self::default();
                Some(Change::Closed)
            }
            (State::HalfOpen, true, false) => {
                self.pause = (self.pause * 2).min(MAX_PAUSE);
                Some(self.open(now))
            }
            // It was sent before the breaker opened.
            (State::Open { .. } | State::HalfOpen, _, _) => None,
        }
    }

    fn open(&mut self, now: Instant) -> Change {
        self.state = State::Open { until: now + self.pause };
        Change::Opened(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Pass = Pass { is_probe: false };
    const PROBE: Pass = Pass { is_probe: true };

    #[test]
    fn failures_in_succession_open_it_and_one_success_closes_it() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 1..MAX_FAILURES {
            assert_eq!(breaker.admit(now), Some((REQUEST, None)));
            assert_eq!(breaker.record(REQUEST, false, now), None);
        }
        assert_eq!(breaker.record(REQUEST, true, now), None);
        for _ in 1..MAX_FAILURES {
            assert_eq!(breaker.record(REQUEST, false, now), None, "a success starts the count again");
        }
        assert_eq!(breaker.record(REQUEST, false, now), Some(Change::Opened(MIN_PAUSE)));
        assert_eq!(breaker.admit(now), None);
        assert_eq!(breaker.record(REQUEST, true, now), None, "an older request decides nothing");
        let later = now + MIN_PAUSE;
        assert_eq!(breaker.admit(later), Some((PROBE, Some(Change::HalfOpened))));
        assert_eq!(breaker.admit(later), None, "one probe at a time");
        assert_eq!(breaker.record(REQUEST, true, later), None);
        assert_eq!(breaker.record(PROBE, true, later), Some(Change::Closed));
        assert_eq!(breaker.admit(later), Some((REQUEST, None)));
    }

    #[test]
    fn pause_doubles_with_each_failed_probe_up_to_its_maximum() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        for _ in 0..MAX_FAILURES {
            breaker.record(REQUEST, false, now);
        }
        for seconds in [2, 4, 8, 16, 30, 30] {
            now += MAX_PAUSE;
            assert_eq!(breaker.admit(now), Some((PROBE, Some(Change::HalfOpened))));
            let pause = Duration::from_secs(seconds);
            assert_eq!(breaker.record(PROBE, false, now), Some(Change::Opened(pause)));
            assert_eq!(breaker.admit(now + pause - Duration::from_millis(1)), None);
        }
    }
}
