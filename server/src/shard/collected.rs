//! What a connection is sent while what it sent is handled: all of it leaves in one write.
//!
//! A write costs much more than the bytes in it. A client that enters a namespace with a token receives several small
//! messages, and so does one that joins several rooms at once.

use super::Shard;
use super::slot::{Session, Slot, Transport};
use crate::close_reason::CloseReason;
use crate::encoding::Frame;
use nodevent_protocol::websocket::{self, Opcode};

/// Bytes that are collected before they are written. Larger messages are not copied.
const MAX_COLLECTED: usize = 4 * 1024;
/// The longest header of a frame that the server sends. Bytes.
const MAX_HEADER: usize = 10;

/// The messages of one connection that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// The connection. `None`: everything is written at once.
    slot: Option<u32>,
    bytes: Vec<u8>,
    /// Why the connection must be closed: a write has failed.
    failure: Option<CloseReason>,
}

// === impl Collected ===

impl Collected {
    fn is_for(&self, slot: u32) -> bool {
        self.slot == Some(slot)
    }
}

// === impl Shard ===

impl Shard {
    /// Runs something and then writes what it sent to a connection, which is closed if that fails.
    pub(super) fn collect_during(&mut self, slot: u32, run: impl FnOnce(&mut Self)) {
        let collects = self.start_collecting(slot);
        run(self);
        if collects && let Some(reason) = self.end_collecting(slot) {
            self.close(slot, reason);
        }
    }

    /// Collects what is sent to a connection. Returns `false` if it has no WebSocket, or is collected already: then the
    /// caller that has started that ends it.
    pub(super) fn start_collecting(&mut self, slot: u32) -> bool {
        let session = self.slots.get(slot as usize);
        let is_websocket =
            matches!(session, Some(Slot::Session(Session { transport: Transport::WebSocket(_), .. })));
        if self.collected.slot.is_some() || !is_websocket {
            return false;
        }
        self.collected.slot = Some(slot);
        true
    }

    /// Writes what was collected, and collects no more. Returns why the connection must be closed, if it must.
    pub(super) fn end_collecting(&mut self, slot: u32) -> Option<CloseReason> {
        if !self.collected.is_for(slot) {
            return None;
        }
        let failure = self.write_collected(slot);
        self.collected.slot = None;
        self.collected.failure = None;
        failure
    }

    /// Writes what was collected so far. Returns why the connection must be closed, if it must.
    pub(super) fn write_collected(&mut self, slot: u32) -> Option<CloseReason> {
        if !self.collected.is_for(slot) || self.collected.bytes.is_empty() {
            return self.collected.failure.filter(|_| self.collected.is_for(slot));
        }
        let mut bytes = std::mem::take(&mut self.collected.bytes);
        if self.collected.failure.is_none() {
            self.collected.failure = self.write(slot, &bytes);
        }
        bytes.clear();
        self.collected.bytes = bytes;
        self.collected.failure
    }

    /// Collects messages. Returns `None` if they are to be written at once, after what was collected before. Otherwise why
    /// the connection must be closed, if it must.
    pub(super) fn collect(&mut self, slot: u32, frames: &[Frame]) -> Option<Option<CloseReason>> {
        let bytes = || frames.iter().map(|frame| frame.websocket().len()).sum();
        self.append(slot, bytes, |all| {
            frames.iter().for_each(|frame| all.extend_from_slice(frame.websocket()));
        })
    }

    /// As [`Shard::collect`], for a text message.
    pub(super) fn collect_text(&mut self, slot: u32, text: &str) -> Option<Option<CloseReason>> {
        let bytes = || text.len() + MAX_HEADER;
        self.append(slot, bytes, |all| websocket::encode(all, Opcode::Text, text.as_bytes()))
    }

    /// As [`Shard::collect`], for bytes of the WebSocket layer.
    pub(super) fn collect_control(&mut self, slot: u32, control: &[u8]) -> Option<Option<CloseReason>> {
        self.append(slot, || control.len(), |all| all.extend_from_slice(control))
    }

    fn append(
        &mut self,
        slot: u32,
        bytes: impl FnOnce() -> usize,
        append: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Option<CloseReason>> {
        if !self.collected.is_for(slot) {
            return None;
        }
        let (bytes, max) = (bytes(), MAX_COLLECTED.min(self.settings.send_buffer));
        if self.collected.bytes.len() + bytes > max
            && let Some(failure) = self.write_collected(slot)
        {
            return Some(Some(failure));
        }
        if bytes > max {
            return None;
        }
        append(&mut self.collected.bytes);
        Some(self.collected.failure)
    }
}
