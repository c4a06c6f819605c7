//! Pages of visitors: how a session and a page are recognized, to which channels a page is subscribed, and where that is
//! stored in Redis.
//!
//! An application subscribes a visitor's page to channels before the page connects. `README.md` section 15 defines the
//! digest, the cookie and the scripts; `vectors/pages.json` has examples.
//!
//! # Source
//! pakyow-realtime 0.11 (the digest, and what a channel is).

use crate::history::Position;
use crate::room;
use crate::topic;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use std::fmt::{self, Write as _};
use subtle::ConstantTimeEq as _;

/// Changes the subscriptions of a page. The text documents its keys and arguments.
pub const CHANGE: &str =
    concat!(include_str!("../redis/pages_prelude.lua"), include_str!("../redis/pages_change.lua"));
/// A page has connected, or is still connected: reads its subscriptions.
pub const OPEN: &str = concat!(include_str!("../redis/pages_prelude.lua"), include_str!("../redis/pages_open.lua"));
/// A page has disconnected: stores up to where it has received.
pub const CLOSE: &str =
    concat!(include_str!("../redis/pages_prelude.lua"), include_str!("../redis/pages_close.lua"));
/// Reads channels that match a pattern, a part at a time.
pub const CHANNELS: &str =
    concat!(include_str!("../redis/pages_prelude.lua"), include_str!("../redis/pages_channels.lua"));

/// What the names of the rooms of channels begin with.
pub const CHANNEL_PREFIX: &str = "pakyow:";
/// The longest name of a channel. Bytes.
pub const MAX_CHANNEL_BYTES: usize = room::MAX_BYTES - CHANNEL_PREFIX.len();
/// In the place of a channel: what is published to the page itself.
pub const ITSELF: &str = "";
/// What the announcement of a change begins with, in the channel of the namespace.
const NOTICE: &str = "nodevent:1:page:";
/// The key of a session. Hexadecimal digits.
const KEY_DIGITS: usize = 64;
/// The length of the id of a connection: at least, and at most.
const CONNECTION_ID: (usize, usize) = (16, 128);

/// The digest of a session's key and a page's id: the name of a page. It cannot be guessed without the key.
///
/// # Shape
/// As text 40 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageDigest([u8; 20]);

/// A channel of a page, and the position up to which the page has received it. `None`: it receives what is live.
pub type Subscription = (Box<str>, Option<Position>);

// === impl PageDigest ===

impl PageDigest {
    /// The page of a session.
    #[must_use]
    pub fn of(key: &str, connection_id: &str) -> Self {
        Self(Sha1::digest(format!("--{key}--{connection_id}--").as_bytes()).into())
    }

    /// The digest that has these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// A number from 0 to 255 by which pages can be divided evenly.
    #[must_use]
    pub fn bucket(self) -> u8 {
        self.0[0]
    }

    /// Parses the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 40 || !text.bytes().all(is_hex_digit) {
            return None;
        }
        let mut bytes = [0; 20];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for PageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Whether a text can be the id of a page's connection.
#[must_use]
pub fn is_connection_id(text: &str) -> bool {
    let (min, max) = CONNECTION_ID;
    (min..=max).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// The value of the cookie that carries the key of a session: `1.<key>.<expires>.<signature>`.
#[must_use]
pub fn sign_cookie(secret: &[u8], namespace: &str, key: &str, expires: u64) -> String {
    format!("1.{key}.{expires}.{}", cookie_signature(secret, namespace, key, expires))
}

/// The key of a session in a cookie. `None`: it was not signed for this namespace by one of the secrets, or has expired.
#[must_use]
pub fn verify_cookie<'a>(secret: &[u8], namespace: &str, cookie: &'a str, now: u64) -> Option<&'a str> {
    let mut parts = cookie.strip_prefix("1.")?.split('.');
    let (key, written, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let is_key = key.len() == KEY_DIGITS && key.bytes().all(is_hex_digit);
    let expires: u64 = written.parse().ok().filter(|expires: &u64| expires.to_string() == written)?;
    if parts.next().is_some() || !is_key {
        return None;
    }
    let expected = cookie_signature(secret, namespace, key, expires);
    let is_signed = bool::from(expected.as_bytes().ct_eq(signature.as_bytes()));
    (is_signed && now < expires).then_some(key)
}

fn cookie_signature(secret: &[u8], namespace: &str, key: &str, expires: u64) -> String {
    #[expect(clippy::expect_used, reason = "HMAC accepts keys of any length")]
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length");
    hmac.update(format!("nodevent:cookie:1:{namespace}:{key}:{expires}").as_bytes());
    hmac.finalize().into_bytes().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a text can be the name of a channel. An asterisk belongs to patterns only.
#[must_use]
pub fn is_channel(text: &str) -> bool {
    is_pattern(text) && !text.contains('*')
}

/// Whether a text can be the name of a channel, or a pattern.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    (1..=MAX_CHANNEL_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whether a channel matches a pattern, in which an asterisk is any text. Every other character is itself.
#[must_use]
pub fn matches(pattern: &str, channel: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == channel };
    let Some(mut left) = channel.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(end)
}

/// A pattern of Redis for all channels that begin as a pattern does, up to its first asterisk. [`matches`] decides about the
/// rest: with several asterisks, Redis may need very long.
#[must_use]
pub fn redis_pattern(pattern: &str) -> String {
    let (start, has_more) = pattern.split_once('*').map_or((pattern, false), |(start, _)| (start, true));
    let mut written = String::with_capacity(start.len() + 8);
    for character in start.chars() {
        if matches!(character, '?' | '[' | ']' | '\\') {
            written.push('\\');
        }
        written.push(character);
    }
    if has_more {
        written.push('*');
    }
    written
}

/// The topic of a channel of a page, or of the page [`ITSELF`]. `prefix` is what the rooms of channels begin with: of the
/// protocol `pakyow` [`CHANNEL_PREFIX`]. With others a channel is the room of that name, and there is none.
#[must_use]
pub fn topic_of(prefix: &str, page: PageDigest, channel: &str) -> String {
    if channel == ITSELF { topic::of_user(&page.to_string()) } else { format!("{prefix}{channel}") }
}

/// The announcement that a page is not subscribed to these channels any more, and may be to others.
#[must_use]
pub fn notice<'a>(page: PageDigest, unsubscribed: impl IntoIterator<Item = &'a str>) -> String {
    let channels: Vec<&str> = unsubscribed.into_iter().collect();
    format!("{NOTICE}{page}:{}", serde_json::Value::from(channels))
}

/// Reads an announcement. `None`: it is something else.
#[must_use]
pub fn parse_notice(text: &[u8]) -> Option<(PageDigest, Vec<Box<str>>)> {
    let rest = std::str::from_utf8(text.strip_prefix(NOTICE.as_bytes())?).ok()?;
    let (page, channels) = rest.split_once(':')?;
    Some((PageDigest::parse(page)?, serde_json::from_str(channels).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn vectors() -> Value {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/pages.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    #[test]
    fn digests_are_those_of_the_vectors() {
        for vector in vectors()["digests"].as_array().unwrap() {
            let text = |name: &str| vector[name].as_str().unwrap();
            let digest = PageDigest::of(text("key"), text("connection_id"));
            assert_eq!(digest.to_string(), text("digest"));
            assert_eq!(PageDigest::parse(text("digest")), Some(digest));
        }
        for text in ["", "9756A9CDB5797B5307A366287DFA5B014395BFDB", &"a".repeat(41), &"g".repeat(40)] {
            assert_eq!(PageDigest::parse(text), None, "{text}");
        }
    }

    #[test]
    fn cookies_are_accepted_as_the_vectors_say() {
        // P-15
        let vectors = vectors();
        let cookies = &vectors["cookies"];
        let text = |name: &str| cookies[name].as_str().unwrap();
        let (secret, namespace) = (text("secret").as_bytes(), text("namespace"));
        let now = cookies["now"].as_u64().unwrap();
        for vector in cookies["valid"].as_array().unwrap() {
            let (key, expires) = (vector["key"].as_str().unwrap(), vector["expires"].as_u64().unwrap());
            let cookie = vector["cookie"].as_str().unwrap();
            assert_eq!(sign_cookie(secret, namespace, key, expires), cookie);
            assert_eq!(verify_cookie(secret, namespace, cookie, now), Some(key));
            assert_eq!(verify_cookie(secret, "/other", cookie, now), None, "of another namespace");
            assert_eq!(verify_cookie(b"another secret", namespace, cookie, now), None);
            assert_eq!(verify_cookie(secret, namespace, cookie, expires), None, "it has expired");
        }
        for cookie in cookies["invalid"].as_array().unwrap() {
            assert_eq!(verify_cookie(secret, namespace, cookie.as_str().unwrap(), now), None, "{cookie}");
        }
    }

    #[test]
    fn patterns_match_as_the_vectors_say_and_only_the_asterisk_has_a_meaning() {
        // P-34
        for vector in vectors()["patterns"].as_array().unwrap() {
            let (pattern, channel) = (vector["pattern"].as_str().unwrap(), vector["channel"].as_str().unwrap());
            assert_eq!(matches(pattern, channel), vector["matches"].as_bool().unwrap(), "{pattern} {channel}");
        }
        assert_eq!(redis_pattern(r"a[b]?\^"), r"a\[b\]\?\\^");
    }

    #[test]
    fn redis_receives_no_pattern_for_which_it_needs_long() {
        for (pattern, written) in
            [("a", "a"), ("*", "*"), ("[a*b*c", r"\[a*"), ("a**********b", "a*"), ("*a*", "*")]
        {
            assert_eq!(redis_pattern(pattern), written);
        }
    }

    #[test]
    fn names_of_channels_and_connections_have_limits() {
        assert!(is_channel("chan1") && is_channel("ünï:[x]") && is_channel(&"x".repeat(MAX_CHANNEL_BYTES)));
        for bad in ["", "a*", "a\nb", "\u{1}", &"x".repeat(MAX_CHANNEL_BYTES + 1)] {
            assert!(!is_channel(bad), "{bad:?}");
        }
        assert!(is_pattern("a*"));
        assert!(is_connection_id(&"b".repeat(64)) && is_connection_id("abcDEF_-01234567"));
        for bad in ["", "short", "0123456789abcde\"", &"x".repeat(129)] {
            assert!(!is_connection_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_channel_is_a_room_and_the_page_itself_is_a_user() {
        let page = PageDigest::of("a", "b");
        assert_eq!(topic_of(CHANNEL_PREFIX, page, "news"), "pakyow:news");
        assert_eq!(topic_of("", page, "news"), "news");
        for prefix in [CHANNEL_PREFIX, ""] {
            assert_eq!(topic_of(prefix, page, ITSELF), topic::of_user(&page.to_string()));
        }
    }

    #[test]
    fn a_notice_is_read_as_it_was_written() {
        let page = PageDigest::of("a", "b");
        let text = notice(page, ["a:b", "\"c\""]);
        assert_eq!(parse_notice(text.as_bytes()), Some((page, vec!["a:b".into(), "\"c\"".into()])));
        assert_eq!(parse_notice(notice(page, []).as_bytes()), Some((page, vec![])));
        for text in ["", "nodevent:1:revoked", "nodevent:1:page:", "nodevent:1:page:00:[]"] {
            assert_eq!(parse_notice(text.as_bytes()), None, "{text}");
        }
    }
}
