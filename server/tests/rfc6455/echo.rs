//! A server that sends every message back, and what a case looks like on it.

use crate::support::TestServer;
use crate::support::raw::{BINARY, End, Frame, PONG, Raw};
use nodevent_server::dialect::NodEvent;
use nodevent_server::shard::Above;
use std::sync::Arc;
use std::time::Duration;

/// The longest message of the cases, and the limit.
pub(crate) const LIMIT: usize = 70_000;
/// Bytes that are no UTF-8 at any place.
pub(crate) const NOT_UTF8: [u8; 8] = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];

/// A server that sends every message back, with a ping interval longer than any test.
pub(crate) async fn echo() -> TestServer {
    let above = Above::Echo { pause: Duration::ZERO };
    let configuration =
        format!("limits: {{max_message_size: {LIMIT}, packets_per_second: 1000000}}\n/nodevent: {{}}");
    TestServer::start_with(&configuration, above, |_| Arc::new(NodEvent)).await
}

pub(crate) fn text(text: &str) -> Frame {
    Frame::text(text)
}

pub(crate) fn binary(payload: impl AsRef<[u8]>) -> Frame {
    Frame { opcode: BINARY, payload: payload.as_ref().to_vec() }
}

pub(crate) fn pong(payload: impl AsRef<[u8]>) -> Frame {
    Frame { opcode: PONG, payload: payload.as_ref().to_vec() }
}

/// Opens a connection per way of cutting what is `sent`: as one write, and one write per frame; short cases also
/// byte by byte. Every time the server must answer exactly `heard`, and nothing else before what comes last.
pub(crate) async fn check(server: &TestServer, name: &str, sent: &[Vec<u8>], heard: &[Frame]) {
    let whole = sent.concat();
    let mut ways = vec![vec![whole.clone()], sent.to_vec()];
    if whole.len() < 300 {
        ways.push(whole.chunks(1).map(<[u8]>::to_vec).collect());
    }
    for way in ways {
        let mut raw = Raw::opened(server).await;
        for piece in &way {
            raw.send(piece).await;
        }
        // Shows that nothing else was answered before: the server keeps the order.
        raw.send(crate::support::raw::last(BINARY, b"fence")).await;
        for frame in heard.iter().chain([&binary(b"fence")]) {
            let came = raw.frame().await;
            assert_eq!(came.as_ref(), Some(frame), "{name}, in {} pieces", way.len());
        }
    }
}

/// The same for what ends the connection: `heard` comes before the end.
pub(crate) async fn check_end(server: &TestServer, name: &str, sent: &[Vec<u8>], heard: &[Frame], end: End) {
    for way in [vec![sent.concat()], sent.to_vec()] {
        let mut raw = Raw::opened(server).await;
        for piece in &way {
            raw.send(piece).await;
        }
        for frame in heard {
            assert_eq!(raw.frame().await.as_ref(), Some(frame), "{name}, in {} pieces", way.len());
        }
        assert_eq!(raw.ended().await, end, "{name}, in {} pieces", way.len());
    }
}

/// The end that a violation of the protocol comes to.
pub(crate) fn failed(code: u16, reason: &str) -> End {
    End::Closed(Some(code), reason.to_owned())
}
