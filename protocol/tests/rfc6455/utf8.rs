//! Autobahn 6: UTF-8, whole, in fragments and cut within a character.

use crate::case::{
    BINARY, CONTINUATION, LIMIT, Open, PING, Received, TEXT, Violated, check, first, frame, last, run, text,
};
use nodevent_protocol::websocket::Violation;

/// Valid text, by the sections of Autobahn.
const VALID: &[(&str, &[u8])] = &[
    ("6.1.1 empty", b""),
    ("6.2 mixed", "Hello-µ@ßöäüàá-UTF-8!!".as_bytes()),
    ("6.5 the word of Kuhn's test", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"),
    ("6.7.1 first of one byte", b"\x00"),
    ("6.7.2 first of two bytes", b"\xc2\x80"),
    ("6.7.3 first of three bytes", b"\xe0\xa0\x80"),
    ("6.7.4 first of four bytes", b"\xf0\x90\x80\x80"),
    ("6.9.1 last of one byte", b"\x7f"),
    ("6.9.2 last of two bytes", b"\xdf\xbf"),
    ("6.9.3 last of three bytes", b"\xef\xbf\xbf"),
    ("6.9.4 last of all", b"\xf4\x8f\xbf\xbf"),
    ("6.11.1 before the surrogates", b"\xed\x9f\xbf"),
    ("6.11.2 after the surrogates", b"\xee\x80\x80"),
    ("6.11.3 replacement character", b"\xef\xbf\xbd"),
    ("6.22 non-characters", b"\xef\xbf\xbe\xf0\x9f\xbf\xbe\xf0\x9f\xbf\xbf\xf3\xaf\xbf\xbf\xf4\x8f\xbf\xbe"),
    ("6.23 specials", b"\xef\xbf\xb9\xef\xbf\xba\xef\xbf\xbb\xef\xbf\xbc\xef\xbb\xbf"),
];

/// Text that is invalid regardless of what follows, with the index of its first invalid byte.
const INVALID: &[(&str, &[u8], usize)] = &[
    ("6.3 a surrogate in the middle", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 12),
    ("6.4 beyond the last character", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 12),
    ("6.8.1 first of five bytes", b"\xf8\x88\x80\x80\x80", 0),
    ("6.8.2 first of six bytes", b"\xfc\x84\x80\x80\x80\x80", 0),
    ("6.10.1 last of four bytes", b"\xf7\xbf\xbf\xbf", 0),
    ("6.10.2 last of five bytes", b"\xfb\xbf\xbf\xbf\xbf", 0),
    ("6.10.3 last of six bytes", b"\xfd\xbf\xbf\xbf\xbf\xbf", 0),
    ("6.11.5 beyond the last", b"\xf4\x90\x80\x80", 1),
    ("6.12.1 a continuation", b"\x80", 0),
    ("6.12.2 the last continuation", b"\xbf", 0),
    ("6.12.3 two of them", b"\x80\xbf", 0),
    ("6.12.8 all of them", b"\x80\x81\x82\x83\xbd\xbe\xbf", 0),
    ("6.13.1 starts of two with spaces", b"\xc2 \xc3 ", 1),
    ("6.13.2 starts of three with spaces", b"\xe1 \xe2 ", 1),
    ("6.13.3 starts of four with spaces", b"\xf1 \xf2 ", 1),
    ("6.14 cut short, then another", b"\xdf\xf0\x90\x80", 1),
    ("6.15 all cut short", b"\xe0\xa0\xf0\x90\x80\xc2", 2),
    ("6.16.1 impossible byte", b"\xfe", 0),
    ("6.16.2 impossible byte", b"\xff", 0),
    ("6.16.3 impossible bytes", b"\xfe\xfe\xff\xff", 0),
    ("6.17.1 overlong solidus in two", b"\xc0\xaf", 0),
    ("6.17.2 overlong solidus in three", b"\xe0\x80\xaf", 1),
    ("6.17.3 overlong solidus in four", b"\xf0\x80\x80\xaf", 1),
    ("6.17.4 overlong solidus in five", b"\xf8\x80\x80\x80\xaf", 0),
    ("6.18.1 largest overlong in two", b"\xc1\xbf", 0),
    ("6.18.2 largest overlong in three", b"\xe0\x9f\xbf", 1),
    ("6.18.3 largest overlong in four", b"\xf0\x8f\xbf\xbf", 1),
    ("6.19.1 overlong NUL in two", b"\xc0\x80", 0),
    ("6.19.2 overlong NUL in three", b"\xe0\x80\x80", 1),
    ("6.19.3 overlong NUL in four", b"\xf0\x80\x80\x80", 1),
    ("6.20.1 first high surrogate", b"\xed\xa0\x80", 1),
    ("6.20.4 last low surrogate", b"\xed\xbf\xbf", 1),
    ("6.21.1 a pair of surrogates", b"\xed\xa0\x80\xed\xb0\x80", 1),
];

#[test]
fn valid_text_is_received_whole_in_two_fragments_and_by_the_byte() {
    for &(name, bytes) in VALID {
        let received = [text(std::str::from_utf8(bytes).unwrap())];
        check(name, &[last(TEXT, bytes)], &received, Open);
        for cut in 0..=bytes.len() {
            let sent = [first(TEXT, &bytes[..cut]), last(PING, ""), last(CONTINUATION, &bytes[cut..])];
            check(name, &sent, &[Received::Ping(vec![]), received[0].clone()], Open);
        }
        let mut sent = vec![first(TEXT, "")];
        sent.extend(bytes.iter().map(|byte| first(CONTINUATION, [*byte])));
        sent.push(last(CONTINUATION, ""));
        check(name, &sent, &received, Open);
    }
}

#[test]
fn invalid_text_fails_the_connection_whole_and_in_two_fragments() {
    for &(name, bytes, _) in INVALID {
        check(name, &[last(TEXT, bytes)], &[], Violated(Violation::BadText));
        for cut in 0..=bytes.len() {
            let sent = [first(TEXT, &bytes[..cut]), last(CONTINUATION, &bytes[cut..])];
            check(name, &sent, &[], Violated(Violation::BadText));
        }
    }
}

#[test]
fn invalid_text_fails_at_its_first_wrong_byte_and_not_at_its_end() {
    // 6.4: in one announced frame of which only the first part has arrived, and in an unfinished message.
    for &(name, bytes, wrong) in INVALID {
        let head = frame(0x80 | TEXT, &[b' '; 100])[..6].to_vec();
        let mask = [head[2], head[3], head[4], head[5]];
        let masked: Vec<_> = bytes.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
        for (what, start, next) in [
            ("a frame", [head.clone(), masked[..wrong].to_vec()].concat(), vec![masked[wrong]]),
            ("fragments", first(TEXT, &bytes[..wrong]), first(CONTINUATION, [bytes[wrong]])),
        ] {
            assert_eq!(run(&start, start.len(), LIMIT), (vec![], Open), "{name}: {what}");
            let sent = [start, next].concat();
            assert_eq!(run(&sent, sent.len(), LIMIT).1, Violated(Violation::BadText), "{name}: {what}");
        }
    }
}

#[test]
fn text_that_ends_within_a_character_fails_the_connection() {
    // 6.6 tests every prefix of this word: it is valid text if it ends between two characters.
    let word = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf0\x9f\x98\x80";
    for cut in 0..=word.len() {
        let sent = [last(TEXT, &word[..cut])];
        match std::str::from_utf8(&word[..cut]) {
            Ok(valid) => check("6.6", &sent, &[text(valid)], Open),
            Err(_) => check("6.6", &sent, &[], Violated(Violation::BadText)),
        }
        let sent = [first(TEXT, &word[..cut]), last(CONTINUATION, "")];
        match std::str::from_utf8(&word[..cut]) {
            Ok(valid) => check("6.6", &sent, &[text(valid)], Open),
            Err(_) => check("6.6", &sent, &[], Violated(Violation::BadText)),
        }
    }
}

#[test]
fn binary_message_need_not_be_text() {
    for &(name, bytes, _) in INVALID {
        check(name, &[last(BINARY, bytes)], &[Received::Binary(bytes.to_vec())], Open);
    }
}
