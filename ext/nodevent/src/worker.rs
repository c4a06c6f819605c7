//! The task behind one publisher: takes publications from the queue, gives them to the engine in order, and retries
//! until each has a result.
//!
//! While the engine is unavailable, the task retries the batch in hand at growing intervals. An outage produces one
//! report, however many publications are queued.

use crate::engine::{BatchOutcome, Engine, TransientError};
use crate::event_log::{EventLog, Kind};
use crate::queue::{Confirmation, PublicationRef, PublishResult, Queue};
use nodevent_protocol::publication;
use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause after the first failed attempt; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The maximum pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Time for which an unavailable engine of a replaced configuration is retried.
const REPLACED_ENGINE_TIMEOUT: Duration = Duration::from_secs(10);

/// Publishes until the queue is closed and empty.
pub(crate) async fn run(queue: Arc<Queue>, engine: Engine, events: &'static EventLog) {
    let (max, bytes) = engine.window();
    let mut worker = Worker { queue, engine, events, outage: None };
    while let Some(publications) = worker.queue.take(max, bytes).await {
        worker.publish_all(publications).await;
    }
}

struct Worker {
    queue: Arc<Queue>,
    engine: Engine,
    events: &'static EventLog,
    /// The start of the current outage and the number of attempts since.
    outage: Option<(Instant, u32)>,
}

impl Worker {
    /// Publishes `publications`, however long it takes.
    async fn publish_all(&mut self, mut publications: VecDeque<PublicationRef>) {
        // Counted only at the end, because a flush counts from the front.
        let mut withdrawn = (0, 0);
        // What was sent may have been published, and is repeated as it was, whatever happens in between.
        let mut was_sent = false;
        while !publications.is_empty() {
            if let Err(mut error) = self.engine.connect().await {
                error.not_sent &= !was_sent;
                self.back_off(&mut publications, error).await;
                continue;
            }
            if let Some(warning) = self.engine.take_warning() {
                self.events.outage(Kind::Warning, Duration::ZERO, warning.into());
            }
            publications.retain(|publication| {
                let keep = publication.receipt.as_ref().is_none_or(|receipt| receipt.mark_sent());
                if !keep {
                    withdrawn.0 += 1;
                    withdrawn.1 += publication.body.len();
                    self.events.withdrawn();
                }
                keep
            });
            if publications.is_empty() {
                break;
            }
            let BatchOutcome { results, error } = self.engine.publish(&publications).await;
            if !results.is_empty() {
                self.end_outage();
                self.settle(&mut publications, results);
            }
            if let Some(mut error) = error {
                was_sent |= !error.not_sent;
                error.not_sent &= !was_sent;
                self.back_off(&mut publications, error).await;
            }
        }
        if withdrawn.0 > 0 {
            self.queue.settle(withdrawn.0, withdrawn.1);
        }
    }

    /// Removes the publications that have a result, notifies their callers, and counts them.
    fn settle(&self, publications: &mut VecDeque<PublicationRef>, results: Vec<PublishResult>) {
        let (mut count, mut bytes, mut sent, mut slowest) = (0, 0, 0, Duration::ZERO);
        for (publication, result) in publications.drain(..results.len()).zip(results) {
            count += 1;
            bytes += publication.body.len();
            match &result {
                Ok(confirmation) => {
                    self.record_position(&publication, confirmation);
                    sent += 1;
                    slowest = slowest.max(publication.emitted_at.elapsed());
                }
                Err(reason) => self.events.failed(1, reason),
            }
            if let Some(receipt) = &publication.receipt {
                receipt.settle(result);
            }
        }
        if sent > 0 {
            self.events.sent(sent, slowest, self.engine.address());
        }
        self.queue.settle(count, bytes);
    }

    fn record_position(&self, publication: &PublicationRef, confirmation: &Confirmation) {
        let (Confirmation::Stored(_, position) | Confirmation::Position(position)) = confirmation else { return };
        if let Ok(parsed) = publication::parse(&publication.body) {
            self.events.positions.record(&publication.channel, &parsed.topic, *position);
        }
    }

    /// Pauses before the next attempt; reports the outage after the first.
    async fn back_off(&mut self, publications: &mut VecDeque<PublicationRef>, error: TransientError) {
        if error.not_sent {
            publications
                .iter()
                .filter_map(|publication| publication.receipt.as_ref())
                .for_each(|receipt| receipt.mark_unsent());
        }
        let (since, attempts) = self.outage.unwrap_or((Instant::now(), 0));
        if attempts == 0 {
            let text = format!("{} cannot be reached: {}", self.engine.address(), error.reason);
            self.events.outage(Kind::Unavailable, Duration::ZERO, text.into());
        }
        self.outage = Some((since, attempts.saturating_add(1)));
        self.queue.failed_to_reach(&error.reason);
        self.queue.pause(pause(attempts)).await;
        self.abandon_if_replaced(publications);
    }

    /// Fails the queued publications if the configuration was replaced and its engine stays unavailable.
    fn abandon_if_replaced(&self, publications: &mut VecDeque<PublicationRef>) {
        let timed_out = self.outage.is_some_and(|(since, _)| since.elapsed() > REPLACED_ENGINE_TIMEOUT);
        if timed_out && self.queue.is_closed() {
            let reason: Arc<str> =
                format!("{} is unavailable and no longer configured", self.engine.address()).into();
            self.settle(publications, vec![Err(reason); publications.len()]);
        }
    }

    fn end_outage(&mut self) {
        if let Some((since, _)) = self.outage.take() {
            self.events.outage(Kind::Restored, since.elapsed(), Arc::clone(self.engine.address()));
        }
    }
}

/// The pause after `attempts` failed attempts in a row, plus up to half of it at random: otherwise all processes would
/// reconnect at the same moment.
fn pause(attempts: u32) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << attempts.min(10)).min(MAX_PAUSE);
    let half = u64::try_from(pause.as_millis() / 2).unwrap_or(u64::MAX).max(1);
    pause + Duration::from_millis(RandomState::new().build_hasher().finish() % half)
}
