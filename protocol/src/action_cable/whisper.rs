//! Whispers: what a client of the extended protocol sends to the other subscribers of a stream.
//!
//! On its way a whisper is a publication with an event of its own. What it says was written by a client, so no page may show
//! it as HTML.

use crate::publication::{raw_members, string};
use serde_json::Value;

/// The event.
const EVENT: &str = "whisper";

/// The publication for a whisper.
///
/// `message` is the text of a JSON value. `sender` is the page that does not receive it.
#[must_use]
pub fn publication(stream: &str, message: &str, sender: impl std::fmt::Display) -> String {
    let room = Value::from(stream);
    format!(r#"{{"room":{room},"event":"{EVENT}","message":{message},"except":"{sender}"}}"#)
}

/// Whether the text of a publication without a position is a whisper.
#[must_use]
pub fn is_whisper(text: &str) -> bool {
    // Only without escapes, as it was written here.
    text.contains(EVENT)
        && raw_members(text)
            .and_then(|members| string(members.get("event")?.get()).map(|event| event == EVENT))
            .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whisper_is_recognized_and_no_other_publication_is_one() {
        let whisper = publication("a \"room\"", r#"{"event":"other"}"#, "ba7816bf8f01cfea");
        assert!(is_whisper(&whisper) && crate::publication::parse(whisper.as_bytes()).is_ok(), "{whisper}");
        for other in [
            r#"{"room":"whisper","event":"e","message":"whisper"}"#,
            r#"{"room":"r","event":"whispers"}"#,
            r#"{"room":"r","message":{"event":"whisper"}}"#,
            "whisper",
        ] {
            assert!(!is_whisper(other), "{other}");
        }
    }
}
