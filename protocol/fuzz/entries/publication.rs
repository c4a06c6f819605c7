//! What is published: one publication, or a body of several.

use nodevent_protocol::publication::{InvalidPublication, PublicationRef, parse, parse_many};
use nodevent_protocol::room;
use serde_json::Value;

/// A publication is what any JSON reader reads, and the same alone and in an array.
pub(crate) fn run(data: &[u8]) {
    let parsed = parse(data);
    let value = serde_json::from_slice::<Value>(data);
    match &parsed {
        Ok(publication) => {
            room::check(&publication.room, room::MAX_BYTES).unwrap();
            assert!(!publication.event.is_empty());
            assert!(publication.text.starts_with('{') && publication.text.ends_with('}'));
            assert_eq!(parse(publication.text.as_bytes()).as_ref(), Ok(publication));
            let array = format!("[{0},\n{0} ]", publication.text);
            assert_eq!(parse_many(array.as_bytes()), Ok(vec![publication.clone(), publication.clone()]));
            // A reader that builds values knows less: it refuses deep nesting, lone surrogates and huge numbers.
            if let Ok(value) = &value {
                assert!(agrees(publication, value));
            }
        }
        Err(InvalidPublication::NotUtf8) => assert!(std::str::from_utf8(data).is_err()),
        Err(InvalidPublication::NotJson { .. }) => assert!(value.is_err()),
        Err(_) => {}
    }
    match parse_many(data) {
        Ok(publications) => {
            assert!(parsed.is_ok() || data.trim_ascii_start().starts_with(b"["), "{publications:?}")
        }
        Err((index, invalid)) => {
            assert!(
                index.is_none()
                    || !matches!(invalid, InvalidPublication::NotJson { .. } | InvalidPublication::NotUtf8)
            );
            assert!(parsed.is_err());
        }
    }
}

fn agrees(publication: &PublicationRef<'_>, value: &Value) -> bool {
    room::from_json(&value["room"], room::MAX_BYTES).as_deref() == Ok(&*publication.room)
        && value["event"].as_str() == Some(&*publication.event)
}
