//! The form of a case, and its execution.

use nodevent_protocol::websocket::{Decoder, Message, Violation};
use std::ops::ControlFlow;

/// An owned message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Received {
    Text(String),
    Binary(Vec<u8>),
    /// Compressed text, or compressed bytes.
    Deflated(bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// The state of the decoder after a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// The decoder accepts more.
    Open,
    /// A close frame arrived.
    Closed,
    /// The input violated the protocol.
    Violated(Violation),
}

pub(crate) use End::{Closed, Open, Violated};

/// The largest message of the cases, which is the one of Autobahn 10.1.1.
pub(crate) const LIMIT: usize = 65_536;

pub(crate) use crate::frames::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, first, frame, last};

pub(crate) fn text(text: &str) -> Received {
    Received::Text(text.to_owned())
}

/// Feeds `sent` whole and in pieces. Each time the decoder must return the `expected` messages and end in state `end`.
pub(crate) fn check(name: &str, sent: &[Vec<u8>], expected: &[Received], end: End) {
    check_with(Decoder::default, name, sent, expected, end);
}

/// As [`check`], with decoders of connections that have negotiated permessage-deflate.
pub(crate) fn check_deflate(name: &str, sent: &[Vec<u8>], expected: &[Received], end: End) {
    check_with(Decoder::with_deflate, name, sent, expected, end);
}

fn check_with(decoder: fn() -> Decoder, name: &str, sent: &[Vec<u8>], expected: &[Received], end: End) {
    let sent = sent.concat();
    for piece in [sent.len().max(1), 1, 2, 3, 5, 14, 997] {
        let (found, found_end) = run_with(decoder(), &sent, piece, LIMIT);
        assert_eq!(found_end, end, "{name}, in pieces of {piece}");
        assert_eq!(found, expected, "{name}, in pieces of {piece}");
    }
}

/// Feeds `sent` in pieces of `piece` bytes.
pub(crate) fn run(sent: &[u8], piece: usize, limit: usize) -> (Vec<Received>, End) {
    run_with(Decoder::default(), sent, piece, limit)
}

/// As [`run`], with this decoder.
pub(crate) fn run_with(mut decoder: Decoder, sent: &[u8], piece: usize, limit: usize) -> (Vec<Received>, End) {
    let mut received = Vec::new();
    for piece in sent.to_vec().chunks_mut(piece) {
        let fed = decoder.feed(piece, limit, &mut |message| {
            received.push(match message {
                Message::Text(text) => Received::Text(text.to_owned()),
                Message::Binary(bytes) => Received::Binary(bytes.to_vec()),
                Message::Deflated { is_text, payload } => Received::Deflated(is_text, payload.to_vec()),
                Message::Ping(bytes) => Received::Ping(bytes.to_vec()),
                Message::Pong(bytes) => Received::Pong(bytes.to_vec()),
                Message::Close { code, reason } => Received::Close(code, reason.to_owned()),
            });
            ControlFlow::Continue(())
        });
        if let Err(violation) = fed {
            assert!(decoder.is_finished());
            return (received, Violated(violation));
        }
    }
    (received, if decoder.is_finished() { Closed } else { Open })
}
