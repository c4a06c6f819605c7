//! `history`: the retention of a namespace's rooms.

use super::keys;
use super::reader::MapReader;
use super::report::Report;
use super::tree::{Node, shown_key};
use super::values::parse_duration;
use nodevent_protocol::history::{Retention, RetentionPolicy};

/// Retention of a namespace's rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The retention of each room.
    pub rules: RetentionPolicy,
    /// Memory that all rooms together may take in the memory engine. Bytes.
    pub max_memory: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { rules: RetentionPolicy::default(), max_memory: 64 * 1024 * 1024 }
    }
}

// === impl History ===

impl History {
    /// Returns a policy without any history.
    pub fn off() -> Self {
        Self { rules: RetentionPolicy { default: None, prefixes: Vec::new() }, ..Self::default() }
    }

    /// Returns the retention of a room. `None`: it has no history.
    pub fn of(&self, room: &str) -> Option<Retention> {
        self.rules.of(room)
    }

    /// Whether any room has history.
    pub fn is_on(&self) -> bool {
        self.rules.is_on()
    }

    /// Reads `history`.
    pub(super) fn read(node: &Node, path: &str, report: &mut Report) -> Self {
        if node.is_off() {
            return Self::off();
        }
        let mut history = Self::default();
        // `history: 5m` is short for an age.
        if let Some(text) = node.scalar() {
            match parse_duration(text) {
                _ if ["on", "true", "yes"].iter().any(|on| text.eq_ignore_ascii_case(on)) => {}
                Some(age) => history.rules.default = Some(Retention { age, ..Retention::default() }),
                None => {
                    let what = format!("{path} is neither off nor an age");
                    report.error(node.location, what, "write `off`, or `{size: 100, age: 5m}`");
                }
            }
            return history;
        }
        let Some(mut map) = MapReader::open(node, path, &keys::HISTORY, report) else { return history };
        let default = read_retention(&mut map, Retention::default(), report);
        history.rules.default = Some(default);
        history.max_memory = map.size("max_memory", report).unwrap_or(history.max_memory);
        if let Some(rooms) = map.take("rooms") {
            let path = format!("{path}.rooms");
            match rooms.entries() {
                Some(entries) => {
                    for entry in entries {
                        let retention =
                            read_room(&entry.node, &format!("{path}.{}", shown_key(&entry.name)), default, report);
                        history.rules.prefixes.push((entry.name.trim_end_matches('*').to_owned(), retention));
                    }
                }
                None => {
                    let hint = "write `Chat_: {size: 500}` below it";
                    report.error(rooms.location, format!("{path} has no keys"), hint);
                }
            }
        }
        map.finish(report);
        history
    }
}

fn read_room(node: &Node, path: &str, default: Retention, report: &mut Report) -> Option<Retention> {
    if node.is_off() {
        return None;
    }
    let mut map = MapReader::open(node, path, &keys::HISTORY_ROOM, report)?;
    let retention = read_retention(&mut map, default, report);
    map.finish(report);
    Some(retention)
}

fn read_retention(map: &mut MapReader<'_>, default: Retention, report: &mut Report) -> Retention {
    let size = map.number("size", report).unwrap_or(default.size);
    let age = map.positive_duration("age", report).unwrap_or(default.age);
    Retention { size, age }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::time::Duration;

    fn history(text: &str) -> History {
        Config::from_yaml(&format!("/a: {{history: {text}}}\n")).unwrap().namespaces[0].history.clone()
    }

    #[test]
    fn history_is_on_with_a_hundred_publications_and_five_minutes() {
        let default = Config::from_yaml("/a: {}\n").unwrap().namespaces[0].history.of("r").unwrap();
        assert_eq!((default.size, default.age), (100, Duration::from_secs(300)));
        assert!(default.position_ttl() > default.age);
    }

    #[test]
    fn history_can_be_off_and_differ_by_the_beginning_of_a_rooms_name() {
        assert!(!history("off").is_on());
        assert_eq!(history("30s").of("r").unwrap().age, Duration::from_secs(30));
        let some = history("{size: 10, rooms: {Chat_: {size: 500}, Chat_x: off, \"Log_*\": {age: 1h}}}");
        assert_eq!(some.of("r").unwrap().size, 10);
        assert_eq!(some.of("Chat_1").unwrap().size, 500);
        assert_eq!(some.of("Chat_x1"), None);
        assert_eq!(some.of("Log_1").unwrap(), Retention { size: 10, age: Duration::from_secs(3600) });
    }

    #[test]
    fn an_invalid_value_is_reported_with_its_location() {
        let report = Config::from_yaml("/a:\n  history: lots\n").unwrap_err();
        assert!(report.to_string().contains(":2:12: /a.history is neither off nor an age"), "{report}");
    }
}
