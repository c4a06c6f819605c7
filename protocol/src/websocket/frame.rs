//! The header of a frame, and the mask of its payload.

use super::violation::Violation;

/// Maximum length of a header: 2 bytes, 8 of length, 4 of mask.
pub(super) const MAX_HEAD: usize = 2 + 8 + 4;
/// Maximum length of a control frame's payload.
pub(super) const MAX_CONTROL: usize = 125;

/// The three bits of a header that belong to extensions.
const RESERVED: u8 = 0x70;
/// The one of them that marks a compressed message: RSV1, RFC 7692, section 6.
pub(super) const DEFLATED: u8 = 0x40;

/// The type of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation,
    /// Text, in UTF-8.
    Text,
    /// Bytes.
    Binary,
    /// The end of the connection.
    Close,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
}

/// The header of a frame from a browser.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) fin: bool,
    /// Whether it begins a message that is compressed.
    pub(super) is_deflated: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    /// The announced length of the payload. Bytes.
    pub(super) length: u64,
    /// The length of the header. Bytes.
    pub(super) size: usize,
}

// === impl Opcode ===

impl Opcode {
    pub(super) fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    fn from_bits(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return Err(Violation::UnknownOpcode(bits)),
        })
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

// === impl Head ===

impl Head {
    /// Parses the header at the start of `bytes`. `None`: it is not complete.
    ///
    /// Each byte is checked as soon as it is there and in order, so the result does not depend on how the bytes are
    /// split. `deflate`: whether messages may be compressed.
    pub(super) fn read(bytes: &[u8], deflate: bool) -> Result<Option<Self>, Violation> {
        let Some((&first, behind)) = bytes.split_first() else { return Ok(None) };
        let is_deflated = deflate && first & DEFLATED != 0;
        if first & RESERVED != 0 && !(is_deflated && first & RESERVED == DEFLATED) {
            return Err(Violation::ReservedBits);
        }
        let fin = first & 0x80 != 0;
        let opcode = Opcode::from_bits(first & 0x0f)?;
        // The bit is on the first frame of a message only, and never on a control frame.
        if is_deflated && (opcode.is_control() || opcode == Opcode::Continuation) {
            return Err(Violation::ReservedBits);
        }
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        let Some((&second, behind)) = behind.split_first() else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(Violation::LongControl);
        }
        let Some((length, behind)) = length(short, behind)? else { return Ok(None) };
        let Some(&mask) = behind.first_chunk() else { return Ok(None) };
        let size = bytes.len() - behind.len() + mask.len();
        Ok(Some(Self { fin, is_deflated, opcode, mask, length, size }))
    }
}

/// Parses the length that follows `short`, or is `short` itself. Returns it with the bytes after it.
fn length(short: u8, bytes: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, behind, minimum) = match short {
        126 => match bytes.split_first_chunk() {
            Some((&length, behind)) => (u64::from(u16::from_be_bytes(length)), behind, 126),
            None => return Ok(None),
        },
        127 => match bytes.split_first_chunk() {
            Some((&length, behind)) => (u64::from_be_bytes(length), behind, 1 << 16),
            None => return Ok(None),
        },
        _ => (u64::from(short), bytes, 0),
    };
    if length < minimum || length >> 63 != 0 {
        return Err(Violation::BadLength);
    }
    Ok(Some((length, behind)))
}

/// Masks or unmasks `bytes`. `offset` is their offset in the payload.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut wide = [0; 16];
    for (index, byte) in wide.iter_mut().enumerate() {
        *byte = mask[(offset + index) % mask.len()];
    }
    let mut chunks = bytes.chunks_exact_mut(wide.len());
    for chunk in &mut chunks {
        for (byte, mask) in chunk.iter_mut().zip(wide) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(wide) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmask_works_at_any_offset_and_length() {
        let mask = [0x11, 0x22, 0x33, 0x44];
        for offset in 0..5 {
            for length in 0..40 {
                let mut bytes = vec![0; length];
                unmask(&mut bytes, mask, offset);
                let expected: Vec<_> = (offset..offset + length).map(|at| mask[at % 4]).collect();
                assert_eq!(bytes, expected, "{offset} {length}");
            }
        }
    }

    #[test]
    fn header_is_parsed_only_when_it_is_complete() {
        let head = [0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        for cut in 0..head.len() {
            assert!(Head::read(&head[..cut], false).unwrap().is_none(), "{cut}");
        }
        let read = Head::read(&head, false).unwrap().unwrap();
        assert_eq!((read.length, read.mask, read.size), (1 << 40, [1, 2, 3, 4], 14));
    }
}
