//! A configuration's text as a tree in which every value knows its location.
//!
//! Owns the values. [`super::yaml`] and [`super::json`] build trees. It does not know keys, sections of environments or
//! the environment.

use super::report::Location;

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

// === impl Entry ===

impl Entry {
    /// Returns the key as a report may contain it, see [`shown_key`]. A key without a value may be a value in the wrong
    /// place, as in `{word}`; `is_known` are the keys for which that is not the case.
    pub(super) fn shown_key(&self, is_known: impl Fn(&str) -> bool) -> String {
        let has_value = self.node.value != Value::Null || !self.node.is_literal;
        if has_value || is_known(&self.name) { shown_key(&self.name) } else { HIDDEN.to_owned() }
    }
}

/// What a report contains instead of a text that may be a secret.
const HIDDEN: &str = "…";
/// Characters of the longest key that is shown.
const MAX_KEY: usize = 40;

/// Returns a key as a report may contain it. Reports never contain values, and a key can be one by mistake, as in
/// `{secret:word}`, where the blank is missing. So only keys that consist of letters are shown, with `_`, `-`, `.` and `/`;
/// of others, the first letters if the registry has a key of that name.
pub(super) fn shown_key(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphabetic() || "_-./".contains(c);
    if name.len() <= MAX_KEY && name.chars().all(is_plain) {
        return name.to_owned();
    }
    let first = name.split(|c| !is_plain(c)).next().unwrap_or_default();
    let is_known = super::keys::SECTIONS.iter().flat_map(|section| section.keys).any(|key| key.name == first);
    if is_known { format!("{first}{HIDDEN}") } else { HIDDEN.to_owned() }
}
