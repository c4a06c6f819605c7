//! Sends the events of hooks to the application: in the order of the journal, one request at a time, at least once.
//!
//! A batch without success is sent again, later and later. If the application responds and rejects it, its events are sent
//! one by one, so that the one it rejects is found. That one is sent again later, and becomes a dead letter after some
//! attempts; the events of other rooms do not wait for it ([`super::hook_attempts`]). An application that does not respond
//! rejects nothing: its events wait until they are too old.

use super::hook_attempts::{Attempts, Next, Request, Response};
use super::{ApplicationClient, ApplicationError, ApplicationRequest};
use crate::clock::now_ms;
use crate::config::hooks::Hooks;
use crate::hooks::{Journal, NotSent, Recorder, Start, Stored};
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

// === impl HookSender ===

impl HookSender {
    /// Sends until the process ends.
    pub async fn run(self) {
        let mut attempts = Attempts::default();
        // The lease outlives a request, with what the journal needs before and after it. It is renewed during a pause.
        let lease = self.hooks.application.timeout + Duration::from_secs(5);
        let (mut resume_at, mut shown) = (Instant::now(), (0, 0));
        // Whether the journal has nothing for a batch.
        let mut nothing_new = false;
        loop {
            let request = attempts.next_request(Instant::now(), nothing_new);
            let (start, max) = match &request {
                Request::Retry(id) => (Start::At(id.clone()), 1),
                Request::Batch(start) => (start.clone(), self.hooks.batch),
            };
            let mut taken = match self.journal.take(lease, max, &start).await {
                Ok(taken) => taken,
                Err(_) => {
                    // The engine reports it itself.
                    tokio::time::sleep(STANDBY_POLL).await;
                    continue;
                }
            };
            if !taken.is_sender {
                // The other server sends all of them, in their order.
                attempts = Attempts::default();
                self.show(&mut shown, (0, 0));
                tokio::time::sleep(STANDBY_POLL).await;
                continue;
            }
            self.show(&mut shown, (taken.waiting, taken.dead));
            let pause = resume_at.saturating_duration_since(Instant::now());
            if !pause.is_zero() && !taken.events.is_empty() {
                tokio::time::sleep(pause.min(STANDBY_POLL)).await;
                continue;
            }
            let is_retry = match &request {
                Request::Retry(id) if taken.events.iter().all(|event| event.id != *id) => {
                    attempts.forget(id);
                    nothing_new = false;
                    continue;
                }
                Request::Retry(_) => true,
                Request::Batch(_) => {
                    attempts.select(&mut taken.events);
                    if taken.events.is_empty() {
                        // There may be others behind those that wait, and something may be sent again.
                        let is_end = attempts.next_request(Instant::now(), true) == request;
                        nothing_new = true;
                        if is_end {
                            let until_retry = attempts.until_retry(Instant::now()).unwrap_or(POLL);
                            self.recorder.wait_appended(POLL.min(until_retry)).await;
                        }
                        continue;
                    }
                    false
                }
            };
            nothing_new = false;
            let response = self.send(&taken.events).await;
            let next = attempts.on_response(&taken.events, is_retry, &response, &self.hooks, Instant::now());
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
