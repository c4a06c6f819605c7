//! Publications keep their text, whatever they contain.

use super::json::{value, white};
use nodevent_protocol::publication::parse;
use nodevent_protocol::targets::{Published, parse_many};
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
            (!matches!(&*name, "room" | "rooms" | "user" | "users" | "broadcast" | "event" | "except"))
                .then(|| (json!(name).to_string(), value.to_string()))
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

/// Targets, and their members in a publication.
fn targets() -> impl Strategy<Value = (Vec<String>, Vec<String>, bool)> {
    let names = || proptest::collection::vec("[^\\p{Cc}]{1,20}", 0..5);
    (names(), names(), any::<bool>()).prop_filter("it has a target", |(users, rooms, broadcast)| {
        !users.is_empty() || !rooms.is_empty() || *broadcast
    })
}

fn room_event_and_object() -> impl Strategy<Value = (String, String, String)> {
    ("[^\u{1}\n].{0,59}", ".{1,60}").prop_flat_map(|(room, event)| {
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
        prop_assert_eq!(&publication.topic, &room);
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
        prop_assert_eq!(parsed.iter().map(|publication| publication.text()).collect::<Vec<_>>(), texts);
    }

    /// What a publisher addressed is what the copies address, once each and in the order users, rooms, all.
    #[test]
    fn copies_have_the_targets_of_their_publication_and_nothing_of_the_others(
        (users, rooms, broadcast) in targets(), message in value(), id: u64,
    ) {
        // T-15, T-16, T-17, T-20
        let mut published = json!({"event": "e", "message": message});
        for (name, list) in [("users", &users), ("rooms", &rooms)] {
            match &**list {
                [] => {}
                [one] => published[name] = json!(one),
                several => published[name] = json!(several),
            }
        }
        if broadcast {
            published["broadcast"] = json!(true);
        }
        let text = published.to_string();
        let parsed = parse_many(text.as_bytes()).unwrap();
        let Published::Several(several) = &parsed[0] else { panic!("not separated") };
        let copies: Vec<Value> =
            (0..several.count()).map(|copy| serde_json::from_str(&several.text(copy, id)).unwrap()).collect();
        let mut expected = Vec::new();
        let named = users.iter().map(|user| ("user", json!(user))).chain(rooms.iter().map(|room| ("room", json!(room))));
        for (name, value) in named.chain(broadcast.then_some(("broadcast", json!(true)))) {
            let target = json!({name: value});
            if !expected.contains(&target) {
                expected.push(target);
            }
        }
        for copy in &copies {
            prop_assert_eq!(&copy["event"], "e");
            prop_assert_eq!(&copy["message"], &published["message"]);
            prop_assert_eq!(copy.get("publication_id").is_some(), copies.len() > 1);
            prop_assert_eq!(&copy["publication_id"], &copies[0]["publication_id"]);
        }
        let targets: Vec<Value> = copies
            .into_iter()
            .map(|copy| {
                let Value::Object(mut copy) = copy else { panic!("not an object") };
                copy.retain(|name, _| ["user", "users", "room", "rooms", "broadcast"].contains(&&**name));
                copy.into()
            })
            .collect();
        prop_assert_eq!(targets, expected);
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
