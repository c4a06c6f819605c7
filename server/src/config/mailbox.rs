//! `mailbox`: what is stored for the users of a namespace.

use super::keys;
use super::reader::MapReader;
use super::report::Report;
use super::tree::Node;
use super::values::parse_duration;
use std::time::Duration;

/// What is stored for the users of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Messages of one user.
    pub count: usize,
    /// The length of all messages of one user. Bytes.
    pub bytes: usize,
    /// How long messages are kept while their user is not connected. Zero: without a limit.
    pub age: Duration,
    /// Whether messages for users who were never seen are stored.
    pub keep_unknown: bool,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self { count: 1000, bytes: 1024 * 1024, age: Duration::from_secs(60 * 60), keep_unknown: false }
    }
}

// === impl Mailbox ===

impl Mailbox {
    /// Reads `mailbox`. Returns `None` if it is off.
    pub(super) fn read(node: &Node, path: &str, report: &mut Report) -> Option<Self> {
        if node.is_off() {
            return None;
        }
        let mut mailbox = Self::default();
        // `mailbox: 1h` is short for an age.
        if let Some(text) = node.scalar() {
            match parse_duration(text) {
                _ if ["on", "true", "yes"].iter().any(|on| text.eq_ignore_ascii_case(on)) => {}
                Some(age) => mailbox.age = age,
                None => {
                    let what = format!("{path} is neither on, off, nor an age");
                    report.error(node.location, what, "write `on`, `off`, or `{count: 1000, age: 1h}`");
                }
            }
            return Some(mailbox);
        }
        let mut map = MapReader::open(node, path, &keys::MAILBOX, report)?;
        mailbox.count = map.number("count", report).unwrap_or(mailbox.count);
        mailbox.bytes = map.size("bytes", report).unwrap_or(mailbox.bytes);
        mailbox.age = map.duration("age", report).unwrap_or(mailbox.age);
        mailbox.keep_unknown = map.word("unknown", report).is_some_and(|word| word == "keep");
        map.finish(report);
        Some(mailbox)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn mailbox(text: &str) -> Option<Mailbox> {
        Config::from_yaml(&format!("/a: {{{text}}}\n")).unwrap().namespaces[0].mailbox.clone()
    }

    #[test]
    fn mailboxes_are_off_unless_they_are_configured() {
        assert_eq!(mailbox("history: off"), None);
        assert_eq!(mailbox("mailbox: off"), None);
        assert_eq!(mailbox("mailbox: on"), Some(Mailbox::default()));
        assert_eq!(mailbox("mailbox: 2h").unwrap().age, Duration::from_secs(7200));
        let all = mailbox("mailbox: {count: 5, bytes: 2KB, age: 0, unknown: keep}");
        assert_eq!(all, Some(Mailbox { count: 5, bytes: 2048, age: Duration::ZERO, keep_unknown: true }));
    }

    #[test]
    fn an_invalid_value_is_reported_with_its_location() {
        for (text, problem) in [
            ("lots", ":2:12: /a.mailbox is neither on, off, nor an age"),
            ("{age: soon}", "/a.mailbox.age is not a valid duration"),
            ("{count: 0}", "/a.mailbox.count"),
            ("{unknown: maybe}", "/a.mailbox.unknown"),
        ] {
            let report = Config::from_yaml(&format!("/a:\n  mailbox: {text}\n")).unwrap_err();
            assert!(report.to_string().contains(problem), "{report}");
        }
    }
}
