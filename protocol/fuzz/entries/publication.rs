//! What is published: one publication, or a body of several.

use nodevent_protocol::publication::{InvalidPublication, PublicationRef, marks_of, parse};
use nodevent_protocol::room;
use nodevent_protocol::targets::{Published, parse_many};
use nodevent_protocol::topic::{self, Topic};
use serde_json::Value;

/// A publication is what any JSON reader reads, and the same alone and in an array.
pub(crate) fn run(data: &[u8]) {
    let parsed = parse(data);
    let value = serde_json::from_slice::<Value>(data);
    match &parsed {
        Ok(publication) => {
            match Topic::parse(&publication.topic) {
                Topic::Room(room) => room::check(room, room::MAX_BYTES).unwrap(),
                Topic::User(user) => assert!(topic::is_user(user)),
                Topic::All => {}
            }
            assert_eq!(marks_of(publication.text), publication.marks);
            assert!(!publication.event.is_empty());
            assert!(publication.text.starts_with('{') && publication.text.ends_with('}'));
            assert_eq!(parse(publication.text.as_bytes()).as_ref(), Ok(publication));
            let array = format!("[{0},\n{0} ]", publication.text);
            let many = parse_many(array.as_bytes()).unwrap();
            assert!(many.len() == 2 && many.iter().all(|one| one.text() == publication.text));
            assert!(many.iter().all(|one| one.topics() == [publication.topic.clone()]));
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
            let has_several = |one: &Published<'_>| matches!(one, Published::Several(_));
            assert!(
                parsed.is_ok() || publications.iter().any(has_several) || data.trim_ascii_start().starts_with(b"["),
                "{publications:?}"
            );
            publications.iter().for_each(copies_are_publications);
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

/// Each copy of a publication with several targets is a publication to its topic.
fn copies_are_publications(published: &Published<'_>) {
    let Published::Several(several) = published else { return };
    for (copy, topic) in published.topics().iter().enumerate() {
        let text = several.text(copy, 0xab);
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!((&parsed.topic, &parsed.event), (topic, &published.event()));
        assert_eq!(several.copy(copy, &text), Ok(parsed));
        assert!(text.len() <= published.text().len() + 6 * topic.len() + 64);
    }
}

fn agrees(publication: &PublicationRef<'_>, value: &Value) -> bool {
    let topic = match (&value["room"], &value["user"]) {
        (Value::Null, Value::Null) => Ok(topic::ALL.to_owned()),
        (Value::Null, user) => room::from_json(user, room::MAX_BYTES).map(|user| topic::of_user(&user)),
        (room, _) => room::from_json(room, room::MAX_BYTES),
    };
    topic.as_deref() == Ok(&*publication.topic) && value["event"].as_str() == Some(&*publication.event)
}
