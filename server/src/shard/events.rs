//! The shard's end of an answer of Server-Sent Events: a bounded channel, filled as a WebSocket is.
//!
//! The edge takes from it and writes the lines; `listening` begins and ends it.

use crate::dialect::Recovery;
use crate::frame::Frame;
use crate::outbox::Sent;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::mpsc;

/// What an answer of Server-Sent Events is told.
#[derive(Debug)]
pub enum Told {
    /// It is in the room, and has been told what was missed.
    Joined(Recovery),
    /// An emission, or another event of the dialect.
    Frame(Frame),
    /// Nothing has happened for a while.
    Beat,
}

/// The shard's end of an answer.
#[derive(Debug)]
pub(super) struct Events {
    told: mpsc::Sender<Told>,
    /// Bytes that wait; the edge subtracts what it has written.
    waiting: Arc<AtomicUsize>,
}

// === impl Events ===

impl Events {
    pub(super) fn new(told: mpsc::Sender<Told>, waiting: Arc<AtomicUsize>) -> Self {
        Self { told, waiting }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    pub(super) fn put<'a>(&self, frames: impl Iterator<Item = &'a Frame>, limit: usize) -> Sent {
        for frame in frames {
            let before = self.waiting.fetch_add(frame.packet().len(), Relaxed);
            let sent = self.tell(Told::Frame(frame.clone()));
            if before > limit || sent != Sent::Whole {
                return if sent == Sent::Whole { Sent::Full } else { sent };
            }
        }
        Sent::Whole
    }

    pub(super) fn tell(&self, told: Told) -> Sent {
        match self.told.try_send(told) {
            Ok(()) => Sent::Whole,
            Err(mpsc::error::TrySendError::Full(_)) => Sent::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Sent::Broken,
        }
    }
}
