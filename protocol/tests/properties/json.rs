//! Random JSON, as text.

use proptest::prelude::*;
use serde_json::{Map, Value};

/// Any JSON value of modest size. Fractions are left out: their text is not unique.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((any::<String>(), inner), 0..5)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// White space that JSON allows.
pub(crate) fn white() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,3}"
}
