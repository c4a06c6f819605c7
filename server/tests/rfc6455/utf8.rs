//! Autobahn 6: text is UTF-8 for every split, and invalid UTF-8 fails the connection.

use crate::echo::{check, check_end, echo, failed, text};
use crate::support::raw::{CONTINUATION, TEXT, first, last};

const VALID: &str = "4Hello-µ@ßöäüàá-UTF-8!! κόσμε 🎉\u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}";

#[tokio::test]
async fn text_cut_within_its_characters_comes_back_whole() {
    let server = echo().await;
    check(&server, "6.2.1", &[last(TEXT, VALID)], &[text(VALID)]).await;
    for cut in 0..=VALID.len() {
        let (one, other) = VALID.as_bytes().split_at(cut);
        let sent = [first(TEXT, one), last(CONTINUATION, other)];
        // One split per offset is sufficient here: the protocol crate tests the others.
        check(&server, &format!("6.2.2, cut at {cut}"), &[sent.concat()], &[text(VALID)]).await;
    }
    let mut pieces: Vec<_> = VALID.bytes().map(|byte| first(CONTINUATION, [byte])).collect();
    pieces[0][0] = TEXT;
    pieces.push(last(CONTINUATION, ""));
    check(&server, "6.2.3 and 6.2.4", &pieces, &[text(VALID)]).await;
}

#[tokio::test]
async fn invalid_utf8_fails_the_connection() {
    let server = echo().await;
    let cases: [(&str, &[u8]); 12] = [
        ("6.3.1 a surrogate", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"),
        ("6.4 beyond the last character", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited"),
        ("6.6 cut at its end", b"\xce\xba\xe1\xbd"),
        ("6.8 five bytes", b"\xf8\x88\x80\x80\x80"),
        ("6.8 six bytes", b"\xfc\x84\x80\x80\x80\x80"),
        ("6.12 a continuation alone", b"\x80"),
        ("6.12 the last continuation", b"\xbf"),
        ("6.14 a beginning alone", b"\xc0 \xc1 "),
        ("6.17 bytes that never occur in UTF-8", b"\xfe\xff"),
        ("6.18 too long for a slash", b"\xc0\xaf"),
        ("6.19 too long for the largest", b"\xe0\x9f\xbf"),
        ("6.20 too long for nothing", b"\xf0\x80\x80\x80"),
    ];
    for (name, bytes) in cases {
        let sent = [last(TEXT, "4fine"), last(TEXT, [b"4", bytes].concat())];
        check_end(&server, name, &sent, &[text("4fine")], failed(1007, "bad_text")).await;
    }
}

/// The server closes the connection at the first invalid fragment, not at the end of the message.
#[tokio::test]
async fn invalid_utf8_fails_at_the_fragment_that_contains_it() {
    let server = echo().await;
    let sent = [first(TEXT, b"4\xce\xba\xf4"), first(CONTINUATION, b"\x90")];
    check_end(&server, "6.4.1", &sent, &[], failed(1007, "bad_text")).await;
}

#[tokio::test]
async fn binary_message_may_contain_any_bytes() {
    let server = echo().await;
    let bytes = crate::echo::NOT_UTF8;
    let sent = [last(crate::support::raw::BINARY, bytes)];
    check(&server, "binary", &sent, &[crate::echo::binary(bytes)]).await;
}
