//! What stands in a close frame.

use super::violation::Violation;

/// The code and the reason of a close frame's payload.
pub(super) fn read(payload: &[u8]) -> Result<(Option<u16>, &str), Violation> {
    if payload.is_empty() {
        return Ok((None, ""));
    }
    let (&code, reason) = payload.split_first_chunk().ok_or(Violation::BadCloseCode)?;
    let code = u16::from_be_bytes(code);
    if !may_be_sent(code) {
        return Err(Violation::BadCloseCode);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::BadCloseReason)?;
    Ok((Some(code), reason))
}

/// Whether the code may stand in a frame: those of RFC 6455 and of its registry that are not only for local use,
/// and those left to libraries and applications.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
