//! Turns the bytes of one connection into messages.
//!
//! A frame that is complete in one read is passed on without a copy. Only a frame that is cut by the end of a read, and
//! messages in fragments, are copied to the heap until they are complete: an idle connection uses no heap here. The
//! buffer grows with the bytes that arrive, never with the announced length.

use super::close;
use super::frame::{Head, MAX_HEAD, Opcode, unmask};
use super::utf8::{NotUtf8, Text};
use super::violation::Violation;
use std::ops::ControlFlow;

/// A complete message from a browser.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// A message that the client has compressed: see [`Decoder::with_deflate`]. The caller inflates it, and checks its text.
    Deflated {
        /// Whether it is text.
        is_text: bool,
        /// The compressed bytes, without the four bytes that RFC 7692, section 7.2.2, appends before inflating.
        payload: &'a [u8],
    },
    /// A ping. Reply with a pong that has the same bytes.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// A close frame. Nothing after it is read.
    Close {
        /// The code, which is valid in a close frame.
        code: Option<u16>,
        /// The reason.
        reason: &'a str,
    },
}

/// The reader of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    /// A frame or message that is not complete.
    partial: Option<Box<Partial>>,
    /// Whether reading has ended: after a close frame, a violation, or a break by the caller.
    finished: bool,
    /// Whether permessage-deflate was negotiated.
    deflate: bool,
}

/// A frame or message that is not complete. At least one of its parts is there.
#[derive(Debug, Default)]
struct Partial {
    /// The first bytes of a frame's header.
    head: [u8; MAX_HEAD],
    head_len: usize,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The bytes so far of a control frame's payload.
    control: Vec<u8>,
    /// The bytes so far of a message in fragments, or in a frame that is cut.
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

/// The bytes so far of a text or binary message.
#[derive(Debug)]
enum Arriving {
    Text(Text),
    Binary(Vec<u8>),
    Deflated { is_text: bool, bytes: Vec<u8> },
}

type On<'a> = &'a mut dyn FnMut(Message<'_>) -> ControlFlow<()>;

// === impl Decoder ===

impl Decoder {
    /// Returns the reader of a connection that has negotiated permessage-deflate (RFC 7692): messages may be compressed.
    #[must_use]
    pub fn with_deflate() -> Self {
        Self { deflate: true, ..Self::default() }
    }

    /// Feeds bytes from the socket, and unmasks them in place. Calls `on` for each complete message, in order.
    ///
    /// Stops after a close frame, and if `on` breaks. Then, and after a violation, it reads nothing any more.
    /// `max_message` is the limit of a message, all fragments together. Bytes. A compressed one may be a little longer, since
    /// compression lengthens some messages: the caller limits what it inflates to.
    ///
    /// # Errors
    /// Returns the first [`Violation`] in the order of the bytes. Complete messages before it were passed on.
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

    /// Returns whether reading has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Returns the memory that a frame or message takes that is not complete. Bytes.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| size_of::<Partial>() + partial.buffered())
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
                if hand_out(head.opcode, head.is_deflated, payload, on)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                bytes = rest;
            } else {
                self.partial.get_or_insert_default().begin(&head, length);
            }
        }
    }

    /// Returns the next frame's header and the bytes after it. `None`: the end of `bytes` cuts it.
    fn head<'b>(&mut self, bytes: &'b mut [u8]) -> Result<Option<(Head, &'b mut [u8])>, Violation> {
        let buffered = self.partial.as_ref().map_or(0, |partial| partial.head_len);
        if buffered == 0
            && let Some(head) = Head::read(bytes, self.deflate)?
        {
            return Ok(Some((head, &mut bytes[head.size..])));
        }
        let deflate = self.deflate;
        let partial = self.partial.get_or_insert_default();
        let taken = bytes.len().min(MAX_HEAD - buffered);
        partial.head[buffered..buffered + taken].copy_from_slice(&bytes[..taken]);
        let Some(head) = Head::read(&partial.head[..buffered + taken], deflate)? else {
            partial.head_len = buffered + taken;
            return Ok(None);
        };
        partial.head_len = 0;
        let behind = &mut bytes[head.size - buffered..];
        if partial.is_empty() {
            self.partial = None;
        }
        Ok(Some((head, behind)))
    }

    /// Checks whether a frame with that header is allowed now. Returns the length of its payload.
    fn admit(&self, head: &Head, limit: usize) -> Result<usize, Violation> {
        if head.opcode.is_control() {
            return Ok(usize::try_from(head.length).unwrap_or(usize::MAX));
        }
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        let (arrived, is_deflated) = match (message, head.opcode) {
            (None, Opcode::Continuation) => return Err(Violation::UnexpectedContinuation),
            (None, _) => (0, head.is_deflated),
            (Some(arriving), Opcode::Continuation) => {
                (arriving.len(), matches!(arriving, Arriving::Deflated { .. }))
            }
            (Some(_), _) => return Err(Violation::ExpectedContinuation),
        };
        let length = usize::try_from(head.length).map_err(|_| Violation::TooBig { limit })?;
        let max = if is_deflated { max_deflated(limit) } else { limit };
        if arrived.saturating_add(length) > max {
            return Err(Violation::TooBig { limit });
        }
        Ok(length)
    }
}

/// The maximum length of a message of `limit` bytes after compression. What cannot be compressed becomes longer.
fn max_deflated(limit: usize) -> usize {
    limit.saturating_add(limit / 16 + 64)
}

/// Passes on a complete message.
fn hand_out(opcode: Opcode, is_deflated: bool, payload: &[u8], on: On<'_>) -> Result<ControlFlow<()>, Violation> {
    let message = match opcode {
        _ if is_deflated => Message::Deflated { is_text: opcode == Opcode::Text, payload },
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

    /// The memory of its buffers. Bytes.
    fn buffered(&self) -> usize {
        let message = match &self.message {
            Some(Arriving::Text(text)) => text.capacity(),
            Some(Arriving::Binary(bytes) | Arriving::Deflated { bytes, .. }) => bytes.capacity(),
            None => 0,
        };
        self.control.capacity() + message
    }

    /// Starts a frame whose payload is not complete.
    fn begin(&mut self, head: &Head, length: usize) {
        match head.opcode {
            Opcode::Text | Opcode::Binary if head.is_deflated => {
                let is_text = head.opcode == Opcode::Text;
                self.message = Some(Arriving::Deflated { is_text, bytes: Vec::new() });
            }
            Opcode::Text => self.message = Some(Arriving::Text(Text::default())),
            Opcode::Binary => self.message = Some(Arriving::Binary(Vec::new())),
            _ => {}
        }
        self.frame =
            Some(Frame { fin: head.fin, opcode: head.opcode, mask: head.mask, arrived: 0, missing: length });
    }

    /// Takes the bytes that belong to the frame, and passes on the message that ends with it. Returns the bytes after it.
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
            hand_out(frame.opcode, false, &std::mem::take(&mut self.control), on)?
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
            Self::Binary(bytes) | Self::Deflated { bytes, .. } => bytes.len(),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), NotUtf8> {
        match self {
            Self::Text(text) => text.push(bytes),
            Self::Binary(all) | Self::Deflated { bytes: all, .. } => {
                all.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn hand_out(self, on: On<'_>) -> Result<ControlFlow<()>, Violation> {
        Ok(match self {
            Self::Text(text) => on(Message::Text(&text.finish().map_err(|NotUtf8| Violation::BadText)?)),
            Self::Binary(bytes) => on(Message::Binary(&bytes)),
            Self::Deflated { is_text, bytes } => on(Message::Deflated { is_text, payload: &bytes }),
        })
    }
}
