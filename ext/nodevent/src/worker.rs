//! The task behind one publisher: takes publications from the queue, gives them to the engine in order, and goes on
//! until the engine has answered for each.
//!
//! While the engine is away it holds what it has in hand and tries again, at growing intervals. One outage is one
//! report, however many publications wait for its end.

use crate::engine::{Engine, Progress, Trouble};
use crate::journal::{Journal, Kind};
use crate::queue::{PublicationRef, Queue, Settled};
use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause after the first failed attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long the engine of an earlier configuration is waited for.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// Publishes until the queue is closed and empty.
pub(crate) async fn run(queue: Arc<Queue>, engine: Engine, journal: &'static Journal) {
    let (most, bytes) = engine.window();
    let mut worker = Worker { queue, engine, journal, outage: None };
    while let Some(publications) = worker.queue.take(most, bytes).await {
        worker.see_through(publications).await;
    }
}

struct Worker {
    queue: Arc<Queue>,
    engine: Engine,
    journal: &'static Journal,
    /// Since when the engine is away, and how often it was tried since.
    outage: Option<(Instant, u32)>,
}

impl Worker {
    /// Publishes these publications, however long it takes.
    async fn see_through(&mut self, mut publications: VecDeque<PublicationRef>) {
        // Settled only at the end, because a flush counts from the front.
        let mut withdrawn = (0, 0);
        while !publications.is_empty() {
            if let Err(trouble) = self.engine.connect().await {
                self.wait_out(&mut publications, trouble).await;
                continue;
            }
            publications.retain(|publication| {
                let stays = publication.receipt.as_ref().is_none_or(|receipt| receipt.begin());
                if !stays {
                    withdrawn.0 += 1;
                    withdrawn.1 += publication.body.len();
                    self.journal.withdrawn();
                }
                stays
            });
            if publications.is_empty() {
                break;
            }
            let Progress { settled, trouble } = self.engine.publish(&publications).await;
            if !settled.is_empty() {
                self.end_outage();
                self.settle(&mut publications, settled);
            }
            if let Some(trouble) = trouble {
                self.wait_out(&mut publications, trouble).await;
            }
        }
        if withdrawn.0 > 0 {
            self.queue.settle(withdrawn.0, withdrawn.1);
        }
    }

    /// Takes the settled publications off the front, tells who waits, and counts.
    fn settle(&self, publications: &mut VecDeque<PublicationRef>, settled: Vec<Settled>) {
        let (mut count, mut bytes, mut sent, mut slowest) = (0, 0, 0, Duration::ZERO);
        for (publication, settled) in publications.drain(..settled.len()).zip(settled) {
            count += 1;
            bytes += publication.body.len();
            match &settled {
                Ok(_) => {
                    sent += 1;
                    slowest = slowest.max(publication.since.elapsed());
                }
                Err(reason) => self.journal.failed(1, reason),
            }
            if let Some(receipt) = &publication.receipt {
                receipt.settle(settled);
            }
        }
        if sent > 0 {
            self.journal.sent(sent, slowest, self.engine.address());
        }
        self.queue.settle(count, bytes);
    }

    async fn wait_out(&mut self, publications: &mut VecDeque<PublicationRef>, trouble: Trouble) {
        if trouble.unsent {
            publications
                .iter()
                .filter_map(|publication| publication.receipt.as_ref())
                .for_each(|receipt| receipt.undo());
        }
        let (since, attempts) = self.outage.unwrap_or((Instant::now(), 0));
        if attempts == 0 {
            let text = format!("{} cannot be reached: {}", self.engine.address(), trouble.reason);
            self.journal.outage(Kind::Away, Duration::ZERO, text.into());
        }
        self.outage = Some((since, attempts.saturating_add(1)));
        self.queue.failed_to_reach(&trouble.reason);
        self.queue.pause(pause(attempts)).await;
        self.give_up(publications);
    }

    /// Ends the wait for an engine that is no longer configured and does not come back.
    fn give_up(&self, publications: &mut VecDeque<PublicationRef>) {
        let lasts = self.outage.is_some_and(|(since, _)| since.elapsed() > LAST_PATIENCE);
        if lasts && self.queue.is_closed() {
            let reason: Arc<str> = format!("{} is away and no longer configured", self.engine.address()).into();
            self.settle(publications, vec![Err(reason); publications.len()]);
        }
    }

    fn end_outage(&mut self) {
        if let Some((since, _)) = self.outage.take() {
            self.journal.outage(Kind::Back, since.elapsed(), Arc::clone(self.engine.address()));
        }
    }
}

/// The pause after so many failed attempts in a row: up to half as long again, so that processes do not come all at
/// once when the engine is back.
fn pause(attempts: u32) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << attempts.min(10)).min(LONGEST_PAUSE);
    let half = u64::try_from(pause.as_millis() / 2).unwrap_or(u64::MAX).max(1);
    pause + Duration::from_millis(RandomState::new().build_hasher().finish() % half)
}
