//! The arguments of an event, parsed without creating values in memory.
//!
//! JSON that cannot be represented, such as `1e999999`, a lone surrogate or deep nesting, makes only the value invalid
//! that contains it. Values that a dialect does not read cost no memory and no recursion.

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// An argument: the text of a JSON value.
#[derive(Debug, Clone, Copy)]
pub struct Argument<'a>(Option<&'a RawValue>);

/// Fields of an object. The last one counts if there are several of one name.
struct Fields<'n, 'a, const N: usize> {
    names: [&'n str; N],
    values: [Argument<'a>; N],
}

// === impl Argument ===

impl<'a> Argument<'a> {
    /// No argument.
    pub const MISSING: Self = Self(None);

    /// The text of a JSON value, such as an auth payload. Missing if it is not valid.
    pub fn of_value(json: &'a str) -> Self {
        Self(serde_json::from_str(json).ok())
    }

    /// Splits the text of a JSON array into the event's name and its first argument. `None`: it has no name.
    pub fn of_event(args: &'a str) -> Option<(Cow<'a, str>, Self)> {
        let NameAndFirst { name, first } = serde_json::from_str(args).ok()?;
        Some((string(name?)?, Self(first)))
    }

    /// The fields of an object with these names, read in one pass. All are missing if this is not an object.
    pub fn fields<const N: usize>(self, names: [&str; N]) -> [Self; N] {
        let missing = [Self::MISSING; N];
        let Some(raw) = self.0.filter(|_| self.is_object()) else { return missing };
        let mut fields = Fields { names, values: missing };
        let mut json = serde_json::Deserializer::from_str(raw.get());
        let read = (&mut json).deserialize_map(&mut fields);
        if read.is_ok() { fields.values } else { missing }
    }

    /// The field of an object with this name.
    pub fn field(self, name: &str) -> Self {
        let [field] = self.fields([name]);
        field
    }

    /// The elements, if this is an array.
    pub fn elements(self) -> Option<Vec<Self>> {
        let elements: Vec<&'a RawValue> = serde_json::from_str(self.0?.get()).ok()?;
        Some(elements.into_iter().map(|element| Self(Some(element))).collect())
    }

    /// The text of the value. `None`: there is no argument.
    pub fn raw(self) -> Option<&'a str> {
        self.0.map(RawValue::get)
    }

    /// Whether this is an object.
    pub fn is_object(self) -> bool {
        self.0.is_some_and(|raw| raw.get().starts_with('{'))
    }

    /// The value. `None`: there is none, it is `null`, or it cannot be represented.
    pub fn value(self) -> Option<Value> {
        serde_json::from_str(self.0?.get()).ok().filter(|value: &Value| !value.is_null())
    }

    /// The text of a string. `None`: there is no argument, or it is `null`. A value that is not a string is an empty
    /// text.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let raw = self.0.filter(|raw| raw.get() != "null")?;
        Some(string(raw).unwrap_or_default())
    }

    /// The text of a string. `None`: the value is no string, or cannot be represented.
    pub fn string(self) -> Option<Cow<'a, str>> {
        string(self.0?)
    }
}

/// The text of a string, borrowed if it has no escapes. `None`: it is no string, or cannot be represented.
fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let json = raw.get();
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) if !text.contains('\\') => Some(Cow::Borrowed(text)),
        _ => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

/// The first two elements of an array. The others are only checked to be JSON.
struct NameAndFirst<'a> {
    name: Option<&'a RawValue>,
    first: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for NameAndFirst<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(NameAndFirstVisitor)
    }
}

struct NameAndFirstVisitor;

impl<'de> Visitor<'de> for NameAndFirstVisitor {
    type Value = NameAndFirst<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let value = NameAndFirst { name: seq.next_element()?, first: seq.next_element()? };
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

impl<'a, const N: usize> Visitor<'a> for &mut Fields<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key::<Name<'a>>()? {
            match self.names.iter().position(|one| *one == name.0) {
                Some(index) => self.values[index] = Argument(Some(map.next_value()?)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The name of a field, borrowed if it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
        Borrowed::deserialize(deserializer).map(|name| Self(name.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(args: &str) -> Argument<'_> {
        Argument::of_event(args).unwrap().1
    }

    #[test]
    fn fields_are_read_next_to_values_that_cannot_be_represented() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for extra in ["1e999999", "\"\\ud800\"", &deep, "{\"a\":{\"b\":[1,2]}}"] {
            let args = format!("[\"join\",{{\"x\":{extra},\"room\":\"r\",\"y\":{extra}}}]");
            let data = argument(&args);
            assert_eq!(data.field("room").value(), Some("r".into()), "{extra}");
            assert_eq!(data.field("room").text().as_deref(), Some("r"), "{extra}");
            assert!(data.field("x").0.is_some());
            assert!(data.field("z").0.is_none());
        }
    }

    #[test]
    fn a_value_that_cannot_be_represented_is_none() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for value in ["1e999999", "\"\\ud800\"", &deep, "null"] {
            let args = format!("[\"join\",{{\"room\":{value}}}]");
            assert_eq!(argument(&args).field("room").value(), None, "{value}");
        }
        assert_eq!(argument("[\"join\",{\"since\":1}]").field("since").text().as_deref(), Some(""));
        assert_eq!(argument("[\"join\",{\"since\":null}]").field("since").text(), None);
    }

    #[test]
    fn a_string_is_the_same_with_and_without_escapes() {
        for (json, text) in
            [("\"r\"", "r"), ("\"\\u0072\"", "r"), ("\"a\\\\b\\\"c\"", "a\\b\"c"), ("\"\"", ""), ("\"ü\"", "ü")]
        {
            let args = format!("[{json}, {json} ,7]");
            let (name, data) = Argument::of_event(&args).unwrap();
            assert_eq!((&*name, data.string().as_deref()), (text, Some(text)), "{json}");
            assert_eq!(data.value(), Some(text.into()), "{json}");
        }
        for json in ["7", "null", "true", "[\"r\"]", "\"\\ud800\"", "{}"] {
            assert_eq!(argument(&format!("[\"x\",{json}]")).string(), None, "{json}");
        }
        assert!(Argument::of_event("[7]").is_none() && Argument::of_event("[\"x\",1").is_none());
    }

    #[test]
    fn the_last_field_of_a_name_counts() {
        let data = argument("[\"join\",{\"room\":\"a\",\"ro\\u006fm\":\"b\"}]");
        assert_eq!(data.field("room").value(), Some("b".into()));
    }

    #[test]
    fn arguments_that_are_no_objects_have_no_fields() {
        for args in ["[\"join\"]", "[\"join\",null]", "[\"join\",\"r\"]", "[\"join\",[1]]"] {
            assert!(argument(args).field("room").0.is_none(), "{args}");
        }
        assert!(Argument::of_event("[]").is_none());
        assert_eq!(argument("[\"join\",[1,{}]]").elements().unwrap().len(), 2);
        assert!(argument("[\"join\",{}]").elements().is_none());
    }
}
