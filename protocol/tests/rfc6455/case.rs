//! What one case is, and how it is run.

use nodevent_protocol::websocket::{Decoder, Message, Violation};
use std::ops::ControlFlow;

/// A message, kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// How a case ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// More may come.
    Open,
    /// A close frame came.
    Closed,
    /// The connection is failed.
    Violated(Violation),
}

pub(crate) use End::{Closed, Open, Violated};

/// The largest message of the cases: that of Autobahn's 10.1.1, and more than any other of its sections 1 to 7.
pub(crate) const LIMIT: usize = 65_536;

pub(crate) use crate::frames::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, first, frame, last};

pub(crate) fn text(text: &str) -> Heard {
    Heard::Text(text.to_owned())
}

/// Feeds `sent` whole and in pieces; every time the decoder must hear `heard` and come to `end`.
pub(crate) fn check(name: &str, sent: &[Vec<u8>], heard: &[Heard], end: End) {
    let sent = sent.concat();
    for piece in [sent.len().max(1), 1, 2, 3, 5, 14, 997] {
        let (found, found_end) = run(&sent, piece, LIMIT);
        assert_eq!(found_end, end, "{name}, in pieces of {piece}");
        assert_eq!(found, heard, "{name}, in pieces of {piece}");
    }
}

/// Feeds `sent` in pieces.
pub(crate) fn run(sent: &[u8], piece: usize, limit: usize) -> (Vec<Heard>, End) {
    let mut decoder = Decoder::default();
    let mut heard = Vec::new();
    for piece in sent.to_vec().chunks_mut(piece) {
        let fed = decoder.feed(piece, limit, &mut |message| {
            heard.push(match message {
                Message::Text(text) => Heard::Text(text.to_owned()),
                Message::Binary(bytes) => Heard::Binary(bytes.to_vec()),
                Message::Ping(bytes) => Heard::Ping(bytes.to_vec()),
                Message::Pong(bytes) => Heard::Pong(bytes.to_vec()),
                Message::Close { code, reason } => Heard::Close(code, reason.to_owned()),
            });
            ControlFlow::Continue(())
        });
        if let Err(violation) = fed {
            assert!(decoder.is_finished());
            return (heard, Violated(violation));
        }
    }
    (heard, if decoder.is_finished() { Closed } else { Open })
}
