//! The payload of a close frame.

use super::violation::Violation;

/// Parses the code and the reason of a close frame's payload.
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

/// Returns whether a close frame may contain the code: the codes of RFC 6455 and of its registry that are not for local
/// use only, and those for libraries and applications.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
