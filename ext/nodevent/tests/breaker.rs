//! The breaker in front of reads that a web request waits for.

#[path = "../src/engine/breaker.rs"]
mod breaker;

use breaker::Breaker;
use std::time::{Duration, Instant};

/// A breaker, with times in seconds after the start.
struct Timeline {
    breaker: Breaker,
    start: Instant,
}

impl Timeline {
    fn new() -> Self {
        Self { breaker: Breaker::default(), start: Instant::now() }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    fn admits(&mut self, seconds: f64) -> bool {
        let now = self.at(seconds);
        self.breaker.admits(now)
    }

    fn failed(&mut self, started: f64, seconds: f64) {
        let (started, now) = (self.at(started), self.at(seconds));
        self.breaker.failed(started, now);
    }
}

#[test]
fn pauses_grow_with_each_failure_and_allow_one_attempt_after_each() {
    let mut timeline = Timeline::new();
    let mut time = 0.0;
    assert!(timeline.admits(time) && timeline.admits(time));
    for pause in [5.0, 10.0, 20.0, 40.0, 60.0, 60.0] {
        timeline.failed(time, time + 0.2);
        time += 0.2;
        assert!(!timeline.admits(time + pause - 0.01), "after {pause} s");
        time += pause;
        assert!(timeline.admits(time));
        assert!(!timeline.admits(time + 0.5), "only one attempt");
    }
}

#[test]
fn attempts_that_fail_together_are_one_failure() {
    let mut timeline = Timeline::new();
    for _ in 0..5 {
        timeline.failed(1.0, 1.2);
    }
    assert!(!timeline.admits(6.0));
    assert!(timeline.admits(6.2));
}

#[test]
fn success_ends_the_pauses() {
    let mut timeline = Timeline::new();
    timeline.failed(0.0, 0.2);
    assert!(timeline.admits(5.2));
    timeline.breaker.succeeded();
    assert!(timeline.admits(5.3) && timeline.admits(5.3));
    timeline.failed(6.0, 6.2);
    assert!(timeline.admits(11.2), "the first pause again");
}
