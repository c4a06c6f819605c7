//! Attack 10: a plain PUBLISH in Redis with a forged position makes the server read the history without end.

use crate::attacker::{self, join, join_since};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::RedisServer;
use crate::support::raw::Raw;
use std::time::Duration;
use tokio::time::timeout;

/// How long the effect of a forged publication is observed.
const LENGTH: Duration = Duration::from_secs(2);
/// Reads that one forged publication may cause in this time, with a minimum delay between them.
const READS: i64 = 20;

/// A member of a room with one publication, and the room's epoch.
async fn room_with_history(process: &Process, room: &str) -> (Raw, String) {
    let mut member = Raw::connected(&process.site, "/nodevent").await;
    join(&mut member, &format!("42/nodevent,1[\"join\",{{\"room\":\"{room}\"}}]")).await;
    process.site.emit("/nodevent", room, "e", "before").await;
    assert!(member.text().await.contains("before"));
    let history = process.site.get(&format!("/api/nodevent/rooms/{room}/history")).await.json();
    let (epoch, _) = history["position"].as_str().unwrap().split_once(':').unwrap();
    (member, epoch.to_owned())
}

/// A plain message with a position, which only our scripts assign.
fn forged(room: &str, epoch: &str, offset: &str) -> String {
    format!("{{\"room\":\"{room}\",\"event\":\"forged\",\"message\":1,\"position\":\"{epoch}:{offset}\"}}")
}

#[test]
fn forged_position_causes_few_reads_and_mutes_no_room() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
        redis.has_subscribers("/nodevent", 1).await;
        let mut failures = Vec::new();
        for (number, (other_epoch, offset)) in [
            (None, "9223372036854775807"),
            (None, "18446744073709551615"),
            (None, "1000000"),
            (None, "3"),
            (None, "0"),
            (Some("0123456789abcdef"), "5"),
            (Some("0123456789abcdef"), "1"),
            (Some("ffffffffffffffff"), "0"),
        ]
        .into_iter()
        .enumerate()
        {
            let room = format!("r{number}");
            let (mut member, epoch) = room_with_history(&process, &room).await;
            let before = process.metric("nodevent_history_reads_total").await;
            redis.publish("/nodevent", forged(&room, other_epoch.unwrap_or(&epoch), offset)).await;
            tokio::time::sleep(LENGTH).await;
            let reads = process.metric("nodevent_history_reads_total").await - before;
            if reads > READS {
                failures.push(format!("{other_epoch:?} {offset}: {reads} reads in {LENGTH:?}"));
            }
            process.site.emit("/nodevent", &room, "e", "after").await;
            let after = timeout(LENGTH, async { while !member.text().await.contains("\"after\"") {} }).await;
            if after.is_err() {
                failures.push(format!("{other_epoch:?} {offset}: the next publication does not arrive"));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    });
}

#[test]
fn forged_positions_delay_no_other_client() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
        redis.has_subscribers("/nodevent", 1).await;
        let mut members = Vec::new();
        for number in 0..20 {
            members.push(room_with_history(&process, &format!("r{number}")).await);
        }
        assert_unnoticed(&process.site.address, async || {
            for (number, (_, epoch)) in members.iter().enumerate() {
                redis.publish("/nodevent", forged(&format!("r{number}"), epoch, "1000000")).await;
            }
            tokio::time::sleep(LENGTH).await;
        })
        .await;
    });
}

/// A sibling: the position is one that the room had. Who comes back from there has missed what was published since then.
#[test]
fn forged_older_position_hides_nothing_from_clients_that_return_from_it() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&format!("shards: 1\n/nodevent: {{redis: \"{}\"}}", redis.url())).await;
        redis.has_subscribers("/nodevent", 1).await;
        let (mut member, epoch) = room_with_history(&process, "r").await;
        for message in ["second", "third"] {
            process.site.emit("/nodevent", "r", "e", message).await;
            assert!(member.text().await.contains(message));
        }
        redis.publish("/nodevent", forged("r", &epoch, "1")).await;
        let lost = member.text().await;
        assert!(lost.contains("\"lost\"") && lost.contains(&format!("\"{epoch}:3\"")), "{lost}");
        assert!(member.text().await.contains("forged"));

        let mut returning = Raw::connected(&process.site, "/nodevent").await;
        returning.send_text(&join_since(1, "r", &format!("{epoch}:1"))).await;
        for message in ["second", "third", "\"recovered\":true"] {
            let text = returning.text().await;
            assert!(text.contains(message), "{text}");
        }
        let mut new = Raw::connected(&process.site, "/nodevent").await;
        let ack = join(&mut new, "42/nodevent,1[\"join\",{\"room\":\"r\"}]").await;
        assert!(ack.contains(&format!("\"{epoch}:3\"")), "{ack}");
    });
}
