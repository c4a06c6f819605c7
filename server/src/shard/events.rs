//! The shard's end of an answer of Server-SendOutcome Events: a bounded channel, filled as a WebSocket is.
//!
//! The edge takes from it and writes the lines; `listening` begins and ends it.

use crate::dialect::Recovery;
use crate::frame::Frame;
use crate::outbox::SendOutcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::mpsc;

/// What an answer of Server-SendOutcome Events is told.
#[derive(Debug)]
pub enum Told {
    /// It is in the room, and has been told what was missed.
    Joined(Recovery),
    /// A publication, or another event of the dialect.
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

    pub(super) fn put<'a>(&self, frames: impl Iterator<Item = &'a Frame>, limit: usize) -> SendOutcome {
        for frame in frames {
            let before = self.waiting.fetch_add(frame.packet().len(), Relaxed);
            let sent = self.tell(Told::Frame(frame.clone()));
            if before > limit || sent != SendOutcome::Sent {
                return if sent == SendOutcome::Sent { SendOutcome::Overflow } else { sent };
            }
        }
        SendOutcome::Sent
    }

    pub(super) fn tell(&self, told: Told) -> SendOutcome {
        match self.told.try_send(told) {
            Ok(()) => SendOutcome::Sent,
            Err(mpsc::error::TrySendError::Full(_)) => SendOutcome::Overflow,
            Err(mpsc::error::TrySendError::Closed(_)) => SendOutcome::Broken,
        }
    }
}
