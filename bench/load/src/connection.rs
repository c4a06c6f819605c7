//! One connection of the generator: a socket, how far it is, and what it has heard. Small: there are tens of
//! thousands, and none has a task or a buffer of its own while it waits.

use crate::client_protocol::Phase;
use crate::clock::Nanos;
use mio::net::TcpStream;
use nodevent_protocol::websocket::{Opcode, encode_masked};
use std::io::{self, Write as _};

/// The mask of all our frames: a server takes the same time whatever it is.
const MASK: [u8; 4] = [0x6e, 0x6f, 0x64, 0x65];

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Option<TcpStream>,
    pub(crate) phase: Phase,
    /// Index of its room.
    pub(crate) room: u32,
    /// Number of the publication it should hear next.
    pub(crate) expects: u32,
    /// Whether it is a slow neighbour: it stops reading once it is in its room, and what it hears does not count.
    pub(crate) slow: bool,
    /// Whether it reads now.
    pub(crate) reads: bool,
    /// A frame that was cut by the end of a read.
    pub(crate) partial: Vec<u8>,
    /// The last position it heard, where it is kept.
    pub(crate) position: Option<Box<str>>,
    /// When its last connect began.
    pub(crate) began: Nanos,
}

// === impl Connection ===

impl Connection {
    pub(crate) fn new(room: u32, slow: bool) -> Self {
        Self {
            stream: None,
            phase: Phase::Away,
            room,
            expects: 0,
            slow,
            reads: !slow,
            partial: Vec::new(),
            position: None,
            began: 0,
        }
    }

    /// Says a text, or a pong of the WebSocket layer.
    pub(crate) fn say(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        encode_masked(&mut frame, opcode, payload, MASK);
        self.write(&frame)
    }

    /// Writes a few bytes. What a browser says is so little that a socket which does not take it is broken.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Some(stream) => stream.write_all(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}
