//! Reads YAML into a tree, with anchors, merge keys and tags.
//!
//! # Source
//! YAML 1.2 without its guesses about types: a scalar is the text as it is written, so `0123`, `yes`, `1_000` and
//! `2026-01-01` stay as they are until a key decides what they mean. Only an empty value, `~` and `null`, unquoted, are
//! no value. Everything on which YAML readers disagree is an error: duplicate keys, tags, several documents.

use super::report::{Location, Report};
use super::tree::{Entry, Node, Stopped, Value, shown_key};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use std::collections::HashMap;

/// Levels of maps and lists. A configuration needs about six.
const MAX_DEPTH: usize = 32;
/// Values in the tree, after anchors are expanded. A few aliases of aliases would otherwise fill the memory.
const MAX_NODES: usize = 20_000;

/// Tags of YAML itself, which a message may contain.
const STANDARD_TAGS: [&str; 13] =
    ["binary", "bool", "float", "int", "map", "merge", "null", "omap", "pairs", "seq", "set", "str", "timestamp"];

/// Message about a tab in the indentation.
const TAB: &str = "this is not YAML: a tab indents the line";
/// Hint for a tab.
const TAB_HINT: &str = "indent with spaces";

/// Reads YAML. Returns `None` if the syntax is wrong; the report has the reason.
pub(super) fn read(text: &str, report: &mut Report) -> Option<Node> {
    let mut loader = Loader { text, parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, report };
    loader.document().ok()
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
                    shown_key(&name),
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
        // A secret that begins with `!` is read as a tag.
        let is_standard = tag.is_yaml_core_schema() && STANDARD_TAGS.contains(&tag.suffix.as_str());
        let shown = if is_standard { format!("!!{}", tag.suffix) } else { "!…".to_owned() };
        let hint = "delete it, or put a value that begins with `!` into quotes";
        Err(self.stop(location, &format!("the tag `{shown}` is not supported"), hint))
    }
}

/// Whether an unquoted scalar means no value.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn locate(marker: &Marker) -> Location {
    Location { line: marker.line().max(1), column: marker.col() + 1 }
}
