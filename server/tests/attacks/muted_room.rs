//! Attack 3: a client mutes a room. It joins a room without members on a server again and again with the same position,
//! so that the server never learns where the room is, and does not deliver confirmed publications to other members.

use crate::attacker::{self, join, join_since};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::raw::Raw;
use crate::support::{RedisServer, Request, Site};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Pause of the attacker between two joins. The attack that succeeded had 4 s.
const PAUSE: Duration = Duration::from_millis(500);
/// Time for a live publication to arrive, even on a busy machine.
const PROMPT: Duration = Duration::from_secs(3);

/// Rounds of an attack that depends on what arrives first, the connections that wait in each, and the number of the join with
/// which they do.
const ROUNDS: usize = 2;
const WAITING: usize = 8;
const JOINS_BEFORE: usize = 240;

/// Joins `room` with `since` on new connections until it is dropped.
fn attack(site: &Site, room: &'static str, since: String) -> tokio::task::JoinHandle<()> {
    let site = site.clone();
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let mut raw = Raw::connected(&site, "/nodevent").await;
            raw.send_text(&join_since(1, room, &since)).await;
            open.push(raw);
            sleep(PAUSE).await;
        }
    })
}

/// Publishes, and checks that the victim receives each confirmed publication promptly and in order.
async fn assert_not_muted(site: &Site, victim: &mut Raw, room: &str) {
    for number in 0..5 {
        let body = format!("{{\"room\":\"{room}\",\"event\":\"e\",\"message\":{number}}}");
        let response = site.send(&Request::post("/api/nodevent/emit", body)).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let event = timeout(PROMPT, victim.text()).await;
        let event = event.unwrap_or_else(|_| panic!("the confirmed publication {number} does not arrive"));
        assert!(event.contains(&format!("\"message\":{number}")), "{event}");
    }
}

#[test]
fn repeated_joins_with_one_position_do_not_mute_a_room() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
        redis.has_subscribers("/nodevent", 1).await;
        assert_unnoticed(&process.site.address, async || {
            for (room, epoch, offset) in [
                ("huge", None, "9223372036854775807"),
                ("largest", None, "18446744073709551615"),
                ("ahead", Some(()), "1000"),
                ("far-ahead", Some(()), "9223372036854775807"),
            ] {
                process.site.emit("/nodevent", room, "e", "before").await;
                let history: Value = process.site.get(&format!("/api/nodevent/rooms/{room}/history")).await.json();
                let known = history["position"].as_str().unwrap().split_once(':').unwrap().0.to_owned();
                let epoch = epoch.map_or("0000000000000000".to_owned(), |()| known);
                let attacking = attack(&process.site, room, format!("{epoch}:{offset}"));
                sleep(PAUSE * 2).await;
                let mut victim = Raw::connected(&process.site, "/nodevent").await;
                let packet = format!("42/nodevent,1[\"join\",{{\"room\":\"{room}\"}}]");
                let joined = timeout(PROMPT, join(&mut victim, &packet));
                let ack = joined.await.unwrap_or_else(|_| panic!("{room}: the victim's join is not acknowledged"));
                assert!(ack.starts_with("[null,true"), "{room}: {ack}");
                assert_not_muted(&process.site, &mut victim, room).await;
                attacking.abort();
            }
        })
        .await;
    });
}

/// A sibling: the victim is in the room already.
#[test]
fn joins_with_strange_positions_do_not_mute_existing_members() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
        redis.has_subscribers("/nodevent", 1).await;
        let mut victim = Raw::connected(&process.site, "/nodevent").await;
        join(&mut victim, "42/nodevent,1[\"join\",{\"room\":\"r\"}]").await;
        assert_unnoticed(&process.site.address, async || {
            for since in ["0000000000000000:9223372036854775807", "0000000000000000:0", "nonsense"] {
                let attacking = attack(&process.site, "r", since.to_owned());
                sleep(PAUSE * 2).await;
                assert_not_muted(&process.site, &mut victim, "r").await;
                attacking.abort();
            }
        })
        .await;
    });
}

/// A sibling: the engine follows a room for members on one shard. A join on the other one waits behind others of its client,
/// and its client leaves. What was sent meanwhile does not confirm later joins there, because the engine does not know of
/// them, and ends to follow the room with the members of the first shard.
#[test]
fn join_that_waits_and_ends_does_not_mute_the_room_on_its_shard() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let process = Process::start(&format!("shards: 2\n/nodevent: {{redis: \"{}\"}}", redis.url())).await;
        redis.has_subscribers("/nodevent", 1).await;
        process.site.emit("/nodevent", "busy", "e", "before").await;
        let history: Value = process.site.get("/api/nodevent/rooms/busy/history").await.json();
        let (epoch, _) = history["position"].as_str().unwrap().split_once(':').unwrap();
        for round in 0..ROUNDS {
            let room = format!("r{round}");
            let packet = format!("42/nodevent,1[\"join\",{{\"room\":\"{room}\"}}]");
            let mut first = Raw::connected(&process.site, "/nodevent").await;
            join(&mut first, &packet).await;
            process.site.emit("/nodevent", &room, "e", "one").await;
            let mut waiting = Vec::new();
            // An even number, so that the next connection is on the other shard than the first one.
            for _ in 0..WAITING {
                waiting.push(Raw::connected(&process.site, "/nodevent").await);
                process.metric_is("nodevent_connections", waiting.len() as i64 + 1).await;
            }
            let since = format!("{epoch}:0");
            for one in &mut waiting {
                for id in 2..JOINS_BEFORE {
                    one.send_text(&join_since(id, "busy", &since)).await;
                }
                one.send_text(&packet).await;
            }
            process.site.emit("/nodevent", &room, "e", "two").await;
            while !first.text().await.contains("\"two\"") {}
            let mut victim = Raw::connected(&process.site, "/nodevent").await;
            let ack = join(&mut victim, &packet).await;
            assert!(ack.starts_with("[null,true"), "{ack}");
            drop((waiting, first));
            process.metric_is("nodevent_connections", 1).await;
            assert_not_muted(&process.site, &mut victim, &room).await;
            drop(victim);
            process.metric_is("nodevent_connections", 0).await;
        }
    });
}
