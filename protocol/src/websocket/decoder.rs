//! Turns the bytes of one connection into messages.
//!
//! A frame that is whole in one read is handed out where it lies. Only what is cut by the end of a read, or sent in
//! fragments, moves into a box, which is gone when the message is: an idle connection owns no heap here. The box
//! grows with the bytes that arrived, never with the length that was announced.

use super::close;
use super::frame::{Head, MAX_HEAD, Opcode, unmask};
use super::utf8::{NotUtf8, Text};
use super::violation::Violation;
use std::ops::ControlFlow;

/// What a browser sent, whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// Are you there? Answer with these bytes.
    Ping(&'a [u8]),
    /// I am.
    Pong(&'a [u8]),
    /// The end. Nothing is read behind it.
    Close {
        /// Why, as a number that may stand in a close frame.
        code: Option<u16>,
        /// Why, as text.
        reason: &'a str,
    },
}

/// One connection's reader.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What has begun and not ended.
    partial: Option<Box<Partial>>,
    /// A close frame came, a violation, or the caller broke off: nothing more is read.
    finished: bool,
}

/// What has begun and not ended; at least one of its parts is there.
#[derive(Debug, Default)]
struct Partial {
    /// The first bytes of a frame's head.
    head: [u8; MAX_HEAD],
    head_len: usize,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// What has arrived of a control frame's payload.
    control: Vec<u8>,
    /// What has arrived of a message in fragments, or of one in a frame that is cut.
    message: Option<Arriving>,
}

/// A frame whose payload is arriving.
#[derive(Debug)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    arrived: usize,
    missing: usize,
}

/// What has arrived of a text or binary message.
#[derive(Debug)]
enum Arriving {
    Text(Text),
    Binary(Vec<u8>),
}

type On<'a> = &'a mut dyn FnMut(Message<'_>) -> ControlFlow<()>;

// === impl Decoder ===

impl Decoder {
    /// Feeds bytes as they came from the socket, unmasking them in place; calls `on` for each whole message, in order.
    ///
    /// Stops behind a close frame, and where `on` breaks; then, as behind a violation, nothing more is ever read.
    /// `max_message` is in bytes and counts the fragments of a message together.
    ///
    /// # Errors
    /// The first [`Violation`], by the order of the bytes. What was whole before it has been handed out.
    pub fn feed(&mut self, bytes: &mut [u8], max_message: usize, on: On<'_>) -> Result<(), Violation> {
        if self.finished {
            return Ok(());
        }
        let result = self.read(bytes, max_message, on);
        if !matches!(result, Ok(ControlFlow::Continue(()))) {
            self.finished = true;
            self.partial = None;
        }
        result.map(|_| ())
    }

    /// Whether nothing more will be read.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    fn read(&mut self, mut bytes: &mut [u8], limit: usize, on: On<'_>) -> Result<ControlFlow<()>, Violation> {
        loop {
            if let Some(partial) = self.partial.as_mut().filter(|partial| partial.frame.is_some()) {
                let (flow, rest) = partial.absorb(bytes, on)?;
                if partial.is_empty() {
                    self.partial = None;
                }
                if flow.is_break() {
                    return Ok(flow);
                }
                bytes = rest;
            }
            if bytes.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            let Some((head, rest)) = self.head(bytes)? else { return Ok(ControlFlow::Continue(())) };
            bytes = rest;
            let length = self.admit(&head, limit)?;
            let direct = head.opcode.is_control() || (head.fin && head.opcode != Opcode::Continuation);
            if direct && length <= bytes.len() {
                let (payload, rest) = bytes.split_at_mut(length);
                unmask(payload, head.mask, 0);
                if hand_out(head.opcode, payload, on)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                bytes = rest;
            } else {
                self.partial.get_or_insert_default().begin(&head, length);
            }
        }
    }

    /// The next frame's head and what is behind it; `None` where it is cut by the end of `bytes`.
    fn head<'b>(&mut self, bytes: &'b mut [u8]) -> Result<Option<(Head, &'b mut [u8])>, Violation> {
        let kept = self.partial.as_ref().map_or(0, |partial| partial.head_len);
        if kept == 0
            && let Some(head) = Head::read(bytes)?
        {
            return Ok(Some((head, &mut bytes[head.size..])));
        }
        let partial = self.partial.get_or_insert_default();
        let taken = bytes.len().min(MAX_HEAD - kept);
        partial.head[kept..kept + taken].copy_from_slice(&bytes[..taken]);
        let Some(head) = Head::read(&partial.head[..kept + taken])? else {
            partial.head_len = kept + taken;
            return Ok(None);
        };
        partial.head_len = 0;
        let behind = &mut bytes[head.size - kept..];
        if partial.is_empty() {
            self.partial = None;
        }
        Ok(Some((head, behind)))
    }

    /// Whether a frame with that head may come now; the length of its payload.
    fn admit(&self, head: &Head, limit: usize) -> Result<usize, Violation> {
        if head.opcode.is_control() {
            return Ok(usize::try_from(head.length).unwrap_or(usize::MAX));
        }
        let arrived = match (self.partial.as_ref().and_then(|partial| partial.message.as_ref()), head.opcode) {
            (None, Opcode::Continuation) => return Err(Violation::UnexpectedContinuation),
            (None, _) => 0,
            (Some(arriving), Opcode::Continuation) => arriving.len(),
            (Some(_), _) => return Err(Violation::ExpectedContinuation),
        };
        let length = usize::try_from(head.length).map_err(|_| Violation::TooBig { limit })?;
        if arrived.saturating_add(length) > limit {
            return Err(Violation::TooBig { limit });
        }
        Ok(length)
    }
}

/// Hands out a message that is whole.
fn hand_out(opcode: Opcode, payload: &[u8], on: On<'_>) -> Result<ControlFlow<()>, Violation> {
    let message = match opcode {
        Opcode::Text => Message::Text(std::str::from_utf8(payload).map_err(|_| Violation::BadText)?),
        Opcode::Binary | Opcode::Continuation => Message::Binary(payload),
        Opcode::Ping => Message::Ping(payload),
        Opcode::Pong => Message::Pong(payload),
        Opcode::Close => {
            let (code, reason) = close::read(payload)?;
            let _ = on(Message::Close { code, reason });
            return Ok(ControlFlow::Break(()));
        }
    };
    Ok(on(message))
}

// === impl Partial ===

impl Partial {
    fn is_empty(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// A frame begins whose payload must be put together.
    fn begin(&mut self, head: &Head, length: usize) {
        match head.opcode {
            Opcode::Text => self.message = Some(Arriving::Text(Text::default())),
            Opcode::Binary => self.message = Some(Arriving::Binary(Vec::new())),
            _ => {}
        }
        self.frame =
            Some(Frame { fin: head.fin, opcode: head.opcode, mask: head.mask, arrived: 0, missing: length });
    }

    /// Takes what belongs to the frame; hands out the message that ends with it. Answers what is behind.
    fn absorb<'b>(
        &mut self,
        bytes: &'b mut [u8],
        on: On<'_>,
    ) -> Result<(ControlFlow<()>, &'b mut [u8]), Violation> {
        let Some(mut frame) = self.frame.take() else { return Ok((ControlFlow::Continue(()), bytes)) };
        let (payload, rest) = bytes.split_at_mut(frame.missing.min(bytes.len()));
        unmask(payload, frame.mask, frame.arrived);
        frame.arrived += payload.len();
        frame.missing -= payload.len();
        if frame.opcode.is_control() {
            self.control.extend_from_slice(payload);
        } else if let Some(arriving) = &mut self.message {
            arriving.push(payload).map_err(|NotUtf8| Violation::BadText)?;
        }
        let flow = if frame.missing > 0 {
            self.frame = Some(frame);
            ControlFlow::Continue(())
        } else if frame.opcode.is_control() {
            hand_out(frame.opcode, &std::mem::take(&mut self.control), on)?
        } else if frame.fin {
            self.message.take().map_or(Ok(ControlFlow::Continue(())), |arriving| arriving.hand_out(on))?
        } else {
            ControlFlow::Continue(())
        };
        Ok((flow, rest))
    }
}

// === impl Arriving ===

impl Arriving {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), NotUtf8> {
        match self {
            Self::Text(text) => text.push(bytes),
            Self::Binary(all) => {
                all.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn hand_out(self, on: On<'_>) -> Result<ControlFlow<()>, Violation> {
        Ok(match self {
            Self::Text(text) => on(Message::Text(&text.finish().map_err(|NotUtf8| Violation::BadText)?)),
            Self::Binary(bytes) => on(Message::Binary(&bytes)),
        })
    }
}
