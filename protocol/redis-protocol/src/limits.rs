//! The limits of a reply of Redis, decided from its bytes: no recursion, no allocation, no I/O.
//!
//! Follows the grammar exactly as the decoder reads it, including its tolerance for signs and leading zeros in lengths,
//! so that both always agree about where a text ends. Errors in the grammar are left to the decoder.
//!
//! # Source
//! The specification of RESP, versions 2 and 3.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use upstream::error::{RedisProtocolError, RedisProtocolErrorKind};

/// Levels of nesting. The deepest reply that we request has 4.
const MAX_DEPTH: usize = 32;
/// One text. The largest publication, with room. Bytes.
const MAX_TEXT: usize = 128 * 1024 * 1024;
/// One line: a status, an error, a number. Bytes.
const MAX_LINE: usize = 64 * 1024;
/// Elements of one reply in all. The largest page of a history, with room.
const MAX_ELEMENTS: usize = 1024 * 1024;
/// One reply in all, unless the program sets less. The default limit of Redis for one text. Bytes.
const MAX_REPLY: usize = 512 * 1024 * 1024;

/// The limit of this program for one reply. Bytes.
static MAX_REPLY_HERE: AtomicUsize = AtomicUsize::new(MAX_REPLY);

/// What to do with the bytes that have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Examined {
    /// Wait: the first reply is not complete.
    Incomplete,
    /// Decode: the first reply is within the limits, or the decoder rejects it before it has exceeded one.
    Decode,
}

/// What follows the first byte of a frame.
enum Kind {
    /// A line and nothing else.
    Line,
    /// A length and so many bytes.
    Text,
    /// A length and so many frames, multiplied, and some more.
    Frames { each: usize, more: usize },
    /// Something that the decoder rejects.
    Unknown,
}

/// Examines the first reply in `bytes`.
///
/// # Errors
/// It exceeds a limit.
pub(crate) fn examine(bytes: &[u8]) -> Result<Examined, RedisProtocolError> {
    examine_up_to(MAX_REPLY_HERE.load(Relaxed), bytes)
}

/// Limits each reply that this program reads to `bytes`, or to the default if that is less.
pub(crate) fn set_max_reply(bytes: usize) {
    MAX_REPLY_HERE.store(bytes.min(MAX_REPLY), Relaxed);
}

fn examine_up_to(max_reply: usize, bytes: &[u8]) -> Result<Examined, RedisProtocolError> {
    match scan(bytes)? {
        Scan::Incomplete if bytes.len() > max_reply => Err(limit("the reply is too long")),
        Scan::Complete(length) if length > max_reply => Err(limit("the reply is too long")),
        Scan::Incomplete => Ok(Examined::Incomplete),
        Scan::Complete(_) | Scan::Rejected => Ok(Examined::Decode),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scan {
    Incomplete,
    /// The length of the reply.
    Complete(usize),
    /// The decoder rejects it here, without reading on.
    Rejected,
}

fn scan(bytes: &[u8]) -> Result<Scan, RedisProtocolError> {
    // The frames that are missing on each level.
    let mut missing = [0_usize; MAX_DEPTH + 1];
    let (mut depth, mut elements, mut at) = (0, 0_usize, 0);
    missing[0] = 1;
    loop {
        while missing[depth] == 0 {
            if depth == 0 {
                return Ok(Scan::Complete(at));
            }
            depth -= 1;
        }
        missing[depth] -= 1;
        let Some(first) = bytes.get(at) else { return Ok(Scan::Incomplete) };
        let kind = kind(*first);
        if matches!(kind, Kind::Unknown) {
            return Ok(Scan::Rejected);
        }
        let rest = &bytes[at + 1..];
        let Some(end) = end_of_line(rest)? else { return Ok(Scan::Incomplete) };
        let line = &rest[..end];
        at += 1 + end + 2;
        match kind {
            Kind::Line | Kind::Unknown => {}
            Kind::Text => match length(line) {
                None => return Ok(Scan::Rejected),
                Some(Length::Null) => {}
                Some(Length::Of(length)) if length > MAX_TEXT => return Err(limit("a text is too long")),
                // A verbatim text begins with its format and a colon.
                Some(Length::Of(..4)) if *first == b'=' => return Ok(Scan::Rejected),
                // A chunk without bytes ends a stream, and no line follows.
                Some(Length::Of(0)) if *first == b';' => {}
                Some(Length::Of(length)) => {
                    at += length + 2; // at most MAX_TEXT
                    if at > bytes.len() {
                        return Ok(Scan::Incomplete);
                    }
                }
            },
            Kind::Frames { each, more } => match length(line) {
                None => return Ok(Scan::Rejected),
                Some(Length::Null) => {}
                Some(Length::Of(length)) => {
                    let frames = length.saturating_mul(each).saturating_add(more);
                    elements = elements.saturating_add(frames);
                    if elements > MAX_ELEMENTS {
                        return Err(limit("too many elements"));
                    }
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(limit("nested too deeply"));
                    }
                    missing[depth] = frames;
                }
            },
        }
    }
}

fn kind(first: u8) -> Kind {
    match first {
        b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' | b'.' | b'H' => Kind::Line,
        b'$' | b'!' | b'=' | b';' => Kind::Text,
        b'*' | b'~' | b'>' => Kind::Frames { each: 1, more: 0 },
        b'%' => Kind::Frames { each: 2, more: 0 },
        // Attributes belong to the frame after them.
        b'|' => Kind::Frames { each: 2, more: 1 },
        _ => Kind::Unknown,
    }
}

enum Length {
    /// -1: nothing follows, or a stream begins.
    Null,
    Of(usize),
}

/// Parses a length. `None`: the decoder rejects it, whatever it parses it as: it reads lengths of some kinds with a
/// sign, and those of others without, where a larger number is valid.
fn length(line: &[u8]) -> Option<Length> {
    match std::str::from_utf8(line).ok()?.parse::<i128>().ok()? {
        -1 => Some(Length::Null),
        length if length < 0 => None,
        length => Some(Length::Of(usize::try_from(length).unwrap_or(usize::MAX))),
    }
}

/// The index of the `\r\n` that ends a line. `None`: it has not arrived.
fn end_of_line(bytes: &[u8]) -> Result<Option<usize>, RedisProtocolError> {
    let window = &bytes[..bytes.len().min(MAX_LINE)];
    match window.windows(2).position(|two| two == b"\r\n") {
        Some(end) => Ok(Some(end)),
        None if window.len() == MAX_LINE => Err(limit("a line is too long")),
        None => Ok(None),
    }
}

fn limit(what: &'static str) -> RedisProtocolError {
    RedisProtocolError::new(RedisProtocolErrorKind::DecodeError, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;

    fn is_rejected(reply: &str) -> bool {
        examine(reply.as_bytes()).is_err()
    }

    #[test]
    fn every_kind_of_aggregate_may_be_nested_32_deep() {
        for level in ["*1\r\n", "~1\r\n", ">1\r\n", "%1\r\n+k\r\n"] {
            let nested = |depth: usize| level.repeat(depth) + ":1\r\n";
            assert_eq!(examine(nested(MAX_DEPTH).as_bytes()).unwrap(), Examined::Decode, "{level:?}");
            assert!(is_rejected(&nested(MAX_DEPTH + 1)), "{level:?}");
        }
        for level in ["%1\r\n", "|1\r\n", "|1\r\n+k\r\n", "*1000\r\n"] {
            assert!(is_rejected(&level.repeat(500_000)), "{level:?}");
        }
    }

    #[test]
    fn lengths_beyond_the_limits_are_rejected_before_the_data_arrives() {
        for reply in [
            "$9223372036854775807\r\nx",
            "$134217729\r\nx",
            "!134217729\r\nx",
            "=134217729\r\ntxt:x",
            ";134217729\r\nx",
            "*1048577\r\n",
            "%524289\r\n",
            "*9223372036854775807\r\n",
            "*2\r\n*1048575\r\n",
            ">18446744073709551615\r\n*1\r\n",
            "|18446744073709551615\r\n*1\r\n",
            "!18446744073709551616\r\n",
            "*99999999999999999999999\r\n",
        ] {
            assert!(is_rejected(reply), "{reply}");
        }
        assert_eq!(examine(b"$134217728\r\nx").unwrap(), Examined::Incomplete);
        assert_eq!(examine(b"*1048576\r\n").unwrap(), Examined::Incomplete);
    }

    #[test]
    fn endless_line_is_rejected() {
        assert_eq!(examine(&[b'+'; MAX_LINE]).unwrap(), Examined::Incomplete);
        assert!(examine(&[b'+'; MAX_LINE + 1]).is_err());
    }

    #[test]
    fn program_that_requests_short_replies_reads_no_long_ones() {
        let of = |length: usize| format!("${length}\r\n{}", "x".repeat(length)).into_bytes();
        assert_eq!(examine_up_to(100, &of(80)).unwrap(), Examined::Incomplete);
        assert_eq!(examine_up_to(100, &[of(80), b"\r\n".to_vec()].concat()).unwrap(), Examined::Decode);
        assert!(examine_up_to(100, &of(101)).is_err());
        assert!(examine_up_to(100, &[of(101), b"\r\n".to_vec()].concat()).is_err());
        assert!(examine_up_to(100, &b"*9\r\n+0123456789\r\n".repeat(8)).is_err(), "many short texts");
    }

    #[test]
    fn what_the_decoder_rejects_is_left_to_it() {
        for reply in ["HTTP/1.1 200 OK\r\n", "*x\r\n", "*-2\r\n", "?\r\n", "$\r\n"] {
            assert_eq!(examine(reply.as_bytes()).unwrap(), Examined::Decode, "{reply}");
            assert!(crate::resp2::decode::decode_bytes_mut(&mut BytesMut::from(reply)).is_err(), "{reply}");
        }
    }

    #[test]
    fn streams_and_chunks_have_the_same_end_as_in_the_decoder() {
        for reply in [";0\r\n:1\r\n", ";3\r\nabc\r\n", "*-1\r\n", "$-1\r\n", ".\r\n", "=7\r\ntxt:abc\r\n", "_\r\n"]
        {
            let decoded = upstream::resp3::decode::streaming::decode_range(reply.as_bytes()).unwrap();
            assert_eq!(scan(reply.as_bytes()).unwrap(), Scan::Complete(decoded.unwrap().1), "{reply}");
        }
    }

    /// Bytes that look like replies.
    fn replies() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            (prop::sample::select(b"*~>%|$!=;".to_vec()), -2_i64..5)
                .prop_map(|(kind, length)| { format!("{}{length}\r\n", char::from(kind)).into_bytes() }),
            Just(b":1\r\n".to_vec()),
            Just(b"+ok\r\n".to_vec()),
            Just(b"$2\r\n*9\r\n".to_vec()),
            Just(b"$+3\r\nabc\r\n".to_vec()),
            Just(b"*01\r\n".to_vec()),
            Just(b"_\r\n".to_vec()),
            Just(b"#t\r\n".to_vec()),
            Just(b".\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"+\r\n".to_vec()),
            Just(b"HELLO 3\r\n".to_vec()),
            Just(b"=7\r\ntxt:abc\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// If the two disagreed about where a text ends, bytes of a text could be read as nested arrays.
        #[test]
        fn both_agree_about_the_end_of_a_reply(bytes in replies()) {
            let ours = scan(&bytes);
            prop_assert!(ours.is_ok());
            let theirs = [
                upstream::resp2::decode::decode_range(&bytes).map(|found| found.map(|(_, length)| length)),
                upstream::resp3::decode::streaming::decode_range(&bytes).map(|found| found.map(|(_, length)| length)),
            ];
            for decoded in theirs {
                match decoded {
                    Ok(Some(length)) => prop_assert_eq!(ours.as_ref().ok(), Some(&Scan::Complete(length))),
                    Ok(None) => prop_assert!(matches!(ours, Ok(Scan::Incomplete | Scan::Rejected)), "{:?}", ours),
                    Err(_) => {}
                }
            }
        }

        #[test]
        fn replies_within_the_limits_are_decoded_as_upstream_does(bytes in replies()) {
            let (mut ours, mut theirs) = (BytesMut::from(&bytes[..]), BytesMut::from(&bytes[..]));
            let decoded = crate::resp2::decode::decode_bytes_mut(&mut ours);
            let expected = upstream::resp2::decode::decode_bytes_mut(&mut theirs);
            // An error behind what has arrived so far may be found later.
            if expected.is_ok() {
                prop_assert_eq!(decoded, expected);
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
