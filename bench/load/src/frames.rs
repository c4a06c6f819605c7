//! Reads the frames of a server, which are unmasked and without extensions, with as little work as possible.

/// A complete frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;

/// Removes the first frame from `bytes`, or returns `None` if it is incomplete.
pub(crate) fn next<'a>(bytes: &mut &'a [u8]) -> Option<Frame<'a>> {
    let [first, second, rest @ ..] = *bytes else { return None };
    let (length, rest) = match second & 0x7f {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*length) as usize, rest)
        }
        short => (usize::from(short), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(Frame { opcode: first & 0x0f, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodevent_protocol::websocket::{Opcode, encode};

    #[test]
    fn frames_are_read_one_by_one_and_an_incomplete_one_is_left() {
        for length in [0, 5, 125, 126, 65_535, 65_536] {
            let mut bytes = Vec::new();
            encode(&mut bytes, Opcode::Text, &vec![b'x'; length]);
            encode(&mut bytes, Opcode::Ping, b"p");
            let mut rest = bytes.as_slice();
            assert_eq!(next(&mut rest).unwrap().payload.len(), length);
            assert_eq!(next(&mut rest), Some(Frame { opcode: PING, payload: b"p" }));
            assert_eq!(next(&mut rest), None);
            let mut cut = &bytes[..bytes.len() - 4];
            assert_eq!(next(&mut cut), None, "{length}");
        }
    }
}
