//! `notifications` in `mailboxes.json`: what publishers send for the mailboxes of users.

use crate::vector::{list, load, text};
use nodevent_protocol::notification::Notification;
use serde_json::Value;

/// Users of one notification in the vectors.
const MAX_USERS: usize = 3;

#[test]
fn every_notification_is_parsed() {
    for vector in list(&load("mailboxes.json")["notifications"], "valid") {
        let parsed = Notification::parse(text(vector, "json").as_bytes(), MAX_USERS).unwrap();
        assert_eq!(Value::from(parsed.users), vector["users"], "{vector}");
        assert_eq!((&*parsed.event, parsed.message), (text(vector, "event"), text(vector, "message")), "{vector}");
        assert_eq!(parsed.ttl.map(|ttl| ttl.as_millis() as u64), vector["ttl_ms"].as_u64(), "{vector}");
        assert_eq!(parsed.key.as_deref(), vector["key"].as_str(), "{vector}");
    }
}

#[test]
fn every_invalid_notification_has_its_error_and_a_hint() {
    for vector in list(&load("mailboxes.json")["notifications"], "invalid") {
        let invalid = Notification::parse(text(vector, "json").as_bytes(), MAX_USERS).unwrap_err();
        assert!(invalid.error.contains(text(vector, "error")), "{vector}: {invalid}");
        assert!(!invalid.hint.is_empty());
    }
}
