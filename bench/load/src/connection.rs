//! One connection of the generator: its socket, its phase, and the number of the next publication. It is small because
//! there are tens of thousands, and it has no task and no read buffer of its own.

use crate::client_protocol::Phase;
use crate::clock::Nanos;
use mio::net::TcpStream;
use nodevent_protocol::websocket::{Opcode, encode_masked};
use std::io::{self, Write as _};

/// The mask of all frames: its value does not affect the server's cost.
const MASK: [u8; 4] = [0x6e, 0x6f, 0x64, 0x65];

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Option<TcpStream>,
    pub(crate) phase: Phase,
    /// Index of its room.
    pub(crate) room: u32,
    /// Number of the next expected publication.
    pub(crate) next_number: u32,
    /// True for a slow client: it stops reading after its join, and its deliveries do not count.
    pub(crate) slow: bool,
    /// True while the connection reads.
    pub(crate) is_reading: bool,
    /// The beginning of an incomplete frame.
    pub(crate) partial: Vec<u8>,
    /// The last received position, if the run needs positions.
    pub(crate) position: Option<Box<str>>,
    /// Start of the last connect.
    pub(crate) started: Nanos,
}

// === impl Connection ===

impl Connection {
    pub(crate) fn new(room: u32, slow: bool) -> Self {
        Self {
            stream: None,
            phase: Phase::Disconnected,
            room,
            next_number: 0,
            slow,
            is_reading: !slow,
            partial: Vec::new(),
            position: None,
            started: 0,
        }
    }

    /// Sends a text, or a WebSocket pong.
    pub(crate) fn send(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        encode_masked(&mut frame, opcode, payload, MASK);
        self.write(&frame)
    }

    /// Writes a few bytes. A client sends so little that a socket that does not accept it is broken.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Some(stream) => stream.write_all(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}
