//! Send buffers: the bounded queue in front of a connection that does not accept more at the moment.
//!
//! An [`SendBuffer`] holds bytes for a WebSocket, a [`PollQueue`] holds messages for the next poll. An empty one uses
//! no heap. They do not know the limit: the caller compares [`SendBuffer::bytes`] with `send_buffer`.

use crate::encoding::Frame;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// Parts per vectored write: enough for a burst, and far below the kernel's limit of 1,024.
const PARTS_PER_WRITE: usize = 64;

/// Bytes to write to a WebSocket. Members that receive the same bytes share them.
#[derive(Debug, Default)]
pub struct SendBuffer {
    parts: VecDeque<Part>,
    bytes: usize,
}

#[derive(Debug)]
struct Part {
    bytes: Arc<[u8]>,
    /// Up to where they are written.
    written: usize,
    /// Up to where they belong to this part.
    end: usize,
}

/// The result of a flush.
#[derive(Debug, PartialEq, Eq)]
pub enum FlushOutcome {
    /// The queue is empty.
    Drained,
    /// The socket accepted some bytes.
    Partial,
    /// The socket accepted nothing.
    Blocked,
}

/// The result of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// The socket accepted everything.
    Sent,
    /// Some or all of it is queued.
    Queued,
    /// It would exceed the send buffer.
    Overflow,
    /// The socket is broken.
    Broken,
}

// === impl SendBuffer ===

impl SendBuffer {
    /// Returns whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns how many bytes are queued.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns what is queued, including what is written already of the first part.
    pub fn parts(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.parts.iter().map(|part| &part.bytes)
    }

    /// Appends `bytes`, of which the socket has accepted `written` already.
    pub fn push(&mut self, bytes: Arc<[u8]>, written: usize) {
        self.bytes += bytes.len() - written;
        let end = bytes.len();
        self.parts.push_back(Part { bytes, written, end });
    }

    /// Puts a message before everything that is queued, but after the message of which the socket has accepted a part.
    pub fn push_first(&mut self, bytes: Arc<[u8]>) {
        let length = bytes.len();
        self.bytes += length;
        let first = Part { bytes, written: 0, end: length };
        let Some(front) = self.parts.front_mut() else { return self.parts.push_back(first) };
        let boundary = message_end(&front.bytes, front.written);
        if boundary == front.written {
            return self.parts.push_front(first);
        }
        let rest = Part { bytes: Arc::clone(&front.bytes), written: boundary, end: front.end };
        front.end = boundary;
        if rest.written < rest.end {
            self.parts.insert(1, rest);
        }
        self.parts.insert(1, first);
    }

    /// Writes as much as the socket accepts.
    ///
    /// # Errors
    /// Returns the error of `write`, except `WouldBlock` and `Interrupted`.
    pub fn flush(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<FlushOutcome> {
        let mut any = false;
        while !self.parts.is_empty() {
            let mut slices = [IoSlice::new(&[]); PARTS_PER_WRITE];
            let mut count = 0;
            for (slice, part) in slices.iter_mut().zip(&self.parts) {
                *slice = IoSlice::new(&part.bytes[part.written..part.end]);
                count += 1;
            }
            match write(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    any = true;
                    self.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(if any { FlushOutcome::Partial } else { FlushOutcome::Blocked });
                }
                Err(error) => return Err(error),
            }
        }
        self.parts = VecDeque::new();
        Ok(FlushOutcome::Drained)
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let Some(part) = self.parts.front_mut() else { return };
            let left = part.end - part.written;
            if written < left {
                part.written += written;
                return;
            }
            written -= left;
            self.parts.pop_front();
        }
    }
}

/// The end of the WebSocket frame that contains the byte before `at`, in frames that this server has encoded: each is a
/// message. They may follow the response to the handshake, with which no frame can begin.
fn message_end(frames: &[u8], at: usize) -> usize {
    if frames.starts_with(b"HTTP/") {
        return frames.len();
    }
    let mut end = 0;
    while end < at {
        let Some(header) = frames.get(end..) else { return frames.len() };
        let length = |digits: std::ops::Range<usize>| {
            let digits = header.get(digits).unwrap_or_default();
            digits.iter().fold(0_usize, |length, byte| length.wrapping_shl(8) | usize::from(*byte))
        };
        end += match header.get(1).map(|byte| usize::from(byte & 0x7f)) {
            Some(126) => 4 + length(2..4),
            Some(127) => 10 + length(2..10),
            Some(short) => 2 + short,
            None => return frames.len(),
        };
    }
    end.min(frames.len())
}

/// The cost of a message in a [`PollQueue`], in addition to its payload. Bytes.
const ENTRY_COST: usize = 64;

/// Messages for the next poll.
#[derive(Debug, Default)]
pub struct PollQueue {
    queue: Vec<Frame>,
    bytes: usize,
}

// === impl PollQueue ===

impl PollQueue {
    /// Returns whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns how many bytes are queued, including [`ENTRY_COST`] for each message.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether more waits than `limit` bytes. One message alone may be larger.
    pub fn exceeds(&self, limit: usize) -> bool {
        self.queue.len() > 1 && self.bytes > limit
    }

    /// Appends a message.
    pub fn push(&mut self, frame: Frame) {
        self.bytes += frame.payload().len() + ENTRY_COST;
        self.queue.push(frame);
    }

    /// Returns the messages.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.queue.iter()
    }

    /// Takes all messages.
    pub fn take(&mut self) -> Vec<Frame> {
        self.bytes = 0;
        std::mem::take(&mut self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn bytes_accepted_in_pieces_arrive_complete_and_in_order() {
        let mut send_buffer = SendBuffer::default();
        send_buffer.push(part("hello "), 2);
        send_buffer.push(part("wide "), 0);
        send_buffer.push(part("world"), 0);
        assert_eq!(send_buffer.bytes(), 14);
        let (mut seen, mut calls) = (Vec::new(), 0);
        let mut write = |slices: &[IoSlice<'_>]| {
            calls += 1;
            if calls % 2 == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            seen.extend_from_slice(&all[..all.len().min(3)]);
            Ok(all.len().min(3))
        };
        while send_buffer.flush(&mut write).unwrap() != FlushOutcome::Drained {}
        assert_eq!(seen, b"llo wide world");
        assert_eq!(send_buffer.bytes(), 0);
    }

    #[test]
    fn an_urgent_message_waits_only_for_the_one_that_is_being_written() {
        let message = |size: usize| {
            let mut bytes = Vec::new();
            nodevent_protocol::websocket::encode(
                &mut bytes,
                nodevent_protocol::websocket::Opcode::Text,
                &vec![b'x'; size],
            );
            bytes
        };
        let sizes = [0, 5, 125, 126, 300, 70_000];
        let messages: Vec<Vec<u8>> = sizes.into_iter().map(message).collect();
        let all = messages.concat();
        let ends: Vec<usize> = messages
            .iter()
            .scan(0, |end, message| {
                *end += message.len();
                Some(*end)
            })
            .collect();
        let urgent = b"\x81\x01!";
        for written in (0..700).chain(all.len() - 70_012..all.len() - 69_990).chain([all.len() - 1]) {
            let mut send_buffer = SendBuffer::default();
            send_buffer.push(all.as_slice().into(), written);
            send_buffer.push(part("later"), 0);
            send_buffer.push_first(urgent.as_slice().into());
            assert_eq!(send_buffer.bytes(), all.len() - written + 5 + urgent.len());
            let mut seen = Vec::new();
            let write = |slices: &[IoSlice<'_>]| {
                let before = seen.len();
                slices.iter().for_each(|slice| seen.extend_from_slice(slice));
                Ok(seen.len() - before)
            };
            assert_eq!(send_buffer.flush(write).unwrap(), FlushOutcome::Drained);
            let end = if written == 0 { 0 } else { *ends.iter().find(|end| **end >= written).unwrap() };
            assert_eq!(seen, [&all[written..end], urgent.as_slice(), &all[end..], b"later"].concat(), "{written}");
        }
        let mut send_buffer = SendBuffer::default();
        send_buffer.push(part("HTTP/1.1 101 Switching Protocols"), 3);
        send_buffer.push_first(urgent.as_slice().into());
        assert_eq!(send_buffer.parts().next().map(|part| part.len()), Some(32), "after the handshake");
    }

    #[test]
    fn flush_distinguishes_a_blocked_socket_from_a_partial_write() {
        let mut send_buffer = SendBuffer::default();
        send_buffer.push(part("x"), 0);
        let flushed = send_buffer.flush(|_| Err(io::ErrorKind::WouldBlock.into())).unwrap();
        assert_eq!(flushed, FlushOutcome::Blocked);
        assert_eq!(send_buffer.bytes(), 1);
    }

    #[test]
    fn broken_socket_is_an_error() {
        let mut send_buffer = SendBuffer::default();
        send_buffer.push(part("x"), 0);
        assert!(send_buffer.flush(|_| Err(io::ErrorKind::BrokenPipe.into())).is_err());
        assert!(send_buffer.flush(|_| Ok(0)).is_err());
    }
}
