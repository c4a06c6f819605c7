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

/// Returns a key as it can be printed: shortened, and without control characters.
pub(super) fn printable(name: &str) -> String {
    let mut shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
    if name.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}
