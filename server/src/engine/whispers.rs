//! Whispers of Action Cable that wait for their engine. Clients share the places and have their turns one after another, so
//! that none of them pushes out, or delays, those of others. It does not know how an engine sends them.

use crate::client::Client;
use crate::fair_queue::FairQueue;
use crate::fair_shares::FairShares;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Whispers that may wait.
const MAX_WAITING: usize = 1024;

/// Where clients add whispers. See the head of this file.
pub(super) struct Whispers {
    /// Locked briefly, and never across an await.
    waiting: Arc<Mutex<Waiting>>,
    /// One for each that waits.
    added: mpsc::UnboundedSender<()>,
}

/// Where an engine takes them.
pub(super) struct WaitingWhispers {
    waiting: Arc<Mutex<Waiting>>,
    added: mpsc::UnboundedReceiver<()>,
}

struct Waiting {
    queue: FairQueue<Client, Whisper>,
    shares: FairShares,
}

/// A publication that is not stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whisper {
    pub(super) room: Box<str>,
    pub(super) text: String,
}

// === impl Whispers ===

impl Whispers {
    /// Makes an empty queue with its two ends.
    pub(super) fn new() -> (Self, WaitingWhispers) {
        let waiting = Waiting { queue: FairQueue::default(), shares: FairShares::new(MAX_WAITING) };
        let (waiting, (sender, receiver)) = (Arc::new(Mutex::new(waiting)), mpsc::unbounded_channel());
        (Self { waiting: Arc::clone(&waiting), added: sender }, WaitingWhispers { waiting, added: receiver })
    }

    /// Adds a whisper of a client. Returns `false` if it has no place.
    pub(super) fn push(&self, client: Client, room: &str, text: String) -> bool {
        let mut waiting = lock(&self.waiting);
        if waiting.shares.check(client).is_err() {
            return false;
        }
        waiting.shares.add(client);
        waiting.queue.push(client, Whisper { room: room.into(), text });
        drop(waiting);
        self.added.send(()).is_ok()
    }
}

impl fmt::Debug for Whispers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Whispers").field("waiting", &lock(&self.waiting).queue.len()).finish_non_exhaustive()
    }
}

// === impl WaitingWhispers ===

impl WaitingWhispers {
    /// Waits for the next one. `None`: there are no more.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Whisper> {
        self.added.recv().await?;
        let mut waiting = lock(&self.waiting);
        let (client, whisper) = waiting.queue.pop()?;
        waiting.shares.remove(client);
        Some(whisper)
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    // A panic leaves nothing in it that could not be used.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> Client {
        Client::of([10, 0, 0, number].into())
    }

    #[tokio::test]
    async fn no_client_pushes_out_or_delays_the_whispers_of_others() {
        let (whispers, mut waiting) = Whispers::new();
        let flood = (0..10_000).filter(|_| whispers.push(client(1), "r", "flood".into())).count();
        assert!((MAX_WAITING / 2..MAX_WAITING).contains(&flood), "{flood}");
        assert!(whispers.push(client(2), "r", "one".into()) && whispers.push(client(2), "r", "two".into()));
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(waiting.next().await.unwrap().text);
        }
        assert_eq!(order, ["flood", "one", "flood", "two"]);
        drop(whispers);
        while waiting.next().await.is_some() {}
        assert_eq!(lock(&waiting.waiting).shares.usage(), (0, 0));
    }

    #[tokio::test]
    async fn a_whisper_arrives_at_the_task_that_waits() {
        let (whispers, mut waiting) = Whispers::new();
        let (whisper, _) = tokio::join!(waiting.next(), async {
            tokio::task::yield_now().await;
            whispers.push(client(1), "r", "text".into())
        });
        assert_eq!(whisper, Some(Whisper { room: "r".into(), text: "text".into() }));
    }
}
