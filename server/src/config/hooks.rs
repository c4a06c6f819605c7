//! `hooks`: of which events the application is notified, where, and what is kept while it does not respond.
//!
//! Owns which events and patterns can be written.

use super::application::{self, Application};
use super::credentials;
use super::history::History;
use super::keys;
use super::reader::MapReader;
use super::report::{Location, Report};
use super::tree::Node;
use crate::hooks::{HookEvents, JournalLimits};
use nodevent_protocol::key::Secret;
use std::path::Path;
use std::time::Duration;

/// Patterns for the names of published events.
const MAX_PATTERNS: usize = 64;

/// The hooks of a namespace.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// The requests.
    pub application: Application,
    /// Signs them.
    pub secret: Secret,
    /// The events.
    pub events: HookEvents,
    /// Events in one request.
    pub batch: usize,
    /// What the journal holds.
    pub journal: JournalLimits,
    /// Attempts to send an event that the application rejects.
    pub attempts: u32,
    /// How long an event is kept for an application that does not respond.
    pub give_up: Duration,
}

/// Reads `hooks`. `None`: it is off or wrong, which is reported.
pub(super) fn read(node: &Node, path: &str, folder: &Path, report: &mut Report) -> Option<Hooks> {
    if node.is_off() {
        return None;
    }
    let mut map = MapReader::open(node, path, &keys::HOOKS, report)?;
    if !map.has("url") {
        report.error(
            map.location,
            format!("{path} has no url"),
            "write `url: https://www.example.com/nodevent/hooks`",
        );
    }
    let is_secret_written = map.has("secret") || map.has("secret_file");
    if !is_secret_written {
        report.error(
            map.location,
            format!("{path} has no secret"),
            "write `secret: <random text>`; it signs requests",
        );
    }
    let url = application::url(&mut map, "url", report);
    let mut application = Application::at(url.clone().unwrap_or_default());
    application.ca = map.file("ca", folder, report);
    application.timeout = map.positive_duration("timeout", report).unwrap_or(application.timeout);
    // One request at a time keeps the order.
    (application.concurrency, application.queue) = (1, 0);
    let secret = credentials::one(&mut map, "secret", folder, report);
    let events = read_events(&mut map, path, report);
    let journal = JournalLimits {
        size: map.number("size", report).unwrap_or(100_000),
        bytes: map.size("bytes", report).unwrap_or(64 << 20),
        dead_letters: map.number("dead_letters", report).unwrap_or(10_000),
    };
    let batch = map.number("batch", report).unwrap_or(100);
    let attempts = map.number("attempts", report).unwrap_or(10);
    let give_up = map.positive_duration("give_up", report).unwrap_or(Duration::from_secs(24 * 3600));
    map.finish_strictly(report);
    url?;
    Some(Hooks { application, secret: secret?, events, batch, journal, attempts, give_up })
}

fn read_events(map: &mut MapReader<'_>, path: &str, report: &mut Report) -> HookEvents {
    let mut events = HookEvents::default();
    let (name, location) = (map.name("events"), map.location);
    let (has_events, has_delivered) = (map.has("events"), map.has("delivered"));
    for (text, location) in map.texts("events", report) {
        match text.as_str() {
            "connected" => events.connected = true,
            "disconnected" => events.disconnected = true,
            "entered" => events.entered = true,
            "left" => events.left = true,
            "delivered" => report.error(
                location,
                format!("{name} contains `delivered`, which needs the names of publications"),
                "write `delivered: [comment]`, or `delivered: \"*\"` for all",
            ),
            _ => report.error(
                location,
                format!("{name} contains something other than an event"),
                "write some of connected, disconnected, entered, left",
            ),
        }
    }
    let (name, patterns) = (map.name("delivered"), map.texts("delivered", report));
    if let Some((_, location)) = patterns.get(MAX_PATTERNS) {
        let hint = "shorten the list by patterns like `comment_*`";
        report.error(*location, format!("{name} has more than {MAX_PATTERNS} entries"), hint);
    }
    events.delivered = patterns.into_iter().map(|(text, _)| text).collect();
    if !has_events && !has_delivered {
        let hint = "write `events: [connected, disconnected, entered, left]`, or some of them";
        report.error(location, format!("{path} has neither events nor delivered"), hint);
    }
    events
}

/// Reports events that the namespace cannot have.
pub(super) fn check(
    hooks: &Hooks,
    name: &str,
    location: Location,
    has_presence: bool,
    history: &History,
    report: &mut Report,
) {
    if hooks.events.has_presence() && !has_presence {
        let what = format!("{name}.hooks has entered or left, and {name} has no presence");
        report.error(location, what, "write `presence: true`, or delete these events");
    }
    if !hooks.events.delivered.is_empty() && !history.is_on() {
        let what = format!("{name}.hooks has delivered, and {name} has no history, which identifies publications");
        report.error(location, what, "write `history: 100`, or delete `delivered`");
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    fn read(hooks: &str) -> Result<Hooks, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nodevent.yml");
        let above = "open: true\n  history: 10\n  presence: true";
        std::fs::write(&file, format!("/a:\n  {above}\n  hooks: {hooks}\n")).unwrap();
        let loaded = load(Some(&file)).map_err(|report| report.to_string())?;
        Ok(loaded.config.namespaces[0].hooks.clone().unwrap())
    }

    const SECRET: &str = "secret: a-secret-of-at-least-32-characters-x";

    #[test]
    fn settings_have_defaults_and_can_be_changed() {
        let url = "url: \"https://www.example.com/nodevent/hooks?key=hidden\"";
        let hooks = read(&format!("{{{url}, {SECRET}, events: [connected, left]}}")).unwrap();
        assert_eq!(hooks.application.shown_url(), "https://www.example.com/nodevent/hooks");
        assert_eq!((hooks.application.concurrency, hooks.batch, hooks.attempts), (1, 100, 10));
        assert!(hooks.events.connected && hooks.events.left && !hooks.events.entered && !hooks.events.disconnected);
        assert_eq!(hooks.give_up, Duration::from_secs(24 * 3600));
        let hooks = read(&format!(
            "{{{url}, {SECRET}, delivered: [\"order_*\"], timeout: 1s, batch: 2, size: 3, bytes: 1MB, attempts: 4, \
             give_up: 1h, dead_letters: 5}}"
        ))
        .unwrap();
        assert_eq!(hooks.journal, JournalLimits { size: 3, bytes: 1 << 20, dead_letters: 5 });
        assert_eq!((hooks.batch, hooks.attempts, &*hooks.events.delivered[0]), (2, 4, "order_*"));
    }

    #[test]
    fn mistakes_are_errors_that_name_the_key_and_show_no_secret() {
        let url = "url: \"http://example.com/\"";
        for (written, part) in [
            ("x".to_owned(), "/a.hooks has no keys"),
            (format!("{{{SECRET}, events: [left]}}"), "/a.hooks has no url"),
            (format!("{{{url}, events: [left]}}"), "/a.hooks has no secret"),
            (format!("{{{url}, {SECRET}}}"), "/a.hooks has neither events nor delivered"),
            (
                format!("{{{url}, {SECRET}, events: [joined]}}"),
                "/a.hooks.events contains something other than an event",
            ),
            (format!("{{{url}, {SECRET}, events: [delivered]}}"), "needs the names of publications"),
            (format!("{{{url}, secret: \"\", events: [left]}}"), "/a.hooks.secret"),
            (format!("{{{url}, {SECRET}, events: [left], batch: 0}}"), "/a.hooks.batch is not a valid number"),
        ] {
            let error = read(&written).map(drop).unwrap_err();
            assert!(error.contains(part), "{written}: {error}");
            assert!(!error.contains("a-secret-of"), "{written}: {error}");
        }
    }

    #[test]
    fn events_that_a_namespace_cannot_have_are_errors() {
        for (events, part) in [
            ("events: [left]", "/a.hooks has entered or left, and /a has no presence"),
            ("delivered: comment", "/a.hooks has delivered, and /a has no history"),
        ] {
            let text = format!(
                "/a: {{open: true, history: off, hooks: {{url: \"http://example.com/\", {SECRET}, {events}}}}}\n"
            );
            let error = crate::config::Config::from_yaml(&text).map(drop).unwrap_err().to_string();
            assert!(error.contains(part), "{events}: {error}");
        }
    }
}
