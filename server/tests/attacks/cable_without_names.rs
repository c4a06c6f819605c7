//! Ten thousand connections of Action Cable without a cookie, a token or a signed name. They receive no messages, hold few
//! resources, and are closed in time.

use crate::attacker;
use crate::process::Process;
use crate::support::cable::{Cable, STREAM_KEY, message, turbo};
use crate::support::raw::{CLOSE, PING, PONG, Raw, TEXT, handshake_request, last};
use crate::support::wait::{in_time, until};
use futures_util::future::join_all;
use nodevent_protocol::action_cable::signed_name::sign;
use nodevent_protocol::key::Secret;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 10_000;
/// Addresses from which they come, so that no limit of an address ends them early.
const ADDRESSES: usize = 200;
/// Connections that are opened at a time.
const AT_A_TIME: usize = 100;
/// What one of them may hold in the server. Bytes.
const MAX_BYTES: u64 = 8 * 1024;

/// Opens a WebSocket from an address of this machine.
async fn open(server: SocketAddr, number: usize) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    let address = number % ADDRESSES;
    socket.bind(SocketAddr::from(([127, 0, 9, 1 + address as u8], 0))).unwrap();
    let mut stream = in_time("a connection", socket.connect(server)).await.unwrap();
    let mut request = handshake_request("");
    request.path = "/cable".to_owned();
    let request = request.header("Sec-WebSocket-Protocol", "actioncable-v1-json, actioncable-unsupported");
    stream.write_all(&request.encode(&server.to_string())).await.unwrap();
    Raw::after_handshake(Box::new(stream)).await
}

/// What an attacker tries, without what the application signs.
fn attempts(number: usize) -> Vec<String> {
    let forged = sign("posts", &Secret::new(format!("a key that is guessed {number}")).unwrap());
    let identifiers = [
        json!({"channel": "Turbo::StreamsChannel", "signed_stream_name": forged}),
        json!({"channel": "Turbo::StreamsChannel", "signed_stream_name": "posts"}),
        json!({"channel": "$pubsub", "stream_name": "posts"}),
        json!({"channel": "PostsChannel", "id": number}),
    ];
    let subscribe =
        |identifier: &Value| json!({"command": "subscribe", "identifier": identifier.to_string()}).to_string();
    let mut commands: Vec<String> = identifiers.iter().map(subscribe).collect();
    let posts = json!({"channel": "PostsChannel"}).to_string();
    commands.push(json!({"command": "message", "identifier": posts, "data": "{}"}).to_string());
    commands
}

#[test]
fn connections_without_a_signed_name_receive_nothing_hold_little_and_are_closed_in_time() {
    attacker::run(async {
        let cable =
            format!("/cable: {{protocol: action_cable, action_cable: {{signed_stream_key: {STREAM_KEY}}}}}");
        let process = Process::start(&format!("limits: {{connect_timeout: 45s}}\n{cable}\n")).await;
        let server: SocketAddr = process.site.address.parse().unwrap();
        let identifier = turbo("posts");
        let mut viewer = Cable::rails(&process.site).await;
        viewer.subscribe(&identifier).await;
        let before = process.resident();
        let mut attackers = Vec::with_capacity(CONNECTIONS);
        for first in (0..CONNECTIONS).step_by(AT_A_TIME) {
            attackers.extend(join_all((first..first + AT_A_TIME).map(|number| open(server, number))).await);
        }
        process.metric_is("nodevent_connections_opened_total", CONNECTIONS as i64 + 1).await;
        // As many files as this machine lets a process open, less than all may be open without a subscription.
        let displaced = process.metric("nodevent_disconnects_total{reason=\"displaced\"}").await;
        assert!(displaced < CONNECTIONS as i64 / 2, "{displaced}");
        let mut reading = JoinSet::new();
        for (number, mut attacker) in attackers.into_iter().enumerate() {
            reading.spawn(async move {
                for command in attempts(number) {
                    // It may be closed already.
                    let _ = attacker.try_send(last(TEXT, command)).await;
                }
                let mut rejected = 0;
                while let Some(frame) = attacker.frame().await.filter(|frame| frame.opcode != CLOSE) {
                    if frame.opcode == PING {
                        let _ = attacker.try_send(last(PONG, [])).await;
                        continue;
                    }
                    let text: Value = serde_json::from_slice(&frame.payload).unwrap();
                    let kind = text["type"].as_str().unwrap_or_default();
                    assert!(["welcome", "ping", "reject_subscription", "disconnect"].contains(&kind), "{text}");
                    rejected += i64::from(kind == "reject_subscription");
                }
                rejected
            });
        }
        let rejections = 4 * (CONNECTIONS as i64 - displaced);
        until("all attempts are rejected", async || {
            process.metric("nodevent_rejected_joins_total").await >= rejections
        })
        .await;
        let each = process.resident().saturating_sub(before) / CONNECTIONS as u64;
        assert!(each <= MAX_BYTES, "{each} bytes for each connection");
        // The viewer does not notice them.
        for number in 0..20 {
            process.site.emit("/cable", "posts", "e", number).await;
            assert_eq!(viewer.next().await, message(&identifier, number));
        }
        let mut are_closed = std::pin::pin!(process.metric_is("nodevent_connections", 1));
        loop {
            tokio::select! {
                () = &mut are_closed => break,
                // It replies to pings meanwhile.
                frame = viewer.next_or_ping() => assert_eq!(frame["type"], "ping", "{frame}"),
            }
        }
        let closed = process.metric("nodevent_disconnects_total{reason=\"connect_timeout\"}").await;
        assert_eq!(closed + displaced, CONNECTIONS as i64);
        let counts = reading.join_all().await;
        assert_eq!(counts.iter().sum::<i64>(), rejections);
        viewer.receives_nothing_else().await;
    });
}
