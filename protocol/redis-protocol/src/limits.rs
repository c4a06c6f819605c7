//! The limits of a reply of Redis, decided from its bytes: no recursion, no allocation, no I/O.
//!
//! Follows the grammar exactly as the decoder reads it, including its tolerance for signs and leading zeros in lengths,
//! so that both always agree about where a text ends. Errors in the grammar are left to the decoder.
//!
//! # Source
//! The specification of RESP, version 2. Frames of version 3 are rejected.

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
    /// A length and so many frames.
    Frames,
    /// Something that the decoder rejects.
    Unknown,
}

/// Examines the first reply in `bytes`, from where the last call stopped.
///
/// # Errors
/// It exceeds a limit.
pub(crate) fn examine(bytes: &[u8], scan: &mut Scan) -> Result<Examined, RedisProtocolError> {
    examine_up_to(MAX_REPLY_HERE.load(Relaxed), bytes, scan)
}

/// Limits each reply that this program reads to `bytes`, or to the default if that is less.
pub(crate) fn set_max_reply(bytes: usize) {
    MAX_REPLY_HERE.store(bytes.min(MAX_REPLY), Relaxed);
}

fn examine_up_to(max_reply: usize, bytes: &[u8], scan: &mut Scan) -> Result<Examined, RedisProtocolError> {
    match scan.resume(bytes)? {
        Scanned::Incomplete if bytes.len() > max_reply => Err(limit("the reply is too long")),
        Scanned::Complete(length) if length > max_reply => Err(limit("the reply is too long")),
        Scanned::Incomplete => Ok(Examined::Incomplete),
        Scanned::Complete(_) | Scanned::Rejected => Ok(Examined::Decode),
    }
}

/// How far a reply has been scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The frames that are missing on each level.
    missing: [usize; MAX_DEPTH + 1],
    depth: usize,
    elements: usize,
    /// The bytes before this one are done: the next frame begins here.
    at: usize,
    /// The bytes of that frame's line that are known not to end it.
    line: usize,
    /// The reply is incomplete without that many bytes: the next frame is a text that ends there.
    wanted: usize,
    /// Steps that this scan has taken.
    pub(crate) steps: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scanned {
    Incomplete,
    /// The length of the reply.
    Complete(usize),
    /// The decoder rejects it here, without reading on.
    Rejected,
}

// === impl Scan ===

impl Default for Scan {
    fn default() -> Self {
        let mut missing = [0; MAX_DEPTH + 1];
        missing[0] = 1;
        Self { missing, depth: 0, elements: 0, at: 0, line: 0, wanted: 0, steps: 0 }
    }
}

impl Scan {
    /// The number of values in [`Scan::to_values`].
    pub(crate) const VALUES: usize = MAX_DEPTH + 1 + 6;

    /// Everything that is known.
    pub(crate) fn to_values(self) -> [usize; Self::VALUES] {
        let mut values = [0; Self::VALUES];
        let (others, missing) = values.split_at_mut(6);
        others.copy_from_slice(&[self.depth, self.elements, self.at, self.line, self.wanted, self.steps]);
        missing.copy_from_slice(&self.missing);
        values
    }

    /// The reverse of [`Scan::to_values`].
    pub(crate) fn from_values(values: [usize; Self::VALUES]) -> Self {
        let [depth, elements, at, line, wanted, steps, missing @ ..] = values;
        Self { missing, depth, elements, at, line, wanted, steps }
    }

    /// Scans on. `bytes` begins with what the last call received.
    fn resume(&mut self, bytes: &[u8]) -> Result<Scanned, RedisProtocolError> {
        if bytes.len() < self.wanted {
            return Ok(Scanned::Incomplete);
        }
        loop {
            self.steps += 1;
            while self.missing[self.depth] == 0 {
                if self.depth == 0 {
                    return Ok(Scanned::Complete(self.at));
                }
                self.depth -= 1;
            }
            let Some(first) = bytes.get(self.at) else { return Ok(Scanned::Incomplete) };
            let kind = kind(*first);
            if matches!(kind, Kind::Unknown) {
                return Ok(Scanned::Rejected);
            }
            let rest = &bytes[self.at + 1..];
            let Some(end) = end_of_line(rest, &mut self.line, &mut self.steps)? else {
                return Ok(Scanned::Incomplete);
            };
            let line = &rest[..end];
            let mut next = self.at + 1 + end + 2;
            let mut frames = None;
            match kind {
                Kind::Line | Kind::Unknown => {}
                Kind::Text => match length(line) {
                    None => return Ok(Scanned::Rejected),
                    Some(Length::Null) => {}
                    Some(Length::Of(length)) if length > MAX_TEXT => return Err(limit("a text is too long")),
                    Some(Length::Of(length)) => {
                        next += length + 2; // at most MAX_TEXT
                        if next > bytes.len() {
                            self.wanted = next;
                            return Ok(Scanned::Incomplete);
                        }
                    }
                },
                Kind::Frames => match length(line) {
                    None => return Ok(Scanned::Rejected),
                    Some(Length::Null) => {}
                    Some(Length::Of(length)) => frames = Some(length),
                },
            }
            (self.at, self.line) = (next, 0);
            self.missing[self.depth] -= 1;
            if let Some(frames) = frames {
                self.elements = self.elements.saturating_add(frames);
                if self.elements > MAX_ELEMENTS {
                    return Err(limit("too many elements"));
                }
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(limit("nested too deeply"));
                }
                self.missing[self.depth] = frames;
            }
        }
    }
}

fn kind(first: u8) -> Kind {
    match first {
        b'+' | b'-' | b':' => Kind::Line,
        b'$' => Kind::Text,
        b'*' => Kind::Frames,
        _ => Kind::Unknown,
    }
}

enum Length {
    /// -1: nothing follows.
    Null,
    Of(usize),
}

/// Parses a length. `None`: the decoder rejects it.
fn length(line: &[u8]) -> Option<Length> {
    match std::str::from_utf8(line).ok()?.parse::<i128>().ok()? {
        -1 => Some(Length::Null),
        length if length < 0 => None,
        length => Some(Length::Of(usize::try_from(length).unwrap_or(usize::MAX))),
    }
}

/// The index of the `\r\n` that ends a line. `None`: it has not arrived. `known` bytes are known not to end it.
fn end_of_line(bytes: &[u8], known: &mut usize, steps: &mut usize) -> Result<Option<usize>, RedisProtocolError> {
    let window = &bytes[..bytes.len().min(MAX_LINE)];
    let unknown = &window[*known..];
    match unknown.windows(2).position(|two| two == b"\r\n") {
        Some(end) => {
            *steps += end;
            Ok(Some(*known + end))
        }
        None if window.len() == MAX_LINE => Err(limit("a line is too long")),
        None => {
            *steps += unknown.len();
            // The last byte may be the first of the two.
            *known = window.len().saturating_sub(1);
            Ok(None)
        }
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
        examine(reply.as_bytes(), &mut Scan::default()).is_err()
    }

    #[test]
    fn arrays_may_be_nested_32_deep() {
        let nested = |depth: usize| "*1\r\n".repeat(depth) + ":1\r\n";
        assert_eq!(examine(nested(MAX_DEPTH).as_bytes(), &mut Scan::default()).unwrap(), Examined::Decode);
        assert!(is_rejected(&nested(MAX_DEPTH + 1)));
        for level in ["*1\r\n", "*1000\r\n"] {
            assert!(is_rejected(&level.repeat(500_000)), "{level:?}");
        }
    }

    /// The client tries the second decoder with what the first rejects.
    #[test]
    fn nothing_of_resp3_is_decoded() {
        for reply in [
            "*?\r\n:1\r\n",
            "~?\r\n:1\r\n",
            "%?\r\n:1\r\n:1\r\n",
            "$?\r\n;1\r\na\r\n",
            "*2\r\n*?\r\n:1\r\n",
            "%1\r\n+k\r\n:1\r\n",
            "~1\r\n:1\r\n",
            ">1\r\n:1\r\n",
            "|1\r\n+k\r\n:1\r\n:1\r\n",
            ",1.5\r\n",
            "#t\r\n",
            "_\r\n",
            "(1\r\n",
            ".\r\n",
            "!1\r\nx\r\n",
            "=5\r\ntxt:x\r\n",
            "HELLO 3\r\n",
        ] {
            let bytes = || BytesMut::from(reply);
            assert!(crate::resp2::decode::decode_bytes_mut(&mut bytes()).is_err(), "{reply}");
            assert!(crate::resp3::decode::streaming::decode_bytes_mut(&mut bytes()).is_err(), "{reply}");
        }
    }

    #[test]
    fn lengths_beyond_the_limits_are_rejected_before_the_data_arrives() {
        for reply in [
            "$9223372036854775807\r\nx",
            "$134217729\r\nx",
            "*1048577\r\n",
            "*9223372036854775807\r\n",
            "*2\r\n*1048575\r\n",
            "*99999999999999999999999\r\n",
        ] {
            assert!(is_rejected(reply), "{reply}");
        }
        assert_eq!(examine(b"$134217728\r\nx", &mut Scan::default()).unwrap(), Examined::Incomplete);
        assert_eq!(examine(b"*1048576\r\n", &mut Scan::default()).unwrap(), Examined::Incomplete);
    }

    #[test]
    fn endless_line_is_rejected() {
        assert_eq!(examine(&[b'+'; MAX_LINE], &mut Scan::default()).unwrap(), Examined::Incomplete);
        assert!(examine(&[b'+'; MAX_LINE + 1], &mut Scan::default()).is_err());
    }

    #[test]
    fn program_that_requests_short_replies_reads_no_long_ones() {
        let of = |length: usize| format!("${length}\r\n{}", "x".repeat(length)).into_bytes();
        let up_to = |max: usize, bytes: &[u8]| examine_up_to(max, bytes, &mut Scan::default());
        assert_eq!(up_to(100, &of(80)).unwrap(), Examined::Incomplete);
        assert_eq!(up_to(100, &[of(80), b"\r\n".to_vec()].concat()).unwrap(), Examined::Decode);
        assert!(up_to(100, &of(101)).is_err());
        assert!(up_to(100, &[of(101), b"\r\n".to_vec()].concat()).is_err());
        assert!(up_to(100, &b"*9\r\n+0123456789\r\n".repeat(8)).is_err(), "many short texts");
    }

    #[test]
    fn what_the_decoder_rejects_is_left_to_it() {
        for reply in ["HTTP/1.1 200 OK\r\n", "*x\r\n", "*-2\r\n", "?\r\n", "$\r\n"] {
            assert_eq!(examine(reply.as_bytes(), &mut Scan::default()).unwrap(), Examined::Decode, "{reply}");
            assert!(crate::resp2::decode::decode_bytes_mut(&mut BytesMut::from(reply)).is_err(), "{reply}");
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
            let ours = Scan::default().resume(&bytes);
            prop_assert!(ours.is_ok());
            match upstream::resp2::decode::decode_range(&bytes) {
                Ok(Some((_, length))) => prop_assert_eq!(ours.as_ref().ok(), Some(&Scanned::Complete(length))),
                Ok(None) => prop_assert!(matches!(ours, Ok(Scanned::Incomplete | Scanned::Rejected)), "{:?}", ours),
                Err(_) => {}
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
