//! Joins: too many per second, too many rooms, missing and oversized room names.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::raw::{Raw, TEXT, last};
use crate::support::{Browser, Transport, is_full_run};
use serde_json::{Value, json};

fn room(room: impl Into<Value>) -> [Value; 1] {
    [json!({"room": room.into()})]
}

#[tokio::test]
async fn join_flood_is_refused_and_earlier_memberships_stay() {
    let mut server = ServerWithBystander::start(
        "limits: {joins_per_second: 5, max_rooms_per_connection: 20}\n/nodevent: {history: off}",
    )
    .await;
    let mut refused = 0;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server.site, "/nodevent", transport).await;
        let mut acks = Vec::new();
        for number in 0..40 {
            acks.push(browser.call("join", &room(format!("r{number}"))).await);
        }
        assert_eq!(acks[0], json!([null, true]));
        assert!(acks.contains(&json!(["Too many joins", false])), "{acks:?}");
        refused += acks.iter().filter(|ack| **ack != json!([null, true])).count() as i64;
        server.emit("/nodevent", "r0", "e", 1).await;
        assert_eq!(browser.next_event().await.room, "r0", "the membership from before the flood");
    }
    server.metric_is("nodevent_rejected_joins_total", refused).await;
    server.logs("join rejected namespace=\"/nodevent\" reason=\"Too many joins\"").await;
    server.bystander_is_unaffected().await;
}

/// 100,000 joins in the full run, fewer otherwise: a refused join costs no memory.
#[tokio::test]
async fn joins_beyond_the_room_limit_are_refused_in_bounded_memory() {
    // N-52
    let joins = if is_full_run() { 100_000 } else { 5_000 };
    let settings = "limits: {joins_per_second: 1000000, packets_per_second: 1000000, bytes_per_second: 100MB}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let before = resident(&server);
    let mut raw = Raw::connected(&server.site, "/nodevent").await;
    let (mut admitted, mut refused) = (0, 0);
    for batch in 0..joins / 500 {
        let packets: Vec<u8> = (batch * 500..(batch + 1) * 500)
            .flat_map(|n| last(TEXT, format!("42/nodevent,{n}[\"join\",{{\"room\":\"room-{n}\"}}]")))
            .collect();
        raw.send(packets).await;
        for n in batch * 500..(batch + 1) * 500 {
            match raw.text().await.strip_prefix(&format!("43/nodevent,{n}")) {
                Some("[null,true]") => admitted += 1,
                Some("[\"Too many rooms\",false]") => refused += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((admitted, refused), (128, joins - 128));
    server.metric_is("nodevent_rejected_joins_total", joins - 128).await;
    server.metric_is("nodevent_rooms", 129).await;
    server.logs("join rejected namespace=\"/nodevent\" reason=\"Too many rooms\"").await;
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
    raw.send_text("42/nodevent,1[\"leave\",{\"room\":\"room-0\"}]").await;
    assert_eq!(raw.text().await, "43/nodevent,1[null]");
    raw.send_text("42/nodevent,2[\"join\",{\"room\":\"another\"}]").await;
    assert_eq!(raw.text().await, "43/nodevent,2[null,true]", "a leave permits another join");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn room_name_that_is_too_long_or_missing_is_refused() {
    // N-52, X-03
    let mut server = ServerWithBystander::start("limits: {max_room_name: 100}\n/nodevent: {history: off}").await;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server.site, "/nodevent", transport).await;
        let refused = [
            json!("x".repeat(101)),
            json!("☃".repeat(34)),
            json!(""),
            json!(null),
            json!([]),
            json!({}),
            json!(1.5),
        ];
        for name in refused {
            assert_eq!(browser.call("join", &room(name.clone())).await, json!(["Bad room", false]), "{name}");
        }
        assert_eq!(browser.call("join", &[]).await, json!(["Bad room", false]), "no argument");
        for name in ["x".repeat(100), "☃".repeat(33)] {
            assert_eq!(browser.call("join", &room(name)).await, json!([null, true]));
        }
    }
    server.metric_is("nodevent_rejected_joins_total", 16).await;
    server.logs("join rejected namespace=\"/nodevent\" reason=\"Bad room\"").await;
    server.bystander_is_unaffected().await;
}

/// Returns the resident memory of the server. Bytes.
pub(crate) fn resident(server: &ServerWithBystander) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.program.pid())).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Joins without a key cost nearly as much as others, and count like them.
#[tokio::test]
async fn joins_without_a_key_count_towards_the_rate() {
    let settings = "limits: {joins_per_second: 5, max_rooms_per_connection: 20}\n\
                    /nodevent: {secret: a-secret-of-more-than-sixteen}\n/open: {open: true}";
    let mut server = ServerWithBystander::start_in("/open", settings).await;
    let mut browser = Browser::connect(&server.site, "/nodevent", Transport::WebSocket).await;
    let mut acks = Vec::new();
    for number in 0..40 {
        acks.push(browser.call("join", &room(format!("r{number}"))).await);
    }
    assert_eq!(acks[0], json!(["Must provide key", false]));
    assert!(acks.contains(&json!(["Too many joins", false])), "{acks:?}");
    server.metric_is("nodevent_rejected_joins_total", 40).await;
    server.bystander_is_unaffected().await;
}
