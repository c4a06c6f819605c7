//! Bodies of forms, `application/x-www-form-urlencoded`, with nested names as in the library `qs`: `rooms[]=a&args[0][b]=1`.
//! Without I/O, and bounded in the number of fields and the depth of names.

use percent_encoding::percent_decode;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Fields of a body, as Express accepts by default.
const MAX_FIELDS: usize = 1000;
/// Brackets of a name that are read. What follows them is one name, as in `qs`.
const MAX_DEPTH: usize = 5;
/// The largest index of an array, unless there are more fields, as in Express.
const MIN_MAX_INDEX: usize = 100;

/// Why a body is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// It has too many fields.
    #[error("the body has more than 1000 fields")]
    TooManyFields,
    /// Its text is not UTF-8.
    #[error("the body is not UTF-8")]
    NotUtf8,
}

/// A value while it grows.
#[derive(Debug)]
enum Field {
    Text(String),
    /// Elements by their index.
    List(BTreeMap<usize, Field>),
    Object(Vec<(String, Field)>),
}

/// Reads a body. Its values are strings, arrays and objects.
///
/// # Errors
/// [`FormError`].
pub(super) fn parse(body: &[u8]) -> Result<Map<String, Value>, FormError> {
    let pairs: Vec<&[u8]> = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).collect();
    if pairs.len() > MAX_FIELDS {
        return Err(FormError::TooManyFields);
    }
    let max_index = MIN_MAX_INDEX.max(pairs.len());
    let mut all: Vec<(String, Field)> = Vec::new();
    for pair in pairs {
        let (name, value) = split(pair);
        let (name, value) = (decode(name)?, decode(value)?);
        let path = path(&name);
        let Some((first, rest)) = path.split_first() else { continue };
        set(&mut all, first, rest, value, max_index);
    }
    Ok(all.into_iter().map(|(name, field)| (name, field.into_value())).collect())
}

/// Name and value. A `=` inside of brackets belongs to the name.
fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    let after_bracket = pair.windows(2).position(|two| two == b"]=").map(|index| index + 1);
    match after_bracket.or_else(|| pair.iter().position(|byte| *byte == b'=')) {
        Some(index) => (&pair[..index], &pair[index + 1..]),
        None => (pair, b""),
    }
}

fn decode(text: &[u8]) -> Result<String, FormError> {
    let spaces: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded = percent_decode(&spaces).decode_utf8().map_err(|_| FormError::NotUtf8)?;
    Ok(decoded.into_owned())
}

/// The parts of a name: `a[b][]` is `a`, `b` and an empty text.
fn path(name: &str) -> Vec<&str> {
    let Some(open) = name.find('[').filter(|_| name.contains(']')) else { return vec![name] };
    let mut path = if open == 0 { Vec::new() } else { vec![&name[..open]] };
    let mut rest = &name[open..];
    while let Some(inner) = rest.strip_prefix('[') {
        if path.len() > MAX_DEPTH {
            path.push(rest);
            break;
        }
        let Some(close) = inner.find(']') else {
            path.push(rest);
            break;
        };
        path.push(&inner[..close]);
        rest = &inner[close + 1..];
    }
    path
}

fn set(all: &mut Vec<(String, Field)>, name: &str, rest: &[&str], value: String, max_index: usize) {
    match all.iter_mut().find(|(one, _)| one == name) {
        Some((_, field)) => field.add(rest, value, max_index),
        None => all.push((name.to_owned(), Field::of(rest, value, max_index))),
    }
}

// === impl Field ===

impl Field {
    /// A new value at the end of a path.
    fn of(path: &[&str], value: String, max_index: usize) -> Self {
        let Some((first, rest)) = path.split_first() else { return Self::Text(value) };
        let inner = Self::of(rest, value, max_index);
        match index(first, max_index) {
            _ if first.is_empty() => Self::List(BTreeMap::from([(0, inner)])),
            Some(index) => Self::List(BTreeMap::from([(index, inner)])),
            None => Self::Object(vec![((*first).to_owned(), inner)]),
        }
    }

    /// Adds a value. Several values of one name are a list.
    fn add(&mut self, path: &[&str], value: String, max_index: usize) {
        let Some((first, rest)) = path.split_first() else { return self.push(Self::Text(value)) };
        match self {
            Self::List(list) if first.is_empty() => {
                let next = list.last_key_value().map_or(0, |(last, _)| last + 1);
                list.insert(next, Self::of(rest, value, max_index));
            }
            Self::List(list) => match index(first, max_index) {
                Some(index) => match list.get_mut(&index) {
                    Some(element) => element.add(rest, value, max_index),
                    None => drop(list.insert(index, Self::of(rest, value, max_index))),
                },
                None => {
                    let list = std::mem::take(list).into_iter();
                    let mut object = list.map(|(index, field)| (index.to_string(), field)).collect();
                    set(&mut object, first, rest, value, max_index);
                    *self = Self::Object(object);
                }
            },
            Self::Object(object) => set(object, first, rest, value, max_index),
            Self::Text(_) => self.push(Self::of(path, value, max_index)),
        }
    }

    fn push(&mut self, field: Self) {
        if let Self::List(list) = self {
            let next = list.last_key_value().map_or(0, |(last, _)| last + 1);
            list.insert(next, field);
            return;
        }
        let before = std::mem::replace(self, Self::List(BTreeMap::new()));
        *self = Self::List(BTreeMap::from([(0, before), (1, field)]));
    }

    fn into_value(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text),
            // Without the places that are empty.
            Self::List(list) => Value::Array(list.into_values().map(Self::into_value).collect()),
            Self::Object(object) => {
                Value::Object(object.into_iter().map(|(name, field)| (name, field.into_value())).collect())
            }
        }
    }
}

/// The index of an array, as it would be written.
fn index(text: &str, max: usize) -> Option<usize> {
    text.parse().ok().filter(|index: &usize| *index <= max && index.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn w02_names_are_nested_as_in_qs() {
        for (body, value) in [
            ("", json!({})),
            ("a=1&b=", json!({"a": "1", "b": ""})),
            ("a", json!({"a": ""})),
            ("a=x+y%20z%2B", json!({"a": "x y z+"})),
            ("rooms[]=a&rooms[]=b", json!({"rooms": ["a", "b"]})),
            ("rooms%5B%5D=a&rooms%5B%5D=b", json!({"rooms": ["a", "b"]})),
            ("rooms=a&rooms=b", json!({"rooms": ["a", "b"]})),
            ("a[1]=b&a[0]=c", json!({"a": ["c", "b"]})),
            ("a[1]=b&a[15]=c", json!({"a": ["b", "c"]})),
            ("a[101]=b", json!({"a": {"101": "b"}})),
            ("a[01]=b", json!({"a": {"01": "b"}})),
            ("a[b][c]=1&a[b][d]=2", json!({"a": {"b": {"c": "1", "d": "2"}}})),
            ("args[0][x]=1&args[0][y]=2&args[1]=3", json!({"args": [{"x": "1", "y": "2"}, "3"]})),
            ("args[][x]=1&args[][x]=2", json!({"args": [{"x": "1"}, {"x": "2"}]})),
            ("a[]=1&a[b]=2", json!({"a": {"0": "1", "b": "2"}})),
            ("a[b=c]=d", json!({"a": {"b=c": "d"}})),
            ("a[b=c", json!({"a[b": "c"})),
            ("a[1][2][3][4][5][6]=x", json!({"a": [[[[[{"[6]": "x"}]]]]]})),
            ("[a]=1", json!({"a": "1"})),
        ] {
            assert_eq!(Value::Object(parse(body.as_bytes()).unwrap()), value, "{body}");
        }
    }

    #[test]
    fn fields_are_bounded() {
        let many = |count: usize| vec!["a[]=1"; count].join("&");
        assert!(parse(many(MAX_FIELDS).as_bytes()).is_ok());
        assert_eq!(parse(many(MAX_FIELDS + 1).as_bytes()), Err(FormError::TooManyFields));
        assert_eq!(parse(b"a=%ff"), Err(FormError::NotUtf8));
        let deep = format!("a{}=1", "[b]".repeat(10_000));
        assert!(parse(deep.as_bytes()).is_ok());
    }
}
