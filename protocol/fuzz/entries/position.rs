//! A position from a client, as it is passed to the script that reads a history.

use nodevent_protocol::history::{MAX_OFFSET, OffsetJump, Position};

/// A position has one text. Its offset is one that the script can compute with, and arithmetic never overflows.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parsed = text.split(' ').map(Position::parse);
    let (Some(Some(position)), other) = (parsed.next(), parsed.next().flatten()) else { return };
    assert!(position.offset <= MAX_OFFSET && i64::try_from(position.offset + 1).is_ok());
    let written = position.to_string();
    assert_eq!(Position::parse(&written), Some(position));
    // Only leading zeros of the offset are not written again.
    assert!(text.starts_with(&written[..17]));
    let other = other.unwrap_or(Position { offset: MAX_OFFSET, ..position });
    for jump in [None, Some(OffsetJump { from: other.offset, to: position.offset, lossless: true })] {
        if let Some(count) = position.count_since(other, jump) {
            assert!(position.epoch == other.epoch && count <= MAX_OFFSET);
        }
        assert_eq!(position.nth_before(other.offset, jump).epoch, position.epoch);
    }
    assert!(!position.is_absent_until(other) || (position.is_absent() && position.epoch == other.epoch));
}
