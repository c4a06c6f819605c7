//! What a client offers in `Sec-WebSocket-Extensions`, and whether permessage-deflate is accepted.
//!
//! The server compresses a publication once for all connections, and no connection has a window of its own. So it accepts
//! the extension without context takeover in both directions, whatever else the client offers.

/// The response to an offer that is accepted. Neither side refers to earlier messages.
pub const DEFLATE_ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The name of the extension.
const NAME: &str = "permessage-deflate";
/// The window with which the server compresses, as a power of two.
const WINDOW_BITS: u8 = 15;

/// A parameter of an offer that has been seen; each may be there once.
#[derive(Default)]
struct Seen {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: bool,
    client_max_window_bits: bool,
}

/// Returns whether one of the offers in the values of `Sec-WebSocket-Extensions` is accepted. An offer of another
/// extension, or with a parameter that is unknown, invalid or repeated, is declined, as RFC 7692, section 7.1, requires.
#[must_use]
pub fn accepts_deflate<'a>(values: impl Iterator<Item = &'a str>) -> bool {
    values.flat_map(offers).any(is_accepted)
}

/// The offers of one header. Commas in quotes separate nothing.
fn offers(value: &str) -> impl Iterator<Item = &str> {
    split(value, b',')
}

/// Splits at a separator outside of quoted strings.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let at = text.bytes().position(|byte| {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                _ => return byte == separator && !is_quoted,
            }
            false
        });
        let (part, behind) = at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
        rest = behind;
        Some(part.trim_matches([' ', '\t']))
    })
}

fn is_accepted(offer: &str) -> bool {
    let mut parts = split(offer, b';');
    if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
        return false;
    }
    let mut seen = Seen::default();
    parts.all(|part| {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
            None => (part, None),
        };
        let first = |seen: &mut bool| !std::mem::replace(seen, true);
        match (name, value) {
            ("server_no_context_takeover", None) => first(&mut seen.server_no_context_takeover),
            ("client_no_context_takeover", None) => first(&mut seen.client_no_context_takeover),
            // A smaller window than ours would limit how it is compressed for all.
            ("server_max_window_bits", Some(bits)) => {
                first(&mut seen.server_max_window_bits) && window_bits(bits) == Some(WINDOW_BITS)
            }
            // What the client may use is inflated with any window.
            ("client_max_window_bits", bits) => {
                first(&mut seen.client_max_window_bits) && bits.is_none_or(|bits| window_bits(bits).is_some())
            }
            _ => false,
        }
    })
}

/// A quoted value is one without its quotes.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// A decimal number from 8 to 15, without leading zeros.
fn window_bits(text: &str) -> Option<u8> {
    let is_number = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|bits| is_number && (8..=WINDOW_BITS).contains(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(value: &str) -> bool {
        accepts_deflate([value].into_iter())
    }

    #[test]
    fn offers_of_browsers_and_of_rfc_7692_are_accepted() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits",
            "permessage-deflate; client_no_context_takeover; client_max_window_bits=10",
            "permessage-deflate;server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=\"15\"",
            "Permessage-Deflate ; server_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            "other; a=\"x, permessage-deflate; bad=1, \\\" \", permessage-deflate",
        ] {
            assert!(accepts(offer), "{offer}");
        }
        assert!(accepts_deflate(["other", "permessage-deflate"].into_iter()), "a repeated header");
    }

    #[test]
    fn invalid_and_impossible_offers_are_declined() {
        for offer in [
            "",
            ";",
            ",",
            "deflate",
            "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=015",
            "permessage-deflate; server_max_window_bits=+15",
            "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
            "permessage-deflate;",
            "other; a=\", permessage-deflate",
        ] {
            assert!(!accepts(offer), "{offer}");
        }
    }
}
