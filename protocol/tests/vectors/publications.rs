//! `publications.json`: valid and invalid publications (N-23, N-24, N-26 to N-29, N-32).

use crate::vector::{list, load, text};
use nodevent_protocol::publication::{marks_of, parse};
use nodevent_protocol::targets::{Published, parse as parse_targets, parse_many};

#[test]
fn every_publication_yields_its_room_event_and_text() {
    for vector in list(&load("publications.json"), "accepted") {
        let publication = parse(text(vector, "published").as_bytes()).unwrap_or_else(|e| panic!("{vector}: {e}"));
        assert_eq!(publication.topic, text(vector, "room"), "{vector}");
        assert_eq!(publication.event, text(vector, "event"), "{vector}");
        assert_eq!(publication.text, text(vector, "text"), "{vector}");
        let except = publication.marks.except.map(|page| page.to_string());
        assert_eq!(except.as_deref(), vector.get("except").map(|page| page.as_str().unwrap()), "{vector}");
        assert_eq!(marks_of(publication.text), publication.marks, "{vector}");
    }
}

#[test]
fn every_other_text_is_invalid_for_its_reason() {
    for vector in list(&load("publications.json"), "refused") {
        let invalid = parse(text(vector, "published").as_bytes()).expect_err(text(vector, "name"));
        assert_eq!(invalid.reason(), text(vector, "reason"), "{vector}");
    }
}

#[test]
fn body_is_one_publication_or_an_array_or_refused_at_an_index() {
    for vector in list(&load("publications.json"), "many") {
        let result = parse_many(text(vector, "body").as_bytes());
        match vector.get("texts") {
            Some(texts) => {
                let publications = result.unwrap_or_else(|(_, invalid)| panic!("{vector}: {invalid}"));
                let found: Vec<_> = publications.iter().map(|publication| publication.text()).collect();
                let expected: Vec<_> =
                    texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
                assert_eq!(found, expected, "{vector}");
            }
            None => {
                let (index, invalid) = result.expect_err(text(vector, "name"));
                let expected = vector.get("index").map(|index| index.as_u64().unwrap() as usize);
                assert_eq!((index, invalid.reason()), (expected, text(vector, "reason")), "{vector}");
            }
        }
    }
}

#[test]
fn publication_with_several_targets_is_separated_into_copies() {
    for vector in list(&load("publications.json"), "several") {
        let parsed =
            parse_targets(text(vector, "published").as_bytes()).unwrap_or_else(|e| panic!("{vector}: {e}"));
        let id = u64::from_str_radix(text(vector, "id"), 16).unwrap();
        let copies: Vec<String> = match parsed {
            Published::One(one) => vec![one.text.to_owned()],
            Published::Several(several) => (0..several.count()).map(|copy| several.text(copy, id)).collect(),
        };
        let expected: Vec<_> =
            vector["copies"].as_array().unwrap().iter().map(|copy| copy.as_str().unwrap()).collect();
        assert_eq!(copies, expected, "{vector}");
    }
}
