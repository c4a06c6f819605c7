//! Reads the files of `protocol/vectors`.

use serde_json::Value;
use std::path::Path;

/// Loads a file of `protocol/vectors`.
pub(crate) fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the vectors under `list`, which must not be empty.
pub(crate) fn list<'a>(vectors: &'a Value, list: &str) -> &'a [Value] {
    let entries = vectors[list].as_array().unwrap_or_else(|| panic!("no list {list}"));
    assert!(!entries.is_empty(), "{list} is empty");
    entries
}

/// Returns the text under `name`.
pub(crate) fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("no text {name} in {vector}"))
}

/// Returns the number under `name`.
pub(crate) fn number(vector: &Value, name: &str) -> u64 {
    vector[name].as_u64().unwrap_or_else(|| panic!("no number {name} in {vector}"))
}
