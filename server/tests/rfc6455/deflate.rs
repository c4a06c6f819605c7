//! RFC 7692 over real sockets: which messages may be compressed, with the examples of section 7.2.3. What is replied to one
//! connection is never compressed.

use crate::echo::{LIMIT, failed};
use crate::engine;
use crate::support::raw::{
    BINARY, CLOSE, CONTINUATION, DEFLATED, End, Frame, PING, PONG, Raw, TEXT, first, frame, handshake_request, last,
};
use crate::support::{TestServer, raw};
use std::time::Duration;

const OFFER: &str = "permessage-deflate; client_max_window_bits";
const ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Starts a server that echoes every message and accepts compressed ones.
async fn echo() -> TestServer {
    let configuration = format!(
        "deflate: true\nlimits: {{max_message_size: {LIMIT}, packets_per_second: 1000000, bytes_per_second: 100MB}}\n/nodevent: {{}}"
    );
    TestServer::start_with(&configuration, |mount| engine::endpoint(mount, Duration::ZERO, false)).await
}

async fn opened(server: &TestServer) -> Raw {
    let request = handshake_request("").header("Sec-WebSocket-Extensions", OFFER);
    let (response, mut raw) = Raw::respond(server, &request).await;
    assert_eq!(response.header("sec-websocket-extensions"), Some(ACCEPTED));
    let open = raw.text().await;
    assert!(open.starts_with("0{"), "{open}");
    raw
}

/// A message, compressed as clients do.
fn deflate(message: &[u8]) -> Vec<u8> {
    let mut compress = flate2::Compress::new(flate2::Compression::default(), false);
    let mut out = Vec::with_capacity(message.len() + 1000);
    compress.compress_vec(message, &mut out, flate2::FlushCompress::Sync).expect("it is compressed");
    assert_eq!(compress.total_in(), message.len() as u64);
    out.strip_suffix(&[0, 0, 0xff, 0xff]).expect("the end of a block").to_vec()
}

fn deflated(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x80 | DEFLATED | opcode, payload.as_ref())
}

/// Sends a case whole, frame by frame, and byte by byte if it is short. The server must reply with exactly these frames.
async fn check(server: &TestServer, name: &str, sent: &[Vec<u8>], expected: &[Frame]) {
    let whole = sent.concat();
    let mut splits = vec![vec![whole.clone()], sent.to_vec()];
    if whole.len() < 300 {
        splits.push(whole.chunks(1).map(<[u8]>::to_vec).collect());
    }
    for split in splits {
        let mut raw = opened(server).await;
        for piece in &split {
            raw.send(piece).await;
        }
        raw.send(last(BINARY, b"fence")).await;
        let fence = Frame { opcode: BINARY, payload: b"fence".to_vec() };
        for frame in expected.iter().chain([&fence]) {
            assert_eq!(raw.frame().await.as_ref(), Some(frame), "{name}, in {} pieces", split.len());
        }
    }
}

async fn check_end(server: &TestServer, name: &str, sent: &[Vec<u8>], expected: &[Frame], end: End) {
    for split in [vec![sent.concat()], sent.to_vec()] {
        let mut raw = opened(server).await;
        for piece in &split {
            raw.send(piece).await;
        }
        for frame in expected {
            assert_eq!(raw.frame().await.as_ref(), Some(frame), "{name}, in {} pieces", split.len());
        }
        assert_eq!(raw.ended().await, end, "{name}, in {} pieces", split.len());
    }
}

#[tokio::test]
async fn compressed_messages_are_received_whole_and_in_fragments() {
    let server = echo().await;
    let hello = |opcode| Frame { opcode, payload: b"Hello".to_vec() };
    for (name, payload) in [
        ("7.2.3.1", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..]),
        ("7.2.3.3", b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
        ("7.2.3.4", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]),
        ("7.2.3.5", &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]),
    ] {
        check(&server, name, &[deflated(BINARY, payload)], &[hello(BINARY)]).await;
        let fragments = [
            frame(DEFLATED | BINARY, &payload[..3]),
            last(PING, "p"),
            first(CONTINUATION, &payload[3..4]),
            last(CONTINUATION, &payload[4..]),
        ];
        let pong = Frame { opcode: PONG, payload: b"p".to_vec() };
        check(&server, name, &fragments, &[pong, hello(BINARY)]).await;
    }
    let empty = Frame { opcode: BINARY, payload: Vec::new() };
    check(&server, "7.2.3.6", &[deflated(BINARY, [0])], &[empty]).await;
    let text = format!("4{}☃", "text and ".repeat(5000));
    let sent = [deflated(TEXT, deflate(text.as_bytes())), last(TEXT, "4plain"), deflated(TEXT, deflate(b"4again"))];
    check(&server, "text", &sent, &[Frame::text(&text), Frame::text("4plain"), Frame::text("4again")]).await;
}

#[tokio::test]
async fn what_may_not_be_compressed_ends_the_connection() {
    let server = echo().await;
    let (text, echoed) = (deflated(TEXT, deflate(b"4fine")), [Frame::text("4fine")]);
    for opcode in [CLOSE, PING, PONG] {
        let sent = [text.clone(), deflated(opcode, "")];
        check_end(&server, "a control frame", &sent, &echoed, failed(1002, "reserved_bits")).await;
    }
    let sent = [text.clone(), frame(DEFLATED | TEXT, b"x"), deflated(CONTINUATION, "y")];
    check_end(&server, "a later fragment", &sent, &echoed, failed(1002, "reserved_bits")).await;
    let sent = [text.clone(), frame(0x80 | 0x60 | TEXT, b"x")];
    check_end(&server, "RSV2", &sent, &echoed, failed(1002, "reserved_bits")).await;
    let sent = [text.clone(), deflated(TEXT, [0xff; 20])];
    check_end(&server, "not deflate", &sent, &echoed, failed(1007, "bad_deflate")).await;
    let sent = [text.clone(), deflated(TEXT, deflate(b"4\xce\xba\xff"))];
    check_end(&server, "not UTF-8", &sent, &echoed, failed(1007, "bad_text")).await;
    let bomb = deflate(&vec![b'4'; 16 << 20]);
    check_end(&server, "a bomb", &[text.clone(), deflated(TEXT, bomb)], &echoed, failed(1009, "too_big")).await;
    let limit = deflate(&vec![b'4'; LIMIT]);
    check(
        &server,
        "at the limit",
        &[deflated(BINARY, limit)],
        &[Frame { opcode: BINARY, payload: vec![b'4'; LIMIT] }],
    )
    .await;
    let above = deflate(&vec![b'4'; LIMIT + 1]);
    check_end(&server, "above it", &[deflated(BINARY, above)], &[], failed(1009, "too_big")).await;
}

#[tokio::test]
async fn an_offer_that_cannot_be_accepted_is_declined_and_the_connection_works() {
    let server = echo().await;
    for offer in ["permessage-deflate; server_max_window_bits=10", "permessage-deflate; unknown", "x-other", "\"\""]
    {
        let request = handshake_request("").header("Sec-WebSocket-Extensions", offer);
        let (response, mut raw) = Raw::respond(&server, &request).await;
        assert_eq!(response.header("sec-websocket-extensions"), None, "{offer}");
        assert!(raw.text().await.starts_with("0{"));
        raw.send(last(TEXT, "4x")).await;
        assert_eq!(raw.frame().await, Some(Frame::text("4x")));
        raw.send(deflated(TEXT, deflate(b"4x"))).await;
        assert_eq!(raw.ended().await, failed(1002, "reserved_bits"), "{offer}");
    }
    let fallback = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
    let request = handshake_request("").header("Sec-WebSocket-Extensions", fallback);
    let (response, _raw): (_, raw::Raw) = Raw::respond(&server, &request).await;
    assert_eq!(response.header("sec-websocket-extensions"), Some(ACCEPTED));
}
