//! Text from outside, made safe for logs and errors: what a server, a proxy or Redis returned.

/// The maximum length of one external text. Characters.
const MAX_CHARS: usize = 400;

/// Returns one printable line of limited length; see [`nodevent_protocol::text`].
pub(crate) fn printable(text: &str) -> String {
    nodevent_protocol::text::printable(text, MAX_CHARS)
}
