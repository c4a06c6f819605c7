//! A configuration's text as a tree in which every value knows its location.
//!
//! Owns the reading of YAML, with anchors, merge keys and tags; [`super::json`] reads JSON into the same tree. Does not
//! know keys, sections of environments or the environment.
//!
//! # Source
//! YAML 1.2 without its guesses about types: a scalar is the text as it is written, so `0123`, `yes`, `1_000` and
//! `2026-01-01` stay as they are until a key decides what they mean. Only an empty value, `~` and `null`, unquoted, are
//! no value. Everything on which YAML readers disagree is an error: duplicate keys, tags, several documents.

use super::json;
use super::report::{Location, Report};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use std::collections::HashMap;

/// Levels of maps and lists. A configuration needs about six.
const MAX_DEPTH: usize = 32;
/// Values in the tree, after anchors are expanded. A few aliases of aliases would otherwise fill the memory.
const MAX_NODES: usize = 20_000;
/// Bytes of a file.
const MAX_BYTES: usize = 1024 * 1024;

/// Message about a tab in the indentation.
const TAB: &str = "this is not YAML: a tab indents the line";
/// Hint for a tab.
const TAB_HINT: &str = "indent with spaces";

/// A value and its location.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Location of its first character.
    pub location: Location,
    /// The value.
    pub value: Value,
    /// Whether the value is in the file itself. `false` if it was taken from the environment.
    pub is_literal: bool,
}

/// A key of a map and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The key.
    pub name: String,
    /// Location of the key.
    pub location: Location,
    /// The value.
    pub node: Node,
}

/// A value. Scalars stay text until a key decides their type, so that `54321` can be a secret.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nothing was written.
    Null,
    /// A number, a word or a quoted text.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and their values.
    Map(Vec<Entry>),
}

/// Reading stopped at an error of the syntax, which is in the report.
pub(super) struct Stopped;

// === impl Node ===

impl Node {
    pub(super) fn new(location: Location, value: Value) -> Self {
        Self { location, value, is_literal: true }
    }

    /// Returns the scalar, if it is one.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the entries, if it is a map.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Whether it turns something off.
    pub(super) fn is_off(&self) -> bool {
        self.scalar().is_some_and(|text| ["off", "false", "no"].iter().any(|off| text.eq_ignore_ascii_case(off)))
    }
}

/// Reads YAML or JSON. Returns `None` if the syntax is wrong; the report has the reason.
pub(super) fn read(text: &str, is_json: bool, report: &mut Report) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        report.error_without_location("the file is larger than 1 MB", "name the configuration, not another file");
        return None;
    }
    check_characters(text, report).ok()?;
    if is_json {
        return json::read(text, report);
    }
    let mut loader = Loader { text, parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, report };
    let root = loader.document().ok()?;
    if root.value == Value::Null {
        report.error(
            root.location,
            "the file is empty",
            "write at least `/nodevent:` with `secret:` or `open: true` below it; without a file the defaults apply",
        );
        return None;
    }
    Some(root)
}

/// Rejects what no reader handles well: ERB, and characters that are invisible in an editor.
fn check_characters(text: &str, report: &mut Report) -> Result<(), Stopped> {
    for (index, line) in text.lines().enumerate() {
        let location = |column: usize| Location { line: index + 1, column: column + 1 };
        if let Some(column) = line.find("<%").filter(|_| !line.trim_start().starts_with('#')) {
            let column = line[..column].chars().count();
            let hint =
                "write ${NAME} or ${NAME:-default}, which the gem and the server both replace from the environment";
            report.error(location(column), "ERB is not understood by the server", hint);
            return Err(Stopped);
        }
        let invisible = |c: char| {
            (c.is_control() && c != '\t' && c != '\u{85}')
                || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}' | '\u{2029}')
        };
        if let Some(column) = line.chars().position(invisible) {
            let what = format!(
                "there is an invisible character, {}",
                line.chars().nth(column).unwrap_or(' ').escape_unicode()
            );
            report.error(location(column), what, "delete it; in a text, quote it as \"\\u…\"");
            return Err(Stopped);
        }
    }
    Ok(())
}

/// Builds a tree from the parser's events.
struct Loader<'a, 'r> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    /// Finished values by the number of their anchor, and how many nodes they have.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    report: &'r mut Report,
}

// === impl Loader ===

impl<'a> Loader<'a, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Stopped> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                if let Some(location) = self.indenting_tab(error.marker().line()) {
                    return Err(self.stop(location, TAB, TAB_HINT));
                }
                let what = format!("this is not YAML: {}", error.info());
                Err(self.stop(locate(error.marker()), &what, "fix this line or the one above"))
            }
            None => Err(self.stop(Location::START, "this is not YAML: it ends too early", "complete the file")),
        }
    }

    /// Returns the first tab in the indentation of the line with an error, or of the next one: the parser reports the
    /// value before it.
    fn indenting_tab(&self, line: usize) -> Option<Location> {
        let lines = self.text.lines().enumerate().skip(line.saturating_sub(1)).take(2);
        lines.into_iter().find_map(|(index, line)| {
            let indent = &line[..line.len() - line.trim_start().len()];
            let column = indent.find('\t').filter(|_| !line.trim().is_empty())?;
            Some(Location { line: index + 1, column: column + 1 })
        })
    }

    /// Returns the text from a location to the end of its line.
    fn line_from(&self, location: Location) -> &'a str {
        let line = self.text.lines().nth(location.line - 1).unwrap_or_default();
        let start = line.char_indices().nth(location.column - 1).map_or(line.len(), |(index, _)| index);
        &line[start..]
    }

    fn stop(&mut self, location: Location, what: &str, hint: &str) -> Stopped {
        self.report.error(location, what, hint);
        Stopped
    }

    /// The only document of the file.
    fn document(&mut self) -> Result<Node, Stopped> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            let location = locate(&span.start);
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => return Ok(root.unwrap_or(Node::new(Location::START, Value::Null))),
                Event::DocumentStart(_) if root.is_some() => {
                    let hint = "write one file for each, or sections such as `production:` in one document";
                    return Err(self.stop(location, "the file has a second document", hint));
                }
                Event::DocumentStart(_) => {
                    let first = self.next()?;
                    root = Some(self.node(first, 0)?);
                }
                _ => return Err(self.stop(location, "this is not YAML", "fix this line or the one above")),
            }
        }
    }

    fn node(&mut self, (event, span): (Event<'a>, Span), depth: usize) -> Result<Node, Stopped> {
        let location = locate(&span.start);
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(self.stop(location, "the file is nested too deeply or has too many values", "simplify it"));
        }
        let began = self.nodes;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), location)?;
                // A tag makes even an empty value a text.
                let is_null = style == ScalarStyle::Plain && tag.is_none() && is_null(&text);
                (if is_null { Value::Null } else { Value::Scalar(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), location)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), location)?;
                (self.map(location, depth)?, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, location),
            _ => return Err(self.stop(location, "this is not YAML", "fix this line or the one above")),
        };
        let node = Node::new(location, value);
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - began + 1));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, location: Location) -> Result<Node, Stopped> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(self.stop(
                location,
                "an anchor contains itself",
                "write the value once more instead of the alias",
            ));
        };
        self.nodes += size;
        let node = node.clone();
        if self.nodes > MAX_NODES {
            return Err(self.stop(location, "the aliases of the file expand to too many values", "simplify it"));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Stopped> {
        let mut list = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event.0, Event::SequenceEnd) {
                return Ok(Value::List(list));
            }
            list.push(self.node(event, depth + 1)?);
        }
    }

    fn map(&mut self, location: Location, depth: usize) -> Result<Value, Stopped> {
        let is_flow = self.line_from(location).starts_with('{');
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event.0, Event::MappingEnd) {
                break;
            }
            let is_plain = matches!(event.0, Event::Scalar(_, ScalarStyle::Plain, ..));
            let key = self.node(event, depth + 1)?;
            let Value::Scalar(name) = key.value else {
                return Err(self.stop(key.location, "a key is not text", "write a word before the colon"));
            };
            // This parser accepts a tab after a space; others do not.
            if let Some(tab) = self.indenting_tab(key.location.line).filter(|tab| !is_flow && *tab < key.location) {
                return Err(self.stop(tab, TAB, TAB_HINT));
            }
            let event = self.next()?;
            let node = self.node(event, depth + 1)?;
            if name == "<<" && is_plain {
                merged.push(node);
                continue;
            }
            if let Some(first) = entries.iter().find(|entry| entry.name == name) {
                let what = format!(
                    "the key `{}` is written twice, first in line {}",
                    printable(&name),
                    first.location.line
                );
                return Err(self.stop(key.location, &what, "delete one of them"));
            }
            entries.push(Entry { name, location: key.location, node });
        }
        for node in merged {
            self.merge(&mut entries, node)?;
        }
        Ok(Value::Map(entries))
    }

    /// Adds the entries that `<<` refers to; keys that the map has itself take precedence.
    fn merge(&mut self, entries: &mut Vec<Entry>, node: Node) -> Result<(), Stopped> {
        match node.value {
            Value::Map(below) => {
                for entry in below {
                    if !entries.iter().any(|one| one.name == entry.name) {
                        entries.push(entry);
                    }
                }
                Ok(())
            }
            Value::List(list) => list.into_iter().try_for_each(|one| self.merge(entries, one)),
            _ => Err(self.stop(
                node.location,
                "`<<` does not refer to a map",
                "write `<<: *name` of an anchored map",
            )),
        }
    }

    /// Rejects all tags except `!!str`, `!!seq` and `!!map`, which change nothing.
    fn check_tag(&mut self, tag: Option<&Tag>, location: Location) -> Result<(), Stopped> {
        let Some(tag) = tag else { return Ok(()) };
        let is_harmless = tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "str" | "seq" | "map");
        if is_harmless {
            return Ok(());
        }
        let shown = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
        Err(self.stop(location, &format!("the tag `{}` is not supported", printable(&shown)), "delete the tag"))
    }
}

/// Whether an unquoted scalar means no value.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Returns a key as it can be printed: shortened, and without control characters.
pub(super) fn printable(name: &str) -> String {
    let mut shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
    if name.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

fn locate(marker: &Marker) -> Location {
    Location { line: marker.line().max(1), column: marker.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        let mut report = Report::about("t.yml");
        read(text, false, &mut report).unwrap_or_else(|| panic!("{report}"))
    }

    fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
        let entries = node.entries().unwrap_or_else(|| panic!("not a map: {node:?}"));
        &entries.iter().find(|entry| entry.name == key).unwrap_or_else(|| panic!("no {key}")).node
    }

    fn error(text: &str) -> String {
        let mut report = Report::about("t.yml");
        assert_eq!(read(text, false, &mut report), None, "{text}");
        report.to_string()
    }

    #[test]
    fn a_scalar_keeps_its_text() {
        assert_eq!(get(&tree("apiKey: 0123\n"), "apiKey").scalar(), Some("0123"));
        assert_eq!(get(&tree("a: 'null'\n"), "a").scalar(), Some("null"));
        assert_eq!(get(&tree("a: null\n"), "a").value, Value::Null);
    }

    #[test]
    fn every_value_has_its_location() {
        let root = tree("\u{feff}a: 1\r\nb:\r\n  c: 2\r\n");
        assert_eq!(get(&root, "a").location, Location { line: 1, column: 4 });
        assert_eq!(get(get(&root, "b"), "c").location, Location { line: 3, column: 6 });
    }

    #[test]
    fn anchors_and_merge_keys_work_and_own_keys_take_precedence() {
        let root = tree("base: &base {a: 1, b: 1}\nuse:\n  <<: *base\n  b: 2\nboth: {<<: [*base, {c: 3}]}\n");
        let used = get(&root, "use");
        assert_eq!((get(used, "a").scalar(), get(used, "b").scalar()), (Some("1"), Some("2")));
        assert_eq!(get(get(&root, "both"), "c").scalar(), Some("3"));
    }

    #[test]
    fn an_error_of_the_syntax_has_its_location() {
        // N-08
        for (text, expected) in [
            ("a: [1\nb: 2\n", "this is not YAML"),
            ("a: 1\nb: <%= ENV['X'] %>\n", "t.yml:2:4: ERB"),
            ("a: 1\n\tb: 2\n", "t.yml:2:1: this is not YAML: a tab indents the line; indent with spaces"),
            ("a:\n \tb: 2\n", "t.yml:2:2: this is not YAML: a tab indents the line"),
            ("a: 1\nb: 2\na: 3\n", "t.yml:3:1: the key `a` is written twice, first in line 1"),
            ("a: &x [*x]\n", "t.yml:1:8: an anchor contains itself"),
            ("a: *nowhere\n", "t.yml:1:"),
            ("a: 1\n---\nb: 2\n", "t.yml:2:1: the file has a second document"),
            ("a: !!binary aGk=\n", "t.yml:1:4: the tag `!!binary` is not supported"),
            ("? [a]\n: 1\n", "t.yml:1:3: a key is not text"),
            ("a: {<<: 1}\n", "t.yml:1:9: `<<` does not refer to a map"),
            ("a: 1\n\u{feff}b: 2\n", "t.yml:2:1: there is an invisible character, \\u{feff}"),
            ("# only a comment\n", "the file is empty"),
            ("", "t.yml:1:1: the file is empty"),
        ] {
            let report = error(text);
            assert!(report.contains(expected), "{expected}\nis not in\n{report}");
        }
        assert!(read("# <%= a comment %>\na: 1\n", false, &mut Report::default()).is_some());
    }

    #[test]
    fn aliases_of_aliases_do_not_fill_the_memory() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", ")));
        }
        assert!(error(&text).contains("the aliases of the file expand to too many values"));
        let nested = format!("a: {}{}\n", "[".repeat(100), "]".repeat(100));
        assert!(error(&nested).contains("nested too deeply"));
    }
}
