//! Sends the events of hooks to the application: in the order of the journal, one request at a time, at least once.
//!
//! A batch without success is sent again, later and later. If the application responds and rejects it, its events are sent
//! one by one, so that the one it rejects is found; that one becomes a dead letter after some attempts. An application
//! that does not respond rejects nothing: its events wait until they are too old.

use super::{ApplicationClient, ApplicationError, ApplicationRequest};
use crate::clock::now_ms;
use crate::config::hooks::Hooks;
use crate::hooks::{Journal, NotSent, Recorder, Stored};
use crate::metrics::Metrics;
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use nodevent_protocol::hooks::{SIGNATURE_HEADER, sign};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How often the journal is read if nothing on this server is new: events of other servers arrive with this delay.
const POLL: Duration = Duration::from_millis(500);
/// The same if another server sends.
const STANDBY_POLL: Duration = Duration::from_secs(2);
/// The first pause after a request without success, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// The pause before the events of a rejected batch are sent one by one.
const SPLIT_PAUSE: Duration = Duration::from_millis(100);

/// Sends the events of one namespace.
pub struct HookSender {
    /// The name of the namespace.
    pub namespace: Arc<str>,
    /// The settings.
    pub hooks: Hooks,
    /// The client for their URL.
    pub client: ApplicationClient,
    /// Where the events are.
    pub journal: Arc<dyn Journal>,
    /// Says when there are new ones.
    pub recorder: Arc<Recorder>,
    /// The counters.
    pub metrics: Arc<Metrics>,
}

/// What the application said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Response {
    Accepted,
    /// It rejects this batch.
    Rejected(String),
    /// It may accept this batch later.
    Unavailable(String),
}

/// What follows a request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Next {
    /// Whether the batch is done.
    is_delivered: bool,
    /// The events to give up.
    given_up: Vec<NotSent>,
    /// The time until the next request.
    pause: Duration,
}

/// What is known from the requests before. Decides without I/O.
#[derive(Debug, Default)]
struct Attempts {
    /// Requests without success since the last one with it.
    failures: u32,
    /// Events that are sent one by one.
    alone: usize,
    /// Rejections of the event that is sent alone.
    rejections: u32,
}

// === impl Attempts ===

impl Attempts {
    /// The size of the next batch.
    fn batch(&self, max: usize) -> usize {
        if self.alone > 0 { 1 } else { max }
    }

    fn on_response(&mut self, batch: &[Stored], response: &Response, hooks: &Hooks) -> Next {
        let reason = match response {
            Response::Accepted => {
                *self = Self { alone: self.alone.saturating_sub(batch.len()), ..Self::default() };
                return Next { is_delivered: true, ..Next::default() };
            }
            Response::Rejected(reason) | Response::Unavailable(reason) => reason,
        };
        let too_old = |event: &&Stored| event.age >= hooks.give_up;
        let give_up =
            |event: &Stored, why: &str| NotSent { id: event.id.clone(), reason: format!("{reason}; {why}") };
        let mut given_up: Vec<NotSent> =
            batch.iter().filter(too_old).map(|event| give_up(event, "it is too old")).collect();
        let pause = PAUSE.0.saturating_mul(1 << self.failures.min(10)).min(PAUSE.1);
        self.failures += 1;
        if let Response::Rejected(_) = response {
            if batch.len() > 1 {
                self.alone = self.alone.max(batch.len());
                return Next { given_up, pause: SPLIT_PAUSE, ..Next::default() };
            }
            self.rejections += 1;
            if self.rejections >= hooks.attempts && given_up.is_empty() {
                let why = format!("it was rejected {} times", self.rejections);
                given_up.extend(batch.iter().map(|event| give_up(event, &why)));
            }
        }
        if !given_up.is_empty() {
            (self.rejections, self.alone) = (0, self.alone.saturating_sub(given_up.len()));
        }
        Next { given_up, pause, ..Next::default() }
    }
}

// === impl HookSender ===

impl HookSender {
    /// Sends until the process ends.
    pub async fn run(self) {
        let mut attempts = Attempts::default();
        // The lease outlives a request, with what the journal needs before and after it. It is renewed during a pause.
        let lease = self.hooks.application.timeout + Duration::from_secs(5);
        let (mut resume_at, mut shown) = (Instant::now(), (0, 0));
        loop {
            let taken = match self.journal.take(lease, attempts.batch(self.hooks.batch)).await {
                Ok(taken) => taken,
                Err(_) => {
                    // The engine reports it itself.
                    tokio::time::sleep(STANDBY_POLL).await;
                    continue;
                }
            };
            if !taken.is_sender {
                self.show(&mut shown, (0, 0));
                tokio::time::sleep(STANDBY_POLL).await;
                continue;
            }
            self.show(&mut shown, (taken.waiting, taken.dead));
            if taken.events.is_empty() {
                self.recorder.wait_appended(POLL).await;
                continue;
            }
            let pause = resume_at.saturating_duration_since(Instant::now());
            if !pause.is_zero() {
                tokio::time::sleep(pause.min(STANDBY_POLL)).await;
                continue;
            }
            let response = self.send(&taken.events).await;
            let next = attempts.on_response(&taken.events, &response, &self.hooks);
            self.report(&taken.events, &response, &next);
            let delivered: Vec<Box<str>> = match next.is_delivered {
                true => taken.events.iter().map(|event| event.id.clone()).collect(),
                false => Vec::new(),
            };
            self.remove(&delivered, &next.given_up).await;
            resume_at = Instant::now() + next.pause;
        }
    }

    /// Shows the events and dead letters of this namespace in the gauges, which are sums over all namespaces.
    fn show(&self, shown: &mut (u64, u64), counts: (u64, u64)) {
        let change = |before: u64, now: u64| now.cast_signed() - before.cast_signed();
        self.metrics.hooks_waiting.fetch_add(change(shown.0, counts.0), Relaxed);
        self.metrics.hooks_dead_letters.fetch_add(change(shown.1, counts.1), Relaxed);
        *shown = counts;
    }

    async fn remove(&self, delivered: &[Box<str>], given_up: &[NotSent]) {
        if delivered.is_empty() && given_up.is_empty() {
            return;
        }
        // What cannot be removed now is sent again.
        match self.journal.remove(delivered, given_up).await {
            Ok(0) => {}
            Ok(dropped) => {
                self.metrics.hooks_dropped.fetch_add(dropped, Relaxed);
                tracing::error!(
                    namespace = &*self.namespace,
                    dropped,
                    "hooks: dead letters dropped; see `hooks: dead_letters`"
                );
            }
            Err(error) => {
                tracing::warn!(namespace = &*self.namespace, %error, "hooks: events that were sent are sent again");
                tokio::time::sleep(STANDBY_POLL).await;
            }
        }
    }

    async fn send(&self, events: &[Stored]) -> Response {
        let events: Vec<Box<RawValue>> = events.iter().filter_map(Stored::json).collect();
        let body = serde_json::json!({"namespace": &*self.namespace, "events": events}).to_string();
        let signature = sign(self.hooks.secret.as_bytes(), now_ms() / 1000, body.as_bytes());
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(signature) = HeaderValue::from_str(&signature) {
            headers.insert(SIGNATURE_HEADER, signature);
        }
        let request = ApplicationRequest { method: Method::POST, path: None, headers, body: Bytes::from(body) };
        match self.client.send(&request, None).await {
            Ok(response) if response.status.is_success() => Response::Accepted,
            // It is not there yet, or the path is wrong for all events alike.
            Ok(response) if [401, 403, 404, 405, 408].contains(&response.status.as_u16()) => {
                Response::Unavailable(format!("the response has the status {}", response.status.as_u16()))
            }
            Ok(response) => Response::Rejected(format!("the response has the status {}", response.status.as_u16())),
            Err(error @ ApplicationError::Failed(status)) if ![429, 502, 503, 504].contains(&status) => {
                Response::Rejected(error.to_string())
            }
            Err(error @ ApplicationError::TooLarge(_)) => Response::Rejected(error.to_string()),
            Err(error) => Response::Unavailable(error.to_string()),
        }
    }

    /// Counts and logs a request.
    fn report(&self, events: &[Stored], response: &Response, next: &Next) {
        let (namespace, target, count) = (&*self.namespace, self.client.target(), events.len());
        self.metrics.hooks_given_up.fetch_add(next.given_up.len() as u64, Relaxed);
        for event in &next.given_up {
            let (id, reason) = (&*event.id, &*event.reason);
            tracing::error!(namespace, target, id, reason, "hooks: event given up; `nodevent hooks list` shows it");
        }
        match response {
            Response::Accepted => {
                self.metrics.hooks_sent.fetch_add(count as u64, Relaxed);
            }
            Response::Rejected(reason) | Response::Unavailable(reason) => {
                self.metrics.hooks_failures.fetch_add(1, Relaxed);
                let pause = next.pause;
                tracing::warn!(
                    namespace,
                    target,
                    events = count,
                    reason,
                    ?pause,
                    "hooks: events not accepted; retrying"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn hooks() -> Hooks {
        let text = "/a: {open: true, presence: true, hooks: {url: \"http://example.com/\", attempts: 3, give_up: 1h, \
                    secret: a-secret-of-at-least-32-characters-x, events: [left]}}\n";
        Config::from_yaml(text).unwrap().namespaces[0].hooks.clone().unwrap()
    }

    fn events(count: usize, age: u64) -> Vec<Stored> {
        let event =
            |number| Stored { id: format!("{number}-0").into(), text: "{}".into(), age: Duration::from_secs(age) };
        (0..count).map(event).collect()
    }

    #[test]
    fn a_rejected_batch_is_sent_one_by_one_until_the_rejected_event_is_a_dead_letter() {
        let (hooks, mut attempts) = (hooks(), Attempts::default());
        let rejected = Response::Rejected("status 500".into());
        assert_eq!(attempts.batch(100), 100);
        let next = attempts.on_response(&events(3, 0), &rejected, &hooks);
        assert_eq!(next, Next { pause: SPLIT_PAUSE, ..Next::default() });
        assert_eq!(attempts.batch(100), 1);
        assert!(attempts.on_response(&events(1, 0), &Response::Accepted, &hooks).is_delivered);
        assert_eq!(attempts.batch(100), 1, "the other two follow one by one");
        for _ in 0..2 {
            let next = attempts.on_response(&events(1, 0), &rejected, &hooks);
            assert!(!next.is_delivered && next.given_up.is_empty() && next.pause >= PAUSE.0);
        }
        let next = attempts.on_response(&events(1, 0), &rejected, &hooks);
        assert_eq!(&*next.given_up[0].id, "0-0");
        assert_eq!(next.given_up[0].reason, "status 500; it was rejected 3 times");
        assert!(attempts.on_response(&events(1, 0), &Response::Accepted, &hooks).is_delivered);
        assert_eq!(attempts.batch(100), 100);
    }

    #[test]
    fn an_application_that_is_away_is_asked_less_and_less_often_and_rejects_nothing() {
        let (hooks, mut attempts) = (hooks(), Attempts::default());
        let away = Response::Unavailable("no response".into());
        let pauses: Vec<Duration> = (0..20)
            .map(|_| {
                let next = attempts.on_response(&events(5, 10), &away, &hooks);
                assert!(!next.is_delivered && next.given_up.is_empty());
                next.pause
            })
            .collect();
        assert!(pauses.is_sorted() && pauses[0] == PAUSE.0 && pauses[19] == PAUSE.1);
        assert_eq!(attempts.batch(100), 100);
        assert!(attempts.on_response(&events(5, 10), &Response::Accepted, &hooks).is_delivered);
        assert_eq!(attempts.on_response(&events(5, 10), &away, &hooks).pause, PAUSE.0);
    }

    /// An application that does not respond for ten minutes, by the schedule of the default configuration.
    #[test]
    fn an_application_without_a_response_for_ten_minutes_receives_everything_soon_after() {
        let text = "/a: {open: true, hooks: {url: \"http://example.com/\", delivered: e, \
                    secret: a-secret-of-at-least-32-characters-x}}\n";
        let hooks = Config::from_yaml(text).unwrap().namespaces[0].hooks.clone().unwrap();
        let away_for = Duration::from_secs(600);
        for away in [
            Response::Unavailable("the application does not respond".into()),
            Response::Rejected("status 500".into()),
        ] {
            // One event is not split, so its rejections count.
            let is_rejection = matches!(away, Response::Rejected(_));
            let (mut attempts, mut now, mut requests) = (Attempts::default(), Duration::ZERO, 0);
            while now < away_for {
                let batch = events(attempts.batch(1), now.as_secs());
                let next = attempts.on_response(&batch, &away, &hooks);
                requests += 1;
                if is_rejection && requests >= hooks.attempts {
                    // It responds: a response of 500 rejects the event after the configured attempts.
                    assert_eq!(next.given_up.len(), 1);
                    break;
                }
                assert!(!next.is_delivered && next.given_up.is_empty(), "at {now:?}");
                assert!(next.pause >= PAUSE.0 && next.pause <= PAUSE.1, "at {now:?}: {:?}", next.pause);
                now += next.pause;
            }
            if is_rejection {
                assert!(now > Duration::from_secs(180), "{now:?}: a short outage of a database rejects nothing");
                continue;
            }
            // Rarely enough for an application that starts, and soon enough after it is there.
            assert!((10..30).contains(&requests), "{requests} requests");
            assert!(now < away_for + PAUSE.1, "{now:?}");
            assert!(attempts.on_response(&events(1, now.as_secs()), &Response::Accepted, &hooks).is_delivered);
            assert!(now * 10 < hooks.give_up);
        }
    }

    #[test]
    fn events_that_are_too_old_become_dead_letters_after_one_more_attempt() {
        let (hooks, mut attempts) = (hooks(), Attempts::default());
        let mut batch = events(2, 3600);
        batch.extend(events(1, 10));
        assert!(attempts.on_response(&batch, &Response::Accepted, &hooks).given_up.is_empty());
        let next = attempts.on_response(&batch, &Response::Unavailable("no response".into()), &hooks);
        assert_eq!(next.given_up.len(), 2);
        assert_eq!(next.given_up[0].reason, "no response; it is too old");
    }
}
