//! Continues to examine a reply where the last call stopped. Otherwise a reply that arrives byte by byte would be scanned
//! from its start for each byte, which takes a time quadratic in its size.
//!
//! The client's codec calls the decoder with nothing but its buffer, and only appends to it until the decoder takes a reply
//! out of it. So the buffer is the only place for what is known about the reply: a *note* in front of the reply, which
//! begins with a random number of this process that no peer knows. The note is written if a scan has taken many steps, and
//! removed before the buffer is decoded. Replies that arrive in few pieces never have one.

use crate::limits::{self, Examined, Scan};
use bytes::{Buf as _, BytesMut};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use upstream::error::RedisProtocolError;

/// Steps of a scan after which it is not repeated.
const MAX_REPEATED_STEPS: usize = 1024;
/// The size of a value in a note. Bytes.
const VALUE: usize = size_of::<usize>();
/// The size of the mark with which a note begins. Bytes.
const MARK: usize = 16;
/// The size of a note. Bytes.
const NOTE: usize = MARK + Scan::VALUES * VALUE;

/// The mark of this process. It is random, so that no peer can write a note into a reply.
static MARK_OF_PROCESS: LazyLock<[u8; MARK]> = LazyLock::new(|| {
    // The keys of hash maps are the source of random numbers in the standard library.
    let halves = [0, 1].map(|_| RandomState::new().hash_one(0_u8).to_le_bytes());
    let mut mark = [0; MARK];
    for (place, byte) in mark.iter_mut().zip(halves.as_flattened()) {
        *place = *byte;
    }
    mark
});

/// Examines the first reply in `buf`. If it is incomplete, `buf` may begin with a note afterwards, to which the next bytes
/// are appended.
///
/// # Errors
/// It exceeds a limit.
pub(crate) fn examine(buf: &mut BytesMut) -> Result<Examined, RedisProtocolError> {
    let noted = read_note(buf);
    let mut scan = noted.unwrap_or_default();
    let reply = if noted.is_some() { &buf[NOTE..] } else { &buf[..] };
    let examined = limits::examine(reply, &mut scan);
    match (&examined, noted) {
        (Ok(Examined::Incomplete), Some(_)) => buf[..NOTE].copy_from_slice(&note(scan)),
        (Ok(Examined::Incomplete), None) if scan.steps > MAX_REPEATED_STEPS => {
            let mut with_note = BytesMut::with_capacity(2 * (NOTE + buf.len()));
            with_note.extend_from_slice(&note(scan));
            with_note.extend_from_slice(buf);
            *buf = with_note;
        }
        (Ok(Examined::Incomplete), None) | (Ok(Examined::Decode) | Err(_), None) => {}
        (Ok(Examined::Decode) | Err(_), Some(_)) => buf.advance(NOTE),
    }
    examined
}

fn note(scan: Scan) -> [u8; NOTE] {
    let mut note = [0; NOTE];
    let (mark, values) = note.split_at_mut(MARK);
    mark.copy_from_slice(&*MARK_OF_PROCESS);
    for (place, value) in values.chunks_exact_mut(VALUE).zip(scan.to_values()) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    note
}

/// The scan in the note with which the buffer begins, if it does.
fn read_note(buf: &[u8]) -> Option<Scan> {
    let (mark, values) = buf.get(..NOTE)?.split_at(MARK);
    if mark != *MARK_OF_PROCESS {
        return None;
    }
    let mut scan = [0; Scan::VALUES];
    for (place, value) in scan.iter_mut().zip(values.chunks_exact(VALUE)) {
        *place = usize::from_le_bytes(value.try_into().ok()?);
    }
    Some(Scan::from_values(scan))
}

#[cfg(test)]
mod tests {
    use crate::resp2;
    use bytes::BytesMut;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    /// Time for a megabyte. A scan from the start for each byte takes minutes.
    const MAX_TIME: Duration = Duration::from_secs(30);

    /// Replies of about a megabyte that take many steps: many elements, nested ones, long lines, a length with many zeros.
    fn large_replies() -> [Vec<u8>; 4] {
        let numbers = format!("*262144\r\n{}", ":1\r\n".repeat(262_144));
        let nested = format!("*40000\r\n{}", "*2\r\n*1\r\n+a\r\n$4\r\n\r\nxx\r\n".repeat(40_000));
        let lines = format!("*16\r\n{}", format!("+{}\r\n", "\rx".repeat(32_000)).repeat(16));
        let text = format!("${}1000000\r\n{}\r\n", "0".repeat(60_000), "x".repeat(1_000_000));
        [numbers, nested, lines, text].map(String::into_bytes)
    }

    #[test]
    fn reply_that_arrives_byte_by_byte_takes_a_time_proportional_to_its_size() {
        for reply in large_replies() {
            let expected = upstream::resp2::decode::decode(&reply).unwrap().unwrap();
            let (mut buf, started) = (BytesMut::new(), Instant::now());
            let (last, others) = reply.split_last().unwrap();
            for byte in others {
                buf.extend_from_slice(&[*byte]);
                assert_eq!(resp2::decode::decode_bytes_mut(&mut buf).unwrap(), None);
            }
            // The beginning of the next reply.
            buf.extend_from_slice(&[*last, b':']);
            let (frame, length, _) = resp2::decode::decode_bytes_mut(&mut buf).unwrap().unwrap();
            assert_eq!((frame, length), (expected.0.into_bytes_frame(), expected.1));
            assert_eq!(&buf[..], b":", "the note is gone");
            let time = started.elapsed();
            assert!(time < MAX_TIME, "{time:?} for {} bytes", reply.len());
        }
    }

    #[test]
    fn limits_apply_to_what_arrives_byte_by_byte() {
        let many = format!("*1048576\r\n{}*1\r\n", ":1\r\n".repeat(5_000));
        let deep = format!("*5001\r\n{}{}", ":1\r\n".repeat(5_000), "*1\r\n".repeat(32));
        let long = format!("*5001\r\n{}+{}", ":1\r\n".repeat(5_000), "x".repeat(64 * 1024));
        for reply in [many, deep, long] {
            let mut buf = BytesMut::new();
            let decoded = reply.bytes().map(|byte| {
                buf.extend_from_slice(&[byte]);
                resp2::decode::decode_bytes_mut(&mut buf)
            });
            let decoded: Vec<_> = decoded.collect();
            assert_eq!(decoded.iter().position(Result::is_err), Some(reply.len() - 1));
        }
    }

    /// Replies in which scans become long enough for a note.
    fn replies() -> impl Strategy<Value = Vec<u8>> {
        let frame = prop_oneof![
            Just(":1\r\n".repeat(600)),
            (0_usize..1500).prop_map(|length| format!("+{}\r\n", "y".repeat(length))),
            (0_usize..1500).prop_map(|length| format!("${length}\r\n{}\r\n", "\r".repeat(length))),
            (0_usize..700).prop_map(|length| format!("*{length}\r\n{}", "$-1\r\n".repeat(length))),
            Just("?x\r\n".to_owned()),
        ];
        prop::collection::vec(frame, 1..5).prop_map(|frames| format!("*9\r\n{}", frames.concat()).into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// In pieces or at once, what is decoded is the same.
        #[test]
        fn pieces_are_decoded_as_the_whole_is(bytes in replies(), pieces in prop::collection::vec(1_usize..900, 1..20)) {
            let whole = |bytes: &[u8]| {
                let mut buf = BytesMut::from(bytes);
                let (mut frames, mut failed) = (Vec::new(), false);
                loop {
                    match resp2::decode::decode_bytes_mut(&mut buf) {
                        Ok(Some((frame, ..))) => frames.push(frame),
                        Ok(None) => break,
                        Err(_) => { failed = true; break }
                    }
                }
                (frames, failed)
            };
            let (mut buf, mut frames, mut failed) = (BytesMut::new(), Vec::new(), false);
            let (mut rest, mut sizes) = (&bytes[..], pieces.iter().cycle());
            while !rest.is_empty() && !failed {
                let (piece, left) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                buf.extend_from_slice(piece);
                rest = left;
                loop {
                    match resp2::decode::decode_bytes_mut(&mut buf) {
                        Ok(Some((frame, ..))) => frames.push(frame),
                        Ok(None) => break,
                        Err(_) => { failed = true; break }
                    }
                }
            }
            prop_assert_eq!((frames, failed), whole(&bytes));
        }
    }
}
