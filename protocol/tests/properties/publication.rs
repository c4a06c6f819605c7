//! Publications keep their text, whatever they contain.

use super::json::{value, white};
use nodevent_protocol::publication::{parse, parse_many};
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "../../fuzz/entries/publication.rs"]
mod entry;

/// The text of an object with a room, an event and more members, in any order and with white space anywhere.
fn object(room: &str, event: &str) -> impl Strategy<Value = String> + use<> {
    let (room, event) = (json!(room).to_string(), json!(event).to_string());
    let more = proptest::collection::vec((any::<String>(), value()), 0..4);
    let members = more.prop_map(move |more| {
        let free = |(name, value): (String, Value)| {
            (!matches!(&*name, "room" | "event")).then(|| (json!(name).to_string(), value.to_string()))
        };
        let mut members: Vec<_> = more.into_iter().filter_map(free).collect();
        members.push((r#""room""#.to_owned(), room.clone()));
        members.push((r#""event""#.to_owned(), event.clone()));
        members
    });
    (members.prop_shuffle(), white(), white()).prop_map(|(members, before, after)| {
        let pairs = members.iter().map(|(name, value)| format!("{before}{name}{after}:{before}{value}{after}"));
        format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
    })
}

fn room_event_and_object() -> impl Strategy<Value = (String, String, String)> {
    (".{1,60}", ".{1,60}").prop_flat_map(|(room, event)| {
        let object = object(&room, &event);
        (Just(room), Just(event), object)
    })
}

proptest! {
    #[test]
    fn publication_keeps_its_text_and_names_its_room_and_event(
        (room, event, object) in room_event_and_object(), before in white(), after in white(),
    ) {
        // N-23, N-24, N-32
        let published = format!("{before}{object}{after}");
        let publication = parse(published.as_bytes()).unwrap();
        prop_assert_eq!(&publication.room, &room);
        prop_assert_eq!(&publication.event, &event);
        prop_assert_eq!(publication.text, object);
    }

    #[test]
    fn several_publications_keep_their_texts_and_order(
        all in proptest::collection::vec(room_event_and_object(), 0..6), white in white(),
    ) {
        let texts: Vec<_> = all.into_iter().map(|(_, _, object)| object).collect();
        let body = format!("[{white}{}{white}]", texts.join(&format!("{white},")));
        let parsed = parse_many(body.as_bytes()).unwrap();
        prop_assert_eq!(parsed.iter().map(|publication| publication.text).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn truncated_publication_is_invalid((_, _, object) in room_event_and_object(), at: prop::sample::Index) {
        // N-26
        let cut = at.index(object.len());
        prop_assert!(parse(&object.as_bytes()[..cut]).is_err());
    }

    #[test]
    fn every_json_text_is_a_publication_or_invalid(value in value()) {
        // N-27
        entry::run(value.to_string().as_bytes());
    }

    #[test]
    fn every_byte_string_is_a_publication_or_invalid(bytes: Vec<u8>, text in r#"[\[\]{}",:\\ a-e0-9u]{0,60}"#) {
        entry::run(&bytes);
        entry::run(text.as_bytes());
    }
}
