//! The bytes of one connection, as any client may send them.

use nodevent_protocol::websocket::{Decoder, Message, Opcode, Violation, encode_masked};
use std::ops::ControlFlow;

/// Small, so that inputs of a few hundred bytes reach it.
const LIMIT: usize = 300;

/// The messages, and how it ended: `None` where more may come.
type Outcome = (Vec<(Opcode, Vec<u8>)>, Option<Result<(), Violation>>);

/// However the bytes are split, the messages and the violation are the same, and received messages can be sent again.
pub(crate) fn run(data: &[u8]) {
    let by_length = 2 + data.len() % 13;
    for decoder in [Decoder::with_deflate, Decoder::default] {
        let whole = feed(decoder(), data, data.len().max(1));
        for piece in [1, by_length] {
            assert_eq!(feed(decoder(), data, piece), whole, "in pieces of {piece}");
        }
    }
    let whole = feed(Decoder::default(), data, data.len().max(1));
    let mut again = Vec::new();
    for (opcode, payload) in &whole.0 {
        encode_masked(&mut again, *opcode, payload, [1, 2, 3, 4]);
    }
    assert_eq!(feed(Decoder::default(), &again, by_length).0, whole.0, "sent again");
}

fn feed(mut decoder: Decoder, data: &[u8], piece: usize) -> Outcome {
    let mut received = Vec::new();
    for piece in data.to_vec().chunks_mut(piece) {
        let fed = decoder.feed(piece, LIMIT, &mut |message| {
            received.push(match message {
                Message::Text(text) => (Opcode::Text, text.as_bytes().to_vec()),
                Message::Binary(bytes) => (Opcode::Binary, bytes.to_vec()),
                Message::Deflated { is_text, payload } => {
                    (Opcode::Continuation, [&[u8::from(is_text)][..], payload].concat())
                }
                Message::Ping(bytes) => (Opcode::Ping, bytes.to_vec()),
                Message::Pong(bytes) => (Opcode::Pong, bytes.to_vec()),
                Message::Close { code, reason } => {
                    let code = code.map(u16::to_be_bytes);
                    (Opcode::Close, [code.as_ref().map_or(&[][..], |code| code), reason.as_bytes()].concat())
                }
            });
            ControlFlow::Continue(())
        });
        if decoder.is_finished() {
            return (received, Some(fed));
        }
    }
    (received, None)
}
