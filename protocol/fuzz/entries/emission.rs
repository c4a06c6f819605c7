//! What is published: one emission, or a body of several.

use nodevent_protocol::emission::{Emission, Skipped, parse, parse_many};
use nodevent_protocol::room;
use serde_json::Value;

/// An emission is what any JSON reader reads, and the same alone and in an array.
pub(crate) fn run(data: &[u8]) {
    let parsed = parse(data);
    let value = serde_json::from_slice::<Value>(data);
    match &parsed {
        Ok(emission) => {
            room::check(&emission.room, room::MAX_BYTES).unwrap();
            assert!(!emission.event.is_empty());
            assert!(emission.text.starts_with('{') && emission.text.ends_with('}'));
            assert_eq!(parse(emission.text.as_bytes()).as_ref(), Ok(emission));
            let array = format!("[{0},\n{0} ]", emission.text);
            assert_eq!(parse_many(array.as_bytes()), Ok(vec![emission.clone(), emission.clone()]));
            // A reader that builds values knows less: it refuses deep nesting, lone surrogates and huge numbers.
            if let Ok(value) = &value {
                assert!(agrees(emission, value));
            }
        }
        Err(Skipped::NotUtf8) => assert!(std::str::from_utf8(data).is_err()),
        Err(Skipped::NotJson { .. }) => assert!(value.is_err()),
        Err(_) => {}
    }
    match parse_many(data) {
        Ok(emissions) => assert!(parsed.is_ok() || data.trim_ascii_start().starts_with(b"["), "{emissions:?}"),
        Err((index, skipped)) => {
            assert!(index.is_none() || !matches!(skipped, Skipped::NotJson { .. } | Skipped::NotUtf8));
            assert!(parsed.is_err());
        }
    }
}

fn agrees(emission: &Emission<'_>, value: &Value) -> bool {
    room::from_json(&value["room"], room::MAX_BYTES).as_deref() == Ok(&*emission.room)
        && value["event"].as_str() == Some(&*emission.event)
}
