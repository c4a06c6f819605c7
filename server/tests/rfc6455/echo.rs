//! An echo server, and the execution of a case.

use crate::engine;
use crate::support::TestServer;
use crate::support::raw::{BINARY, End, Frame, PONG, Raw};
use std::time::Duration;

/// The longest message of the cases, and the limit.
pub(crate) const LIMIT: usize = 70_000;
/// Bytes that are not UTF-8 at any offset.
pub(crate) const NOT_UTF8: [u8; 8] = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];

/// Starts a server that echoes every message, with a ping interval longer than any test.
pub(crate) async fn echo() -> TestServer {
    let configuration =
        format!("limits: {{max_message_size: {LIMIT}, packets_per_second: 1000000}}\n/nodevent: {{}}");
    TestServer::start_with(&configuration, |mount| engine::endpoint(mount, Duration::ZERO, false)).await
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

/// Sends a case on one connection per split: in one write, in one write per frame, and byte by byte if it is short.
/// Each time the server must reply with exactly the `expected` frames.
pub(crate) async fn check(server: &TestServer, name: &str, sent: &[Vec<u8>], expected: &[Frame]) {
    let whole = sent.concat();
    let mut splits = vec![vec![whole.clone()], sent.to_vec()];
    if whole.len() < 300 {
        splits.push(whole.chunks(1).map(<[u8]>::to_vec).collect());
    }
    for split in splits {
        let mut raw = Raw::opened(server).await;
        for piece in &split {
            raw.send(piece).await;
        }
        // The server keeps the order, so a reply to this frame shows that there is no further reply.
        raw.send(crate::support::raw::last(BINARY, b"fence")).await;
        for frame in expected.iter().chain([&binary(b"fence")]) {
            let received = raw.frame().await;
            assert_eq!(received.as_ref(), Some(frame), "{name}, in {} pieces", split.len());
        }
    }
}

/// Does the same for a case that ends the connection: the `expected` frames come before the end.
pub(crate) async fn check_end(server: &TestServer, name: &str, sent: &[Vec<u8>], expected: &[Frame], end: End) {
    for split in [vec![sent.concat()], sent.to_vec()] {
        let mut raw = Raw::opened(server).await;
        for piece in &split {
            raw.send(piece).await;
        }
        for frame in expected {
            assert_eq!(raw.frame().await.as_ref(), Some(frame), "{name}, in {} pieces", split.len());
        }
        assert_eq!(raw.ended().await, end, "{name}, in {} pieces", split.len());
    }
}

/// The end of a connection that violated the protocol.
pub(crate) fn failed(code: u16, reason: &str) -> End {
    End::Closed(Some(code), reason.to_owned())
}
