//! Who is let in: keys of rooms, keys of publishers, and the wall clock by which they are judged.
//!
//! **Architecture Invariant:** nothing else in the server reads the wall clock; timers use monotonic time.

use nodevent_protocol::key::{self, Refusal, Secret};
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use subtle::ConstantTimeEq;

/// What a namespace asks of those who want in.
#[derive(Debug)]
pub struct Admission {
    /// Secrets by which room keys may be signed. Empty: every room is open.
    secrets: Vec<Secret>,
    /// The longest time from now at which a key may still expire.
    longest: Option<Duration>,
    /// What a publisher over HTTP has to show. `None`: it has to come from this machine.
    publish_key: Option<Secret>,
}

/// How a publisher over HTTP was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publisher {
    /// It may publish.
    Admitted,
    /// It showed no key, or a wrong one.
    WrongKey,
    /// No key is configured, and it does not come from this machine.
    NotLocal,
}

// === impl Admission ===

impl Admission {
    /// Admission by these secrets.
    pub fn new(secrets: Vec<Secret>, longest: Option<Duration>, publish_key: Option<Secret>) -> Self {
        Self { secrets, longest, publish_key }
    }

    /// Whether rooms need a key.
    pub fn is_secured(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Whether publishing over HTTP needs a key.
    pub fn has_publish_key(&self) -> bool {
        self.publish_key.is_some()
    }

    /// Judges the key with which a browser wants to join `room`.
    ///
    /// # Errors
    /// The refusal, whose text goes to the browser.
    pub fn room(&self, room: &str, key: Option<&serde_json::Value>) -> Result<(), Refusal> {
        if !self.is_secured() {
            return Ok(());
        }
        let longest = self.longest.map(|longest| longest.as_millis() as u64);
        key::verify_value(room, key, &self.secrets, now_ms(), longest).map(drop)
    }

    /// Judges a publisher over HTTP by the key it shows, or by where it comes from.
    pub fn publisher(&self, shown: Option<&[u8]>, local: bool) -> Publisher {
        match (&self.publish_key, shown) {
            (None, _) if local => Publisher::Admitted,
            (None, _) => Publisher::NotLocal,
            (Some(key), Some(shown)) if same(key.as_bytes(), shown) => Publisher::Admitted,
            (Some(_), _) => Publisher::WrongKey,
        }
    }
}

/// Compares in a time that tells neither where two keys differ nor how long the right one is.
fn same(one: &[u8], other: &[u8]) -> bool {
    Sha256::digest(one).ct_eq(&Sha256::digest(other)).into()
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    #[test]
    fn without_a_secret_any_key_or_none_opens_a_room() {
        // N-35
        let open = Admission::new(vec![], None, None);
        assert!(open.room("r", None).is_ok());
        assert!(open.room("r", Some(&"rubbish".into())).is_ok());
    }

    #[test]
    fn with_two_secrets_in_force_a_key_of_either_opens_the_room() {
        let both = Admission::new(vec![secret("new"), secret("old")], None, None);
        let key = key::sign("r", 4_102_444_800_000, &secret("old")).unwrap();
        assert!(both.room("r", Some(&key.into())).is_ok());
        let key = key::sign("r", 4_102_444_800_000, &secret("other")).unwrap();
        assert_eq!(both.room("r", Some(&key.into())), Err(Refusal::BadKey));
    }

    #[test]
    fn a_key_beyond_the_longest_lifetime_is_refused() {
        let short = Admission::new(vec![secret("s")], Some(Duration::from_secs(60)), None);
        let key = key::sign("r", 4_102_444_800_000, &secret("s")).unwrap();
        assert_eq!(short.room("r", Some(&key.into())), Err(Refusal::BadTime));
    }

    #[test]
    fn without_a_publish_key_only_this_machine_may_publish() {
        let open = Admission::new(vec![], None, None);
        assert_eq!(open.publisher(None, true), Publisher::Admitted);
        assert_eq!(open.publisher(Some(b"guess"), false), Publisher::NotLocal);
    }

    #[test]
    fn with_a_publish_key_nothing_else_admits_a_publisher() {
        let keyed = Admission::new(vec![], None, Some(secret("54321")));
        assert_eq!(keyed.publisher(Some(b"54321"), false), Publisher::Admitted);
        assert_eq!(keyed.publisher(Some(b"5432"), true), Publisher::WrongKey);
        assert_eq!(keyed.publisher(None, true), Publisher::WrongKey);
    }
}
