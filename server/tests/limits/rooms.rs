//! Joins: too many at once, too many rooms, rooms without a name or with too long a one.

use crate::guarded::Guarded;
use crate::support::raw::{Raw, TEXT, last};
use crate::support::{Browser, Transport};
use serde_json::{Value, json};

fn room(room: impl Into<Value>) -> [Value; 1] {
    [json!({"room": room.into()})]
}

#[tokio::test]
async fn a_flood_of_joins_is_refused_and_what_was_joined_stays() {
    let mut server = Guarded::start("limits: {joins_per_second: 5}\n/nodevent: {history: off}").await;
    let mut refused = 0;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server.site, "/nodevent", transport).await;
        let mut answers = Vec::new();
        for number in 0..40 {
            answers.push(browser.call("join", &room(format!("r{number}"))).await);
        }
        assert_eq!(answers[0], json!([null, true]));
        let late = answers.iter().filter(|answer| **answer == json!(["Too many joins", false])).count();
        assert!(late > 0, "{answers:?}");
        refused += late as i64;
        server.emit("/nodevent", "r0", "e", 1).await;
        assert_eq!(browser.next_event().await.room, "r0", "the membership before the flood");
    }
    server.counts("nodevent_rejected_joins_total", refused).await;
    server.logs("a join was refused namespace=\"/nodevent\" reason=\"Too many joins\"").await;
    server.harmed_nobody_else().await;
}

/// A hundred thousand in the full run (`NODEVENT_FULL`), fewer otherwise: what is refused costs the same.
#[tokio::test]
async fn joins_beyond_the_limit_are_refused_and_the_server_stays_healthy() {
    // N-52
    let joins = if std::env::var_os("NODEVENT_FULL").is_some() { 100_000 } else { 5_000 };
    let settings = "limits: {joins_per_second: 1000000, packets_per_second: 1000000}\n/nodevent: {history: off}";
    let mut server = Guarded::start(settings).await;
    let before = resident(&server);
    let mut raw = Raw::connected(&server.site, "/nodevent").await;
    let mut answers = (0, 0);
    for batch in 0..joins / 500 {
        let packets: Vec<u8> = (batch * 500..(batch + 1) * 500)
            .flat_map(|n| last(TEXT, format!("42/nodevent,{n}[\"join\",{{\"room\":\"room-{n}\"}}]")))
            .collect();
        raw.send(packets).await;
        for n in batch * 500..(batch + 1) * 500 {
            match raw.text().await.strip_prefix(&format!("43/nodevent,{n}")) {
                Some("[null,true]") => answers.0 += 1,
                Some("[\"Too many rooms\",false]") => answers.1 += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(answers, (128, joins - 128));
    server.counts("nodevent_rejected_joins_total", joins - 128).await;
    server.counts("nodevent_rooms", 129).await;
    server.logs("a join was refused namespace=\"/nodevent\" reason=\"Too many rooms\"").await;
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
    raw.say("42/nodevent,1[\"leave\",{\"room\":\"room-0\"}]").await;
    assert_eq!(raw.text().await, "43/nodevent,1[null]");
    raw.say("42/nodevent,2[\"join\",{\"room\":\"another\"}]").await;
    assert_eq!(raw.text().await, "43/nodevent,2[null,true]", "there is room again");
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_room_whose_name_is_too_long_or_none_is_refused() {
    // N-52, X-03
    let mut server = Guarded::start("limits: {max_room_name: 100}\n/nodevent: {history: off}").await;
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
        assert_eq!(browser.call("join", &[]).await, json!(["Bad room", false]), "no argument at all");
        for name in ["x".repeat(100), "☃".repeat(33)] {
            assert_eq!(browser.call("join", &room(name)).await, json!([null, true]));
        }
    }
    server.counts("nodevent_rejected_joins_total", 16).await;
    server.logs("a join was refused namespace=\"/nodevent\" reason=\"Bad room\"").await;
    server.harmed_nobody_else().await;
}

/// Resident memory of the server. Bytes.
pub(crate) fn resident(server: &Guarded) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.program.pid())).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
