//! The text of a publication around the JSON of its message.

#[path = "../src/message.rs"]
mod message;

use message::{is_json, is_plain, publication, size};

#[test]
fn the_text_is_that_of_the_parts_and_has_the_announced_size() {
    let text = publication(b"Room_12", b"update", br#"{"a":[1]}"#).concat();
    assert_eq!(text, br#"{"room":"Room_12","event":"update","message":{"a":[1]}}"#);
    assert_eq!(text.len(), size(b"Room_12", b"update", br#"{"a":[1]}"#));
}

#[test]
fn only_names_whose_json_is_the_name_in_quotes_are_plain() {
    for name in ["a", "Discussion_12", "a b", "a/b,c:d%2F", "it's", "__proto__", "~"] {
        assert!(is_plain(name.as_bytes()), "{name}");
    }
    for name in [
        "",
        " ",
        " a",
        "\ta",
        "a\"b",
        "a\\b",
        "a\nb",
        "a\u{0}b",
        "\u{1}a",
        "del\u{7f}",
        "<b>",
        "a&b",
        "ü",
        "\u{2028}",
    ] {
        assert!(!is_plain(name.as_bytes()), "{name:?}");
    }
}

#[test]
fn a_message_is_one_value_that_is_not_nested_too_deeply() {
    let nested = |depth: usize| format!("{}0{}", "[".repeat(depth), "]".repeat(depth));
    for json in ["null", "1", " {} ", r#""[[[""#, r#"{"a\"[":["]"]}"#, &nested(99), r#"["\\",[]]"#] {
        assert!(is_json(json.as_bytes()), "{json}");
    }
    for json in ["", "1}", r#"1,"room":"other""#, "no json", "[", &nested(100), "{\"a\":1}}"] {
        assert!(!is_json(json.as_bytes()), "{json}");
    }
    assert!(!is_json(b"\"\xff\""));
}
