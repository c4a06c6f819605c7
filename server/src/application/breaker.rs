//! The circuit breakers: after several failures in succession they reject requests for a while, then let one through.
//!
//! Each client has one, and one is for all of them. The one for all counts the failures of one client in succession as one:
//! what a client sends may be the reason why the application fails, and then only that client has to wait.
//!
//! Decides only; [`super::client`] counts and logs what it decides.

use crate::client::Client;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Failures in succession that open it.
const MAX_FAILURES: u32 = 5;
/// The first time for which it is open. It doubles with each failed probe.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The longest time for which it is open.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Clients whose requests have failed that are remembered. The failures of others count for all clients only.
const MAX_CLIENTS: usize = 10_000;

/// The circuit breakers of one target.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    all: Breaker,
    /// Of the clients whose last request failed. `None`: the server itself.
    own: HashMap<Option<Client>, Breaker>,
    /// The client of the last failure since the last success.
    last_failed: Option<Option<Client>>,
}

/// A request that all breakers have let through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted {
    client: Option<Client>,
    all: Pass,
    own: Pass,
}

/// The changes of a client's breaker, and of the one for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) own: Option<Change>,
    pub(super) all: Option<Change>,
}

/// The state of a circuit breaker.
#[derive(Debug)]
struct Breaker {
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
struct Pass {
    /// Whether its result decides about the state.
    is_probe: bool,
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

// === impl Breakers ===

impl Breakers {
    /// Decides about a request. `None`: it is rejected. The result of what is let through must be recorded.
    pub(super) fn admit(&mut self, client: Option<Client>, now: Instant) -> Option<(Admitted, Changes)> {
        let own = self.own.get_mut(&client);
        if !self.all.admits(now) || own.as_ref().is_some_and(|own| !own.admits(now)) {
            return None;
        }
        let own = own.and_then(|own| own.admit(now)).unwrap_or((Pass { is_probe: false }, None));
        let all = self.all.admit(now)?;
        Some((Admitted { client, all: all.0, own: own.0 }, Changes { own: own.1, all: all.1 }))
    }

    /// Records whether the application responded to a request.
    pub(super) fn record(&mut self, admitted: Admitted, responded: bool, now: Instant) -> Changes {
        let Admitted { client, all, own } = admitted;
        let is_repeated = !responded && self.last_failed == Some(client) && !all.is_probe;
        self.last_failed = (!responded).then_some(client);
        Changes {
            own: self.record_own(client, own, responded, now),
            all: if is_repeated { None } else { self.all.record(all, responded, now) },
        }
    }

    fn record_own(&mut self, client: Option<Client>, pass: Pass, responded: bool, now: Instant) -> Option<Change> {
        if !self.own.contains_key(&client) {
            if responded {
                return None;
            }
            if self.own.len() >= MAX_CLIENTS {
                self.own.retain(|_, own| !own.admits(now));
            }
            if self.own.len() >= MAX_CLIENTS {
                return None;
            }
        }
        let own = self.own.entry(client).or_default();
        let change = own.record(pass, responded, now);
        if own.state == State::Closed && own.failures == 0 {
            self.own.remove(&client);
        }
        change
    }
}

// === impl Breaker ===

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed, failures: 0, pause: MIN_PAUSE }
    }
}

impl Breaker {
    /// Whether it lets a request through.
    fn admits(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until } => now >= until,
            State::HalfOpen => false,
        }
    }

    /// Decides about a request. `None`: it is rejected. The result of what is let through must be recorded.
    fn admit(&mut self, now: Instant) -> Option<(Pass, Option<Change>)> {
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
    fn record(&mut self, pass: Pass, responded: bool, now: Instant) -> Option<Change> {
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

    fn client(number: u8) -> Option<Client> {
        Some(Client::of([10, 0, 0, number].into()))
    }

    /// Sends a request that fails or succeeds. `None`: it was rejected.
    fn send(breakers: &mut Breakers, number: u8, responded: bool, now: Instant) -> Option<Changes> {
        let (admitted, _) = breakers.admit(client(number), now)?;
        Some(breakers.record(admitted, responded, now))
    }

    #[test]
    fn requests_of_one_client_that_fail_stop_no_other_client() {
        let (mut breakers, mut now) = (Breakers::default(), Instant::now());
        for _ in 1..MAX_FAILURES {
            assert_eq!(send(&mut breakers, 1, false, now), Some(Changes::default()));
        }
        let opened = Changes { own: Some(Change::Opened(MIN_PAUSE)), all: None };
        assert_eq!(send(&mut breakers, 1, false, now), Some(opened));
        assert_eq!(send(&mut breakers, 1, false, now), None, "it waits");
        assert_eq!(send(&mut breakers, 2, true, now), Some(Changes::default()));
        // Its probes fail too, and its pause grows.
        for seconds in [2, 4, 8] {
            now += MAX_PAUSE;
            let opened = Changes { own: Some(Change::Opened(Duration::from_secs(seconds))), all: None };
            assert_eq!(send(&mut breakers, 1, false, now), Some(opened));
            assert_eq!(send(&mut breakers, 2, true, now), Some(Changes::default()));
        }
        now += MAX_PAUSE;
        assert_eq!(send(&mut breakers, 1, true, now).map(|changes| changes.own), Some(Some(Change::Closed)));
        assert!(breakers.own.is_empty(), "nothing is remembered of clients whose requests succeed");
    }

    #[test]
    fn failures_of_several_clients_in_succession_stop_all_of_them() {
        let (mut breakers, now) = (Breakers::default(), Instant::now());
        for number in 1..MAX_FAILURES as u8 {
            assert_eq!(send(&mut breakers, number % 2, false, now), Some(Changes::default()));
        }
        let opened = Changes { own: None, all: Some(Change::Opened(MIN_PAUSE)) };
        assert_eq!(send(&mut breakers, 7, false, now), Some(opened));
        assert_eq!(send(&mut breakers, 8, true, now), None);
        let (probe, changes) = breakers.admit(client(8), now + MIN_PAUSE).unwrap();
        assert_eq!(changes, Changes { own: None, all: Some(Change::HalfOpened) });
        assert!(breakers.admit(client(9), now + MIN_PAUSE).is_none(), "one probe at a time");
        assert_eq!(breakers.record(probe, true, now), Changes { own: None, all: Some(Change::Closed) });
    }

    #[test]
    fn clients_are_remembered_up_to_a_limit() {
        let (mut breakers, now) = (Breakers::default(), Instant::now());
        for number in 0..MAX_CLIENTS + 10 {
            let client = Some(Client::of(std::net::Ipv4Addr::from_bits(number as u32).into()));
            breakers.record_own(client, REQUEST, false, now);
        }
        assert!(breakers.own.len() <= MAX_CLIENTS);
    }

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
