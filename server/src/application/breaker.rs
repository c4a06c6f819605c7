//! The circuit breakers: after several failures in succession they reject requests for a while, then let one through.
//!
//! Each client has one, and one is for all of them. What a client sends may be the reason why the application fails, and
//! then only that client has to wait. So the one for all opens only while the application responds to no client: requests
//! of many clients got no response, and for a while none of any client did. Clients whose requests have failed cannot keep
//! it open: whether it closes is decided by the requests of others.
//!
//! Decides only; [`super::client`] counts and logs what it decides.

use crate::client::Client;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Failures in succession that open the breaker of a client.
const MAX_FAILURES: u32 = 5;
/// Clients without a response that open the breaker for all.
const MANY_CLIENTS: usize = 8;
/// Time without any response after which the breaker for all may open.
const SILENCE: Duration = Duration::from_secs(10);
/// The first time for which a breaker is open. It doubles with each failed probe.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The longest time for which it is open.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Clients whose requests have failed that are remembered. The failures of others count for all clients only.
const MAX_CLIENTS: usize = 10_000;

/// What the result of a request says about the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// It responds as it should.
    Works,
    /// It responds with an error, as to a request that it cannot process.
    Fails,
    /// There was no response.
    DoesNotRespond,
}

/// The circuit breakers of one target.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    all: CommonBreaker,
    /// Of the clients whose last request failed. `None`: the server itself.
    own: HashMap<Option<Client>, Breaker>,
}

/// A request that all breakers have let through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted {
    client: Option<Client>,
    /// The probe that it is for the breaker for all.
    all: Option<Probe>,
    own: Pass,
}

/// The changes of a client's breaker, and of the one for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) own: Option<Change>,
    pub(super) all: Option<Change>,
}

/// The breaker for all clients.
#[derive(Debug)]
struct CommonBreaker {
    /// `None`: it is closed.
    open: Option<Open>,
    /// How often it has opened.
    openings: u64,
    /// How long it is open next time.
    pause: Duration,
    /// When the application last responded.
    responded_at: Option<Instant>,
    /// Clients without a response since then, as many as open it.
    without_response: Vec<Option<Client>>,
}

/// The state of the breaker for all clients while it is open.
#[derive(Debug)]
struct Open {
    /// When clients whose last request did not fail may probe.
    until: Instant,
    has_probe: bool,
    /// When the others may probe, in case there are no others.
    failed_until: Instant,
    has_probe_of_failed: bool,
    /// Whether there was a probe.
    is_probed: bool,
}

/// A probe for the breaker for all clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Probe {
    /// The opening that it is about.
    opening: u64,
    /// Whether it is one of a client whose last request had failed.
    is_of_failed: bool,
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
        let has_failed = own.is_some();
        if !self.all.admits(has_failed, now) || own.as_ref().is_some_and(|own| !own.admits(now)) {
            return None;
        }
        let own = own.and_then(|own| own.admit(now)).unwrap_or((Pass { is_probe: false }, None));
        let all = self.all.admit(has_failed);
        Some((Admitted { client, all: all.0, own: own.0 }, Changes { own: own.1, all: all.1 }))
    }

    /// Records the result of a request.
    pub(super) fn record(&mut self, admitted: Admitted, health: Health, now: Instant) -> Changes {
        let Admitted { client, all, own } = admitted;
        Changes {
            own: self.record_own(client, own, health == Health::Works, now),
            all: self.all.record(all, client, health != Health::DoesNotRespond, now),
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

// === impl CommonBreaker ===

impl Default for CommonBreaker {
    fn default() -> Self {
        Self { open: None, openings: 0, pause: MIN_PAUSE, responded_at: None, without_response: Vec::new() }
    }
}

impl CommonBreaker {
    /// Whether it lets a request through. `has_failed`: the last request of its client has failed.
    fn admits(&self, has_failed: bool, now: Instant) -> bool {
        self.open.as_ref().is_none_or(|open| match has_failed {
            false => now >= open.until && !open.has_probe,
            true => now >= open.failed_until && !open.has_probe_of_failed,
        })
    }

    /// Lets through what it admits. Returns the probe that this is.
    fn admit(&mut self, has_failed: bool) -> (Option<Probe>, Option<Change>) {
        let Some(open) = &mut self.open else { return (None, None) };
        *(if has_failed { &mut open.has_probe_of_failed } else { &mut open.has_probe }) = true;
        let is_first = !std::mem::replace(&mut open.is_probed, true);
        let probe = Probe { opening: self.openings, is_of_failed: has_failed };
        (Some(probe), is_first.then_some(Change::HalfOpened))
    }

    /// Records whether the application responded to a request.
    fn record(
        &mut self,
        probe: Option<Probe>,
        client: Option<Client>,
        responded: bool,
        now: Instant,
    ) -> Option<Change> {
        let probe = probe.filter(|probe| probe.opening == self.openings);
        if responded {
            self.responded_at = Some(now);
            self.without_response.clear();
            // A request that was sent before it opened does not close it.
            probe?;
            self.pause = MIN_PAUSE;
            return self.open.take().map(|_| Change::Closed);
        }
        match (&mut self.open, probe) {
            (None, _) => {
                let is_known = self.without_response.contains(&client);
                if !is_known && self.without_response.len() < MANY_CLIENTS {
                    self.without_response.push(client);
                }
                let is_silent = self.responded_at.is_none_or(|at| now.duration_since(at) >= SILENCE);
                (is_silent && self.without_response.len() >= MANY_CLIENTS).then(|| self.open(now))
            }
            // It may be the client's own fault: others do not wait longer for it.
            (Some(open), Some(Probe { is_of_failed: true, .. })) => {
                open.has_probe_of_failed = false;
                open.failed_until = now + self.pause;
                None
            }
            (Some(_), Some(_)) => {
                self.pause = (self.pause * 2).min(MAX_PAUSE);
                Some(self.open(now))
            }
            (Some(_), None) => None,
        }
    }

    fn open(&mut self, now: Instant) -> Change {
        let until = now + self.pause;
        self.openings += 1;
        self.open = Some(Open {
            until,
            has_probe: false,
            failed_until: until,
            has_probe_of_failed: false,
            is_probed: false,
        });
        Change::Opened(self.pause)
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
    use super::Health::{DoesNotRespond, Fails, Works};
    use super::*;

    fn client(number: u8) -> Option<Client> {
        Some(Client::of([10, 0, 0, number].into()))
    }

    /// Sends a request with this result. `None`: it was rejected.
    fn send(breakers: &mut Breakers, number: u8, health: Health, now: Instant) -> Option<Changes> {
        let (admitted, _) = breakers.admit(client(number), now)?;
        Some(breakers.record(admitted, health, now))
    }

    /// Breakers of which the one for all has just opened, because of these clients.
    fn opened(numbers: std::ops::Range<u8>, now: Instant) -> Breakers {
        let mut breakers = Breakers::default();
        for number in numbers.clone() {
            let changes = send(&mut breakers, number, DoesNotRespond, now).unwrap();
            let is_last = number + 1 == numbers.end;
            assert_eq!(changes.all, is_last.then_some(Change::Opened(MIN_PAUSE)), "{number}");
        }
        breakers
    }

    #[test]
    fn requests_of_one_client_that_fail_stop_no_other_client() {
        for failure in [Fails, DoesNotRespond] {
            let (mut breakers, mut now) = (Breakers::default(), Instant::now());
            for _ in 1..MAX_FAILURES {
                assert_eq!(send(&mut breakers, 1, failure, now), Some(Changes::default()));
            }
            let opened = Changes { own: Some(Change::Opened(MIN_PAUSE)), all: None };
            assert_eq!(send(&mut breakers, 1, failure, now), Some(opened));
            assert_eq!(send(&mut breakers, 1, failure, now), None, "it waits");
            assert_eq!(send(&mut breakers, 2, Works, now), Some(Changes::default()));
            // Its probes fail too, and its pause grows.
            for seconds in [2, 4, 8] {
                now += MAX_PAUSE;
                let opened = Changes { own: Some(Change::Opened(Duration::from_secs(seconds))), all: None };
                assert_eq!(send(&mut breakers, 1, failure, now), Some(opened));
                assert_eq!(send(&mut breakers, 2, Works, now), Some(Changes::default()));
            }
            now += MAX_PAUSE;
            assert_eq!(send(&mut breakers, 1, Works, now).map(|changes| changes.own), Some(Some(Change::Closed)));
            assert!(breakers.own.is_empty(), "nothing is remembered of clients whose requests succeed");
        }
    }

    #[test]
    fn many_clients_without_a_response_stop_all_of_them() {
        let now = Instant::now();
        let mut breakers = opened(0..8, now);
        assert_eq!(send(&mut breakers, 8, Works, now), None);
        let (probe, changes) = breakers.admit(client(8), now + MIN_PAUSE).unwrap();
        assert_eq!(changes, Changes { own: None, all: Some(Change::HalfOpened) });
        assert!(breakers.admit(client(9), now + MIN_PAUSE).is_none(), "one probe at a time");
        assert_eq!(breakers.record(probe, Works, now), Changes { own: None, all: Some(Change::Closed) });
    }

    #[test]
    fn no_number_of_clients_stops_others_while_the_application_responds_to_these() {
        let (mut breakers, mut now) = (Breakers::default(), Instant::now());
        for _ in 0..20 {
            assert_eq!(send(&mut breakers, 0, Works, now), Some(Changes::default()));
            for number in 1..=100 {
                let changes = send(&mut breakers, number, DoesNotRespond, now).unwrap_or_default();
                assert_eq!(changes.all, None, "{number}");
            }
            now += SILENCE / 2;
        }
    }

    #[test]
    fn few_clients_stop_no_other_however_often_they_fail_and_an_error_is_a_response() {
        let (mut breakers, mut now) = (Breakers::default(), Instant::now());
        for round in 0..1_000_u32 {
            let changes = send(&mut breakers, (round % 4) as u8, DoesNotRespond, now).unwrap_or_default();
            assert_eq!(changes.all, None, "four clients");
            now += Duration::from_millis(100);
        }
        for number in 4..=200 {
            assert_eq!(send(&mut breakers, number, Fails, now), Some(Changes::default()));
        }
    }

    #[test]
    fn clients_that_have_failed_do_not_keep_it_open() {
        let mut now = Instant::now();
        let mut breakers = opened(0..8, now);
        // They take every probe that they may have.
        for _ in 0..5 {
            now += MIN_PAUSE;
            let (probe, _) =
                breakers.admit(client(0), now).unwrap_or_else(|| breakers.admit(client(1), now).unwrap());
            assert!(breakers.admit(client(2), now).is_none(), "one of them at a time");
            let changes = breakers.record(probe, DoesNotRespond, now);
            assert_eq!(changes.all, None, "the pause of others does not grow");
        }
        let (old, _) = breakers.admit(client(3), now + MIN_PAUSE).unwrap();
        let changes =
            send(&mut breakers, 9, Works, now + MIN_PAUSE).expect("another client is let through at once");
        assert_eq!(changes.all, Some(Change::Closed));
        assert_eq!(breakers.record(old, DoesNotRespond, now + MIN_PAUSE).all, None);
        // Probes of other clients lengthen the pause.
        let mut breakers = opened(0..8, now);
        for (number, seconds) in [2, 4, 8, 16, 30, 30].into_iter().enumerate() {
            now += MAX_PAUSE;
            let changes = send(&mut breakers, 100 + number as u8, DoesNotRespond, now).unwrap();
            assert_eq!(changes.all, Some(Change::Opened(Duration::from_secs(seconds))));
        }
        // If all clients have failed, one of them finds out that the application responds again.
        now += MAX_PAUSE;
        assert_eq!(send(&mut breakers, 0, Fails, now).map(|changes| changes.all), Some(Some(Change::Closed)));
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
