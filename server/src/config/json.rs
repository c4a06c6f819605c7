//! JSON as the same tree as YAML.
//!
//! `serde_json` decides what is JSON. The tree is then built from the text itself, because `serde_json` forgets
//! locations, duplicate keys and how numbers were written.

use super::report::{Location, Report};
use super::tree::{Entry, Node, Value, shown_key};

/// Reads JSON. Returns `None` if the syntax is wrong; the report has the reason.
pub(super) fn read(text: &str, report: &mut Report) -> Option<Node> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let location = Location { line: error.line().max(1), column: error.column().max(1) };
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        report.error(
            location,
            format!("this is not JSON: {reason}"),
            "look for a missing comma or quote before it",
        );
        return None;
    }
    let mut reader = Reader { rest: text, location: Location::START, report };
    let root = reader.value();
    root.filter(|_| reader.report.errors.is_empty())
}

/// Walks through valid JSON.
struct Reader<'a, 'r> {
    rest: &'a str,
    location: Location,
    report: &'r mut Report,
}

// === impl Reader ===

impl<'a> Reader<'a, '_> {
    /// Skips `length` bytes and returns them.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        for c in taken.chars() {
            match c {
                '\n' => self.location = Location { line: self.location.line + 1, column: 1 },
                _ => self.location.column += 1,
            }
        }
        self.rest = rest;
        taken
    }

    fn skip_space(&mut self) {
        let length = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.take(length);
    }

    /// Skips white space, and then `mark` if it follows. Returns whether it did.
    fn skip(&mut self, mark: char) -> bool {
        self.skip_space();
        let found = self.rest.starts_with(mark);
        if found {
            self.take(mark.len_utf8());
        }
        found
    }

    /// Returns `None` after reporting an error.
    fn value(&mut self) -> Option<Node> {
        self.skip_space();
        let location = self.location;
        let value = match self.rest.chars().next()? {
            '{' => self.map()?,
            '[' => {
                self.take(1);
                let mut list = Vec::new();
                while !self.skip(']') {
                    list.push(self.value()?);
                    self.skip(',');
                }
                Value::List(list)
            }
            '"' => Value::Scalar(self.string()?),
            _ => {
                let length = self.rest.find([',', ']', '}', ' ', '\n', '\r', '\t']).unwrap_or(self.rest.len());
                match self.take(length) {
                    "null" => Value::Null,
                    text => Value::Scalar(text.to_owned()),
                }
            }
        };
        Some(Node::new(location, value))
    }

    fn map(&mut self) -> Option<Value> {
        self.take(1);
        let mut entries: Vec<Entry> = Vec::new();
        while !self.skip('}') {
            self.skip_space();
            let location = self.location;
            let name = self.string()?;
            self.skip(':');
            let node = self.value()?;
            self.skip(',');
            if let Some(first) = entries.iter().find(|entry| entry.name == name) {
                let what = format!(
                    "the key `{}` is written twice, first in line {}",
                    shown_key(&name),
                    first.location.line
                );
                self.report.error(location, what, "delete one of them");
            }
            entries.push(Entry { name, location, node });
        }
        Some(Value::Map(entries))
    }

    fn string(&mut self) -> Option<String> {
        let mut is_escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            ends
        });
        let location = self.location;
        let text = self.take(end?.0 + 1);
        // `serde_json` has not looked into the strings yet: half a surrogate pair is not a character.
        match serde_json::from_str(text) {
            Ok(text) => Some(text),
            Err(_) => {
                let what = "this is not JSON: a text contains an escape that is not a character";
                self.report.error(location, what, "write the character itself, in UTF-8");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        let mut report = Report::about("c.json");
        read(text, &mut report).unwrap_or_else(|| panic!("{report}"))
    }

    #[test]
    fn every_value_has_its_location_and_its_text() {
        let root = tree("{\n\t\"a\": 0.10,\r\n  \"b\": [\"\\u00e9\\ud83d\\ude00\\\"\", null, true, {}]\n}");
        let entries = root.entries().unwrap();
        assert_eq!(entries[0].node.scalar(), Some("0.10"));
        assert_eq!(entries[1].location, Location { line: 3, column: 3 });
        let Value::List(list) = &entries[1].node.value else { panic!("{entries:?}") };
        assert_eq!(list[0].scalar(), Some("é😀\""));
        assert_eq!((&list[1].value, list[2].scalar()), (&Value::Null, Some("true")));
        assert_eq!(list[3].value, Value::Map(Vec::new()));
    }

    #[test]
    fn duplicate_keys_are_an_error_with_both_lines() {
        let mut report = Report::about("c.json");
        assert!(read("{\"a\": 1,\n \"a\": 2}", &mut report).is_none());
        assert_eq!(
            report.to_string(),
            "c.json:2:2: the key `a` is written twice, first in line 1; delete one of them"
        );
    }
}
