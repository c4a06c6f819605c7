//! What follows a request with events of hooks: what is sent next, and when. It decides without I/O.
//!
//! A rejected batch is sent one by one. An event that is rejected alone is put aside with its own retry time, and with it
//! the later events of its *lane*: of its room, or of its user. Events of other lanes do not wait for it. Everything up to
//! `passed` is in a lane that waits, so the journal is read from there.
//!
//! While an application rejects everything, it may be broken. So a rejection counts towards `attempts` only if another event
//! was accepted since the last one of the same event, or if the event is the oldest that is put aside.

use crate::config::hooks::Hooks;
use crate::hooks::{NotSent, Start, Stored};
use serde::Deserialize;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// The first pause after a request without success, and the longest.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// The pause after a rejection. It is as many times as long as there were rejections in succession.
pub(super) const REJECTION_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause after a rejection, in multiples of the shortest one.
const MAX_PAUSE_FACTOR: u32 = 10;
/// Events that may be put aside. While there are so many, all others wait.
const MAX_ASIDE: usize = 1000;

/// What the application said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Response {
    Accepted,
    /// It rejects this batch.
    Rejected(String),
    /// It may accept this batch later.
    Unavailable(String),
}

/// What follows a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Next {
    /// Whether the batch is done.
    pub(super) is_delivered: bool,
    /// The events to give up.
    pub(super) given_up: Vec<NotSent>,
    /// The time until the next request.
    pub(super) pause: Duration,
}

/// What is sent next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// An event that was put aside, by its id.
    Retry(Box<str>),
    /// The next events of lanes that do not wait, from here on.
    Batch(Start),
}

/// What is known from the requests before.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Requests in succession in which the application was not available.
    failures: u32,
    /// Rejections in succession.
    rejections: u32,
    /// Events that are sent one by one.
    alone: usize,
    /// Requests that were accepted.
    accepted: u64,
    aside: Vec<Aside>,
    /// The last event of those that are passed over. `None`: there is none.
    passed: Option<Box<str>>,
    /// Whether the last request was a retry.
    has_retried: bool,
}

/// A rejected event.
#[derive(Debug)]
struct Aside {
    id: Box<str>,
    lane: Box<str>,
    /// `passed` when it was put aside.
    before: Option<Box<str>>,
    retry_at: Instant,
    /// Rejections, by which the pauses grow.
    rejections: u32,
    /// Those that count towards `attempts`.
    attempts: u32,
    /// Whether the application has accepted another event between two of them.
    is_confirmed: bool,
    /// `accepted` at the last rejection.
    accepted: u64,
}

// === impl Attempts ===

impl Attempts {
    /// What is sent next. A retry and a batch alternate, unless there is `nothing_new`.
    pub(super) fn next_request(&self, now: Instant, nothing_new: bool) -> Request {
        let is_turn = !self.has_retried || nothing_new;
        let due = self.aside.iter().filter(|aside| is_turn && aside.retry_at <= now);
        match due.min_by_key(|aside| (aside.retry_at, order(&aside.id))) {
            Some(aside) => Request::Retry(aside.id.clone()),
            None => Request::Batch(self.passed.clone().map_or(Start::Oldest, Start::After)),
        }
    }

    /// The time until the next event that was put aside is sent again.
    pub(super) fn until_retry(&self, now: Instant) -> Option<Duration> {
        self.aside.iter().map(|aside| aside.retry_at.saturating_duration_since(now)).min()
    }

    /// Leaves those of the events that are sent now, of the events that follow the place of [`Request::Batch`].
    pub(super) fn select(&mut self, events: &mut Vec<Stored>) {
        if self.aside.len() >= MAX_ASIDE {
            return events.clear();
        }
        let lanes: HashSet<&str> = self.aside.iter().map(|aside| &*aside.lane).collect();
        let waits = |event: &Stored| !lanes.is_empty() && lanes.contains(&*lane(&event.text));
        let passed = events.iter().take_while(|event| waits(event)).count();
        let last = passed.checked_sub(1).map(|index| events[index].id.clone());
        events.retain(|event| !waits(event));
        self.passed = last.or(self.passed.take());
        if self.alone > 0 {
            events.truncate(1);
        }
    }

    /// An event that was put aside is not in the journal any more.
    pub(super) fn forget(&mut self, id: &str) {
        if let Some(index) = self.aside.iter().position(|aside| *aside.id == *id) {
            self.release(index);
        }
    }

    /// Events were sent.
    pub(super) fn on_response(
        &mut self,
        batch: &[Stored],
        is_retry: bool,
        response: &Response,
        hooks: &Hooks,
        now: Instant,
    ) -> Next {
        self.has_retried = is_retry;
        let reason = match response {
            Response::Accepted => {
                (self.failures, self.rejections) = (0, 0);
                self.accepted += 1;
                if is_retry {
                    batch.iter().for_each(|event| self.forget(&event.id));
                } else {
                    self.alone = self.alone.saturating_sub(batch.len());
                }
                return Next { is_delivered: true, ..Next::default() };
            }
            Response::Rejected(reason) | Response::Unavailable(reason) => reason,
        };
        let give_up =
            |event: &Stored, why: &str| NotSent { id: event.id.clone(), reason: format!("{reason}; {why}") };
        let too_old = batch.iter().filter(|event| event.age >= hooks.give_up);
        let mut given_up: Vec<NotSent> = too_old.map(|event| give_up(event, "it is too old")).collect();
        let pause = match response {
            Response::Rejected(_) => {
                self.failures = 0;
                self.rejections = (self.rejections + 1).min(MAX_PAUSE_FACTOR);
                if let [event] = batch {
                    let attempts = self.put_aside(event, now);
                    if attempts >= hooks.attempts && given_up.is_empty() {
                        given_up.push(give_up(event, &format!("it was rejected {attempts} times")));
                    }
                    if !is_retry {
                        self.alone = self.alone.saturating_sub(1);
                    }
                } else {
                    self.alone = self.alone.max(batch.len());
                }
                REJECTION_PAUSE * self.rejections
            }
            _ => {
                self.failures += 1;
                pause_after(self.failures)
            }
        };
        if self.aside.len() >= MAX_ASIDE
            && given_up.is_empty()
            && let Some(worst) =
                self.aside.iter().filter(|aside| aside.is_confirmed).max_by_key(|aside| aside.attempts)
        {
            let reason = format!("{reason}; {MAX_ASIDE} rejected events wait");
            given_up.push(NotSent { id: worst.id.clone(), reason });
        }
        for event in &given_up {
            self.forget(&event.id);
        }
        if batch.len() > 1 {
            self.alone = self.alone.saturating_sub(given_up.len());
        }
        Next { given_up, pause, ..Next::default() }
    }

    /// Puts a rejected event aside, or does that again. Returns its rejections that count.
    fn put_aside(&mut self, event: &Stored, now: Instant) -> u32 {
        let accepted = self.accepted;
        let oldest = self.aside.iter().map(|aside| order(&aside.id)).min();
        let is_oldest = oldest.is_none_or(|oldest| order(&event.id) <= oldest);
        if let Some(aside) = self.aside.iter_mut().find(|aside| aside.id == event.id) {
            aside.rejections += 1;
            let is_confirmed = aside.accepted < accepted;
            aside.is_confirmed |= is_confirmed;
            aside.attempts += u32::from(is_oldest || is_confirmed);
            aside.accepted = accepted;
            aside.retry_at = now + pause_after(aside.rejections);
            return aside.attempts;
        }
        let (id, lane) = (event.id.clone(), lane(&event.text));
        let retry_at = now + pause_after(1);
        let before = self.passed.clone();
        self.aside.push(Aside {
            id,
            lane,
            before,
            retry_at,
            rejections: 1,
            attempts: 1,
            is_confirmed: false,
            accepted,
        });
        1
    }

    /// Lets the events of a lane follow.
    fn release(&mut self, index: usize) {
        let aside = self.aside.swap_remove(index);
        let order_of = |id: &Option<Box<str>>| id.as_ref().map(|id| order(id));
        // If the journal still has it, it is sent again.
        if order_of(&aside.before) < order_of(&self.passed) {
            self.passed = aside.before;
        }
    }
}

/// The pause after so many requests without success.
fn pause_after(failures: u32) -> Duration {
    PAUSE.0.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(PAUSE.1)
}

/// The order of ids in one journal.
fn order(id: &str) -> (u64, u64) {
    let (time, number) = id.split_once('-').unwrap_or((id, ""));
    (time.parse().unwrap_or(0), number.parse().unwrap_or(0))
}

/// The lane of an event: its room, otherwise its user. Events of neither have one lane.
fn lane(text: &str) -> Box<str> {
    #[derive(Deserialize, Default)]
    struct Event {
        room: Option<String>,
        user: Option<String>,
    }
    let event: Event = serde_json::from_str(text).unwrap_or_default();
    match event {
        Event { room: Some(room), .. } => format!("r{room}").into(),
        Event { user: Some(user), .. } => format!("u{user}").into(),
        Event { .. } => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn hooks(more: &str) -> Hooks {
        let text = format!(
            "/a: {{open: true, presence: true, hooks: {{url: \"http://example.com/\", events: [left], \
             secret: a-secret-of-at-least-32-characters-x, {more}}}}}\n"
        );
        Config::from_yaml(&text).unwrap().namespaces[0].hooks.clone().unwrap()
    }

    fn event(number: usize, room: &str, age: u64) -> Stored {
        let text = format!(r#"{{"type":"left","room":"{room}"}}"#).into();
        Stored { id: format!("{number}-0").into(), text, age: Duration::from_secs(age) }
    }

    fn events(count: usize, age: u64) -> Vec<Stored> {
        (0..count).map(|number| event(number, "room", age)).collect()
    }

    fn rejected() -> Response {
        Response::Rejected("status 500".into())
    }

    /// A journal, and an application that rejects some events. The time is simulated.
    struct Run {
        attempts: Attempts,
        hooks: Hooks,
        journal: Vec<Stored>,
        started: Instant,
        now: Instant,
        requests: usize,
        delivered: Vec<usize>,
        given_up: Vec<(usize, String)>,
    }

    impl Run {
        fn new(journal: Vec<Stored>, more: &str) -> Self {
            let now = Instant::now();
            Self {
                attempts: Attempts::default(),
                hooks: hooks(more),
                journal,
                started: now,
                now,
                requests: 0,
                delivered: Vec::new(),
                given_up: Vec::new(),
            }
        }

        fn seconds(&self) -> u64 {
            (self.now - self.started).as_secs()
        }

        /// Sends one request, or waits for the next one.
        fn step(&mut self, respond: impl Fn(&[Stored]) -> Response) {
            let mut nothing_new = false;
            let (mut batch, is_retry) = loop {
                match self.attempts.next_request(self.now, nothing_new) {
                    Request::Retry(id) => {
                        break (self.journal.iter().filter(|one| one.id == id).cloned().collect(), true);
                    }
                    Request::Batch(start) => {
                        let after = match &start {
                            Start::After(id) => order(id).0 as i64,
                            Start::Oldest | Start::At(_) => -1,
                        };
                        let page = self.journal.iter().filter(|one| order(&one.id).0 as i64 > after);
                        let mut page: Vec<Stored> = page.take(self.hooks.batch).cloned().collect();
                        let is_end = page.is_empty();
                        self.attempts.select(&mut page);
                        if !page.is_empty() {
                            break (page, false);
                        }
                        if !is_end && self.attempts.next_request(self.now, nothing_new) != Request::Batch(start) {
                            continue;
                        }
                        if nothing_new {
                            self.now += self.attempts.until_retry(self.now).expect("a retry");
                        }
                        nothing_new = true;
                    }
                }
            };
            for one in &mut batch {
                one.age = self.now - self.started;
            }
            let response = respond(&batch);
            let next = self.attempts.on_response(&batch, is_retry, &response, &self.hooks, self.now);
            self.requests += 1;
            let number = |id: &str| order(id).0 as usize;
            if next.is_delivered {
                self.delivered.extend(batch.iter().map(|one| number(&one.id)));
                self.journal.retain(|one| batch.iter().all(|sent| sent.id != one.id));
            }
            self.journal.retain(|one| next.given_up.iter().all(|letter| letter.id != one.id));
            self.given_up.extend(next.given_up.iter().map(|letter| (number(&letter.id), letter.reason.clone())));
            self.now += next.pause;
        }
    }

    /// Weakness 9: one rejected event stopped the hooks of all rooms for five minutes.
    #[test]
    fn a_rejected_event_delays_those_of_its_room_only() {
        let room = |number: usize| ["lobby", "shop"][usize::from(number % 2 == 1)];
        let journal = (0..600).map(|number| event(number, room(number), 0)).collect();
        let mut run = Run::new(journal, "attempts: 4");
        let respond = |batch: &[Stored]| match batch.iter().any(|one| &*one.id == "0-0") {
            true => rejected(),
            false => Response::Accepted,
        };
        while run.delivered.iter().filter(|number| *number % 2 == 1).count() < 300 {
            assert!(run.given_up.is_empty());
            run.step(respond);
        }
        // At most one retry for each of the others.
        assert!(run.now - run.started < Duration::from_secs(2), "{:?}", run.now - run.started);
        assert!(run.delivered.iter().all(|number| number % 2 == 1), "the room waits");
        while !run.journal.is_empty() {
            run.step(respond);
        }
        assert_eq!(run.given_up, [(0, "status 500; it was rejected 4 times".to_owned())]);
        let in_order = |rest: usize| run.delivered.iter().filter(|number| *number % 2 == rest).is_sorted();
        assert!(in_order(0) && in_order(1) && run.delivered.len() == 599);
        assert!(run.requests < 200, "{}", run.requests);
    }

    #[test]
    fn a_rejected_batch_is_sent_one_by_one_until_the_rejected_event_is_a_dead_letter() {
        let (hooks, mut attempts, now) = (hooks("attempts: 3"), Attempts::default(), Instant::now());
        let next = attempts.on_response(&events(3, 0), false, &rejected(), &hooks, now);
        assert_eq!(next, Next { pause: REJECTION_PAUSE, ..Next::default() });
        let mut selected = events(3, 0);
        attempts.select(&mut selected);
        assert_eq!(selected.len(), 1);
        assert!(attempts.on_response(&events(1, 0), false, &Response::Accepted, &hooks, now).is_delivered);
        let poison = [event(1, "room", 0)];
        let next = attempts.on_response(&poison, false, &rejected(), &hooks, now);
        assert!(!next.is_delivered && next.given_up.is_empty());
        // It is sent again after a pause, which grows.
        let mut waits = Vec::new();
        for number in 2..=3 {
            let wait = attempts.until_retry(now).unwrap();
            waits.push(wait);
            assert_eq!(attempts.next_request(now, true), Request::Batch(Start::Oldest));
            assert_eq!(attempts.next_request(now + wait, true), Request::Retry("1-0".into()));
            let next = attempts.on_response(&poison, true, &rejected(), &hooks, now);
            assert_eq!(next.given_up.len(), usize::from(number == 3));
        }
        assert!(waits.is_sorted() && waits[0] == PAUSE.0);
        assert_eq!(attempts.until_retry(now), None);
        // The last one of the batch follows alone, and all others together.
        let rest = [event(2, "room", 0)];
        assert!(attempts.on_response(&rest, false, &Response::Accepted, &hooks, now).is_delivered);
        let mut selected = events(3, 0);
        attempts.select(&mut selected);
        assert_eq!(selected.len(), 3);
    }

    #[test]
    fn an_application_that_is_away_is_asked_less_and_less_often_and_rejects_nothing() {
        let (hooks, mut attempts, now) = (hooks("attempts: 3"), Attempts::default(), Instant::now());
        let away = Response::Unavailable("no response".into());
        let pauses: Vec<Duration> = (0..20)
            .map(|_| {
                let next = attempts.on_response(&events(5, 10), false, &away, &hooks, now);
                assert!(!next.is_delivered && next.given_up.is_empty());
                next.pause
            })
            .collect();
        assert!(pauses.is_sorted() && pauses[0] == PAUSE.0 && pauses[19] == PAUSE.1);
        let mut selected = events(100, 10);
        attempts.select(&mut selected);
        assert_eq!(selected.len(), 100);
        assert!(attempts.on_response(&events(5, 10), false, &Response::Accepted, &hooks, now).is_delivered);
        assert_eq!(attempts.on_response(&events(5, 10), false, &away, &hooks, now).pause, PAUSE.0);
    }

    /// An application that does not respond for ten minutes, by the schedule of the default configuration.
    #[test]
    fn an_application_without_a_response_for_ten_minutes_receives_everything_soon_after() {
        let mut run = Run::new(events(1, 0), "attempts: 10");
        while run.seconds() < 600 {
            run.step(|_| Response::Unavailable("the application does not respond".into()));
            assert!(run.given_up.is_empty());
        }
        // Rarely enough for an application that starts, and soon enough after it is there.
        assert!((10..30).contains(&run.requests), "{} requests", run.requests);
        assert!(run.seconds() < 600 + PAUSE.1.as_secs(), "{}", run.seconds());
        run.step(|_| Response::Accepted);
        assert_eq!(run.delivered, [0]);
        assert!((run.now - run.started) * 10 < run.hooks.give_up);
    }

    /// A short outage of a database, with 500 as the response to everything, rejects nothing.
    #[test]
    fn an_application_that_rejects_everything_for_three_minutes_receives_everything_soon_after() {
        let journal = || (0..40).map(|number| event(number, &format!("room{}", number % 20), 0)).collect();
        let mut run = Run::new(journal(), "attempts: 10");
        while run.seconds() < 160 {
            run.step(|_| rejected());
            assert!(run.given_up.is_empty(), "{:?} after {} s", run.given_up, run.seconds());
        }
        while run.delivered.len() < 40 {
            run.step(|_| Response::Accepted);
        }
        assert!(run.seconds() < 160 + 2 * PAUSE.1.as_secs(), "{}", run.seconds());
        // After ten minutes without one success it is the oldest that is given up, and not one of each room.
        let mut run = Run::new(journal(), "attempts: 10");
        while run.seconds() < 600 {
            run.step(|_| rejected());
        }
        assert!((1..=3).contains(&run.given_up.len()), "{:?}", run.given_up);
        assert_eq!(run.given_up[0].0, 0);
    }

    #[test]
    fn events_that_are_too_old_become_dead_letters_after_one_more_attempt() {
        let (hooks, mut attempts, now) = (hooks("give_up: 1h"), Attempts::default(), Instant::now());
        let mut batch = events(2, 3600);
        batch.push(event(2, "room", 10));
        assert!(attempts.on_response(&batch, false, &Response::Accepted, &hooks, now).given_up.is_empty());
        let away = Response::Unavailable("no response".into());
        let next = attempts.on_response(&batch, false, &away, &hooks, now);
        assert_eq!(next.given_up.len(), 2);
        assert_eq!(next.given_up[0].reason, "no response; it is too old");
    }

    #[test]
    fn rejected_events_that_wait_are_limited() {
        let (hooks, mut attempts, now) = (hooks("attempts: 10"), Attempts::default(), Instant::now());
        for number in 0..MAX_ASIDE {
            let one = [event(number, &number.to_string(), 0)];
            assert!(attempts.on_response(&one, false, &rejected(), &hooks, now).given_up.is_empty());
        }
        let mut others = vec![event(5000, "other", 0)];
        attempts.select(&mut others);
        assert!(others.is_empty(), "all others wait");
        // The application accepts one, so it is right about the one that it rejects again.
        let retry = |attempts: &mut Attempts, number: usize, response| {
            attempts.on_response(&[event(number, &number.to_string(), 0)], true, response, &hooks, now).given_up
        };
        assert!(retry(&mut attempts, 7, &Response::Accepted).is_empty());
        assert!(retry(&mut attempts, 8, &rejected()).is_empty());
        let one = [event(5000, "other", 0)];
        let given_up = attempts.on_response(&one, false, &rejected(), &hooks, now).given_up;
        assert_eq!((given_up.len(), &*given_up[0].id), (1, "8-0"));
        assert_eq!(given_up[0].reason, "status 500; 1000 rejected events wait");
    }

    #[test]
    fn the_lane_of_an_event_is_its_room_or_user() {
        for (text, expected) in [
            (r#"{"type":"left","room":"a","user":"b"}"#, "ra"),
            (r#"{"type":"delivered","room":null,"user":"b","publication":{"room":"c"}}"#, "ub"),
            (r#"{"type":"connected","user":null}"#, ""),
            ("nonsense", ""),
        ] {
            assert_eq!(&*lane(text), expected);
        }
    }
}
