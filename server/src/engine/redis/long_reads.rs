//! The reads of rooms whose members have missed more than a page: one at a time, in turns of the clients that wait. So a
//! client that requests whole histories delays neither publications nor short reads, and others by one read.

use crate::client::Client;
use crate::fair_turns::{FairTurns, Turn};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct LongReads {
    turns: Arc<FairTurns>,
    count: AtomicUsize,
}

/// A long read that waits or has its turn, until it is dropped.
pub(super) struct LongRead {
    reads: Arc<LongReads>,
    _turn: Option<Turn>,
}

// === impl LongReads ===

impl LongReads {
    /// The number of long reads that wait or have their turn.
    pub(super) fn count(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// Waits for the turn of one of these clients.
    pub(super) async fn turn(self: &Arc<Self>, clients: &[Client]) -> LongRead {
        self.count.fetch_add(1, SeqCst);
        let mut read = LongRead { reads: Arc::clone(self), _turn: None };
        let server = [Client::of(IpAddr::V4(Ipv4Addr::UNSPECIFIED))];
        let (first, others) = clients.split_first().unwrap_or((&server[0], &[]));
        let (ticket, turn) = self.turns.wait(*first);
        for client in others {
            self.turns.wait_for(&ticket, *client);
        }
        // Every ticket has its turn in the end.
        read._turn = turn.await.ok();
        read
    }
}

impl Drop for LongRead {
    fn drop(&mut self) {
        self.reads.count.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn one_read_has_its_turn_and_clients_follow_each_other() {
        let reads = Arc::new(LongReads::default());
        let client = |host: u8| [Client::of([10, 0, 0, host].into())];
        let (of_one, of_other) = (client(1), client(2));
        let first = reads.turn(&of_one).await;
        let mut flood: Vec<_> = (0..10).map(|_| Box::pin(reads.turn(&of_one))).collect();
        assert!(flood.iter_mut().all(|read| read.now_or_never().is_none()));
        let mut other = Box::pin(reads.turn(&of_other));
        assert!((&mut other).now_or_never().is_none());
        assert_eq!(reads.count(), 12);
        drop(first);
        // The first of the flood was next already.
        let next = flood.remove(0).await;
        drop(next);
        drop(other.await);
        drop(flood);
        assert_eq!(reads.count(), 0);
        drop(reads.turn(&[]).await);
    }
}
