//! Messages arrive as they were sent, for every split into frames and reads.

use nodevent_protocol::websocket::{
    Decoder, Message, Opcode, Violation, encode, encode_close, encode_masked, header,
};
use proptest::prelude::*;
use std::ops::ControlFlow;

#[path = "../../fuzz/entries/websocket.rs"]
mod entry;

/// A message, and the offsets that split it into fragments.
type Sent = (Opcode, Vec<u8>, Vec<prop::sample::Index>);

fn sent() -> impl Strategy<Value = Sent> {
    let cuts = proptest::collection::vec(any::<prop::sample::Index>(), 0..4);
    let text = "\\PC{0,200}".prop_map(|text| (Opcode::Text, text.into_bytes()));
    let binary = proptest::collection::vec(any::<u8>(), 0..400).prop_map(|bytes| (Opcode::Binary, bytes));
    let control =
        (prop_oneof![Just(Opcode::Ping), Just(Opcode::Pong)], proptest::collection::vec(any::<u8>(), 0..=125));
    (prop_oneof![text, binary, control], cuts).prop_map(|((opcode, payload), cuts)| (opcode, payload, cuts))
}

/// Writes the fragments of a message with pings between them; control frames stay whole.
fn write(out: &mut Vec<u8>, (opcode, payload, cuts): &Sent, ping: bool, mask: [u8; 4]) -> usize {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
    if matches!(opcode, Opcode::Ping | Opcode::Pong) {
        ends.clear();
    }
    ends.sort_unstable();
    ends.push(payload.len());
    let (mut start, mut opcode, mut pings) = (0, *opcode, 0);
    for (at, &end) in ends.iter().enumerate() {
        let first_byte = out.len();
        encode_masked(out, opcode, &payload[start..end], mask);
        if at + 1 < ends.len() {
            out[first_byte] &= 0x7f;
            if ping {
                encode_masked(out, Opcode::Ping, b"between", mask);
                pings += 1;
            }
        }
        (start, opcode) = (end, Opcode::Continuation);
    }
    pings
}

/// The decoded messages, and the violation, if any.
type Outcome = (Vec<(Opcode, Vec<u8>)>, Result<(), Violation>);

/// What is received when `bytes` come in reads that end at `ends`.
fn receive(bytes: &[u8], ends: &[prop::sample::Index]) -> Outcome {
    receive_with(Decoder::default(), bytes, ends)
}

fn receive_with(mut decoder: Decoder, bytes: &[u8], ends: &[prop::sample::Index]) -> Outcome {
    let mut ends: Vec<_> = ends.iter().map(|end| end.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let (mut received, mut start) = (Vec::new(), 0);
    for end in ends {
        let fed = decoder.feed(&mut bytes[start..end].to_vec(), 1_000, &mut |message| {
            received.push(match message {
                Message::Text(text) => (Opcode::Text, text.as_bytes().to_vec()),
                Message::Binary(bytes) => (Opcode::Binary, bytes.to_vec()),
                Message::Deflated { is_text, payload } => {
                    (Opcode::Continuation, [&[u8::from(is_text)][..], payload].concat())
                }
                Message::Ping(bytes) => (Opcode::Ping, bytes.to_vec()),
                Message::Pong(bytes) => (Opcode::Pong, bytes.to_vec()),
                Message::Close { code, reason } => (Opcode::Close, format!("{code:?} {reason}").into_bytes()),
            });
            ControlFlow::Continue(())
        });
        if fed.is_err() {
            return (received, fed);
        }
        start = end;
    }
    (received, Ok(()))
}

/// Bytes that often look like frames: valid and invalid ones in sequence.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let head = prop_oneof![4 => prop::sample::select(vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0xc1, 0xc2, 0x41]), 1 => any::<u8>()];
    let length = prop_oneof![9 => 0x80..=0x9f_u8, 1 => any::<u8>()];
    let payload = prop_oneof![Just(vec![]), "\\PC{0,20}".prop_map(String::into_bytes), any::<Vec<u8>>()];
    let frame = (head, length, payload).prop_map(|(head, length, mut payload)| {
        if (0x80..=0x9f).contains(&length) {
            payload.resize((length & 0x7f).into(), b'x');
        }
        [&[head, length, 0, 0, 0, 0][..], &payload].concat()
    });
    proptest::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn messages_arrive_as_sent_for_every_split_into_frames_and_reads(
        all in proptest::collection::vec(sent(), 0..6), ping: bool, mask: [u8; 4],
        reads in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for sent in &all {
            for _ in 0..write(&mut bytes, sent, ping, mask) {
                expected.push((Opcode::Ping, b"between".to_vec()));
            }
            expected.push((sent.0, sent.1.clone()));
        }
        prop_assert_eq!(receive(&bytes, &reads), (expected, Ok(())));
    }

    #[test]
    fn every_split_of_the_same_bytes_gives_the_same_result(
        bytes in prop_oneof![likely(), any::<Vec<u8>>()],
        reads in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        prop_assert_eq!(receive(&bytes, &reads), receive(&bytes, &[]));
        let with_deflate = |reads| receive_with(Decoder::with_deflate(), &bytes, reads);
        prop_assert_eq!(with_deflate(&reads[..]), with_deflate(&[]));
        entry::run(&bytes);
    }

    #[test]
    fn server_frame_equals_an_unmasked_browser_frame(
        length in prop_oneof![0..300_usize, 65_000..70_000_usize], byte: u8,
    ) {
        let payload = vec![byte; length];
        let (mut server, mut browser) = (Vec::new(), Vec::new());
        encode(&mut server, Opcode::Binary, &payload);
        encode_masked(&mut browser, Opcode::Binary, &payload, [0; 4]);
        let head = header(Opcode::Binary, payload.len());
        prop_assert_eq!(&server[..head.len()], &head[..]);
        prop_assert_eq!(&server[head.len()..], &payload[..]);
        browser[1] &= 0x7f;
        browser.drain(head.len()..head.len() + 4);
        prop_assert_eq!(browser, server);
    }

    #[test]
    fn server_close_frame_may_be_echoed_by_a_browser(reason in "\\PC{0,60}") {
        let mut frame = Vec::new();
        encode_close(&mut frame, 1008, &reason);
        let mut back = Vec::new();
        encode_masked(&mut back, Opcode::Close, &frame[2..], [9, 8, 7, 6]);
        let (received, end) = receive(&back, &[]);
        prop_assert_eq!(end, Ok(()));
        let received = String::from_utf8(received[0].1.clone()).unwrap();
        let received = received.strip_prefix("Some(1008) ").unwrap();
        prop_assert!(reason.starts_with(received) && (received == reason || received.len() > 123 - 4));
    }
}
