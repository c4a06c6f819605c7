//! `history`: what a namespace keeps of its rooms.

use super::report::Report;
use super::table::{Table, parse_duration};
use super::tree::{Node, Value};
use nodevent_protocol::history::{Retention, RetentionPolicy};

/// What a namespace keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Of which rooms.
    pub rules: RetentionPolicy,
    /// What all rooms together may take in the memory engine. Bytes.
    pub max_memory: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { rules: RetentionPolicy::default(), max_memory: 64 * 1024 * 1024 }
    }
}

// === impl History ===

impl History {
    /// No history at all.
    pub fn off() -> Self {
        Self { rules: RetentionPolicy { default: None, prefixes: Vec::new() }, ..Self::default() }
    }

    /// What is kept of a room.
    pub fn of(&self, room: &str) -> Option<Retention> {
        self.rules.of(room)
    }

    /// Whether any room is kept.
    pub fn is_on(&self) -> bool {
        self.rules.is_on()
    }

    /// Reads `history`.
    pub fn read(node: &Node, path: &str, report: &mut Report) -> Self {
        if is_off(node) {
            return Self::off();
        }
        let mut history = Self::default();
        // `history: 5m` is short for an age.
        if let Value::Scalar(text) = &node.value {
            match parse_duration(text) {
                _ if text == "on" || text == "true" => {}
                Some(age) => history.rules.default = Some(Retention { age, ..Retention::default() }),
                None => {
                    let remedy = "write `off`, or `{size: 100, age: 5m}`";
                    report.mistake(node.place, format!("{path} is `{text}`"), remedy);
                }
            }
            return history;
        }
        let Some(mut table) = Table::open(node, path, report) else { return history };
        let default = read_keys(&mut table, Retention::default(), report);
        history.rules.default = Some(default);
        history.max_memory = table.size(&["max_memory"], report).unwrap_or(history.max_memory);
        if let Some(rooms) = table.take(&["rooms"]) {
            let path = format!("{path}.rooms");
            match &rooms.value {
                Value::Map(entries) => {
                    for (prefix, _, node) in entries {
                        let kept = read_kept(node, &format!("{path}.{prefix}"), default, report);
                        history.rules.prefixes.push((prefix.trim_end_matches('*').to_owned(), kept));
                    }
                }
                _ => report.mistake(
                    rooms.place,
                    format!("{path} has no keys"),
                    "write `Chat_: {size: 500}` below it",
                ),
            }
        }
        table.finish(report);
        history
    }
}

fn read_kept(node: &Node, path: &str, default: Retention, report: &mut Report) -> Option<Retention> {
    if is_off(node) {
        return None;
    }
    let mut table = Table::open(node, path, report)?;
    let kept = read_keys(&mut table, default, report);
    table.finish(report);
    Some(kept)
}

fn read_keys(table: &mut Table<'_>, default: Retention, report: &mut Report) -> Retention {
    let size = table.number(&["size"], 1, 1_000_000, report).unwrap_or(default.size);
    let age = table.duration(&["age"], report).unwrap_or(default.age);
    Retention { size, age }
}

fn is_off(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(text) if text == "off" || text == "false")
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
    fn it_can_be_off_and_other_for_rooms_by_prefix() {
        assert!(!history("off").is_on());
        assert_eq!(history("30s").of("r").unwrap().age, Duration::from_secs(30));
        let some = history("{size: 10, rooms: {Chat_: {size: 500}, Chat_x: off, \"Log_*\": {age: 1h}}}");
        assert_eq!(some.of("r").unwrap().size, 10);
        assert_eq!(some.of("Chat_1").unwrap().size, 500);
        assert_eq!(some.of("Chat_x1"), None);
        assert_eq!(some.of("Log_1").unwrap(), Retention { size: 10, age: Duration::from_secs(3600) });
    }

    #[test]
    fn a_wrong_value_is_told_with_its_place() {
        let report = Config::from_yaml("/a:\n  history: lots\n").unwrap_err();
        assert!(report.to_string().contains(":2:12: /a.history is `lots`"), "{report}");
    }
}
