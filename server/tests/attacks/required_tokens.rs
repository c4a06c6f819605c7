//! A namespace is open, and requires tokens: its rooms are for every user, and for no one else. An anonymous client reads
//! them over HTTP, where it has no connection whose token could be missing.
//!
//! Siblings: every resource of a room; keys, forged and expired tokens, tokens of another namespace; each place for a token.

use crate::attacker;
use crate::process::Process;
use crate::support::tokens::{TOKEN_SECRET, now, token, token_with};
use crate::support::wait::in_time;
use crate::support::{Request, Response};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

/// What no one else may read.
const TEXT: &str = "for users only";

async fn exchange(process: &Process, request: &Request) -> Response {
    let mut stream = process.site.dial().await;
    in_time("a response", request.exchange(&mut stream, &process.site.address)).await.expect("HTTP")
}

async fn publish(process: &Process) {
    let body = json!({"room": "r", "event": "e", "message": TEXT}).to_string();
    assert_eq!(exchange(process, &Request::post("/api/nodevent/emit", body)).await.status, 200);
}

/// Reads a stream of events up to a text.
async fn read_events(process: &Process, request: &Request, until: &str) -> String {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = process.site.dial().await;
    stream.write_all(&request.encode(&process.site.address)).await.expect("a socket");
    let mut read = Vec::new();
    in_time("events", async {
        while !String::from_utf8_lossy(&read).contains(until) {
            assert_ne!(
                stream.read_buf(&mut read).await.expect("a socket"),
                0,
                "{}",
                String::from_utf8_lossy(&read)
            );
        }
    })
    .await;
    String::from_utf8_lossy(&read).into_owned()
}

#[test]
fn rooms_for_users_are_not_read_without_a_token() {
    attacker::run(async {
        let process = Process::start(&format!(
            "/nodevent:\n  open: true\n  history: {{size: 10}}\n  presence: true\n  \
             token: {{secret: {TOKEN_SECRET}, required: true, header: X-Token, cookie: t, query: token, leeway: 0s, grace: 100ms}}\n"
        ))
        .await;
        publish(&process).await;
        let user = || token(json!({"sub": "ann"}));
        let rejected = [
            String::new(),
            "nonsense".to_owned(),
            format!("{}:{}", "0".repeat(64), 4_102_444_800_000_u64),
            token_with(json!({"sub": "ann"}), "another-secret-of-more-than-32-bytes!!"),
            token(json!({"sub": "ann", "exp": now() - 60.0})),
            token(json!({"sub": "ann", "ns": "/other"})),
            token(json!({"room": "another"})),
        ];
        for resource in ["history", "presence", "events"] {
            let path = format!("/api/nodevent/rooms/r/{resource}");
            for key in &rejected {
                for request in [
                    Request::get(&path).header("Authorization", &format!("Bearer {key}")),
                    Request::get(&path).header("X-Token", key),
                    Request::get(&path).header("Cookie", &format!("t={key}")),
                    Request::get(&format!("{path}?key={key}")),
                    Request::get(&format!("{path}?token={key}")),
                ] {
                    let response = exchange(&process, &request).await;
                    assert_eq!(response.status, 403, "{resource} {key} {}", response.text());
                    assert!(!response.text().contains(TEXT));
                }
            }
        }
        let (history, events) = ("/api/nodevent/rooms/r/history", "/api/nodevent/rooms/r/events?since=x:0");
        for request in [
            Request::get(history).header("Authorization", &format!("Bearer {}", user())),
            Request::get(history).header("X-Token", &user()),
            Request::get(history).header("Cookie", &format!("t={}", user())),
            Request::get(&format!("{history}?key={}", user())),
            Request::get(&format!("{history}?token={}", user())),
            Request::get(&format!("{history}?key={}", token(json!({"room": "r"})))),
        ] {
            let response = exchange(&process, &request).await;
            assert!(response.status == 200 && response.text().contains(TEXT), "{request:?} {}", response.text());
        }
        for key in [user(), token(json!({"room": "r"}))] {
            let request = Request::get(&format!("{events}&key={key}"));
            read_events(&process, &request, "event: joined").await;
        }
        // A stream ends with its token.
        let short = token(json!({"sub": "ann", "exp": now() + 4.0}));
        read_events(&process, &Request::get(&format!("{events}&key={short}")), "\r\n0\r\n\r\n").await;
    });
}
