//! One visitor with one signed name subscribes to its stream very often, with identifiers that differ, and the application
//! broadcasts a large message.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::cable::{Cable, STREAM_KEY, command, confirmed, message, turbo_with};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

/// Connections that attack at a time.
const CONNECTIONS: usize = 8;
/// Subscriptions of each, which together would receive 12 MB of a message.
const IDENTIFIERS: usize = 128;
/// Connections of viewers, each with as many subscriptions.
const VIEWERS: usize = 100;
/// The size of a message. Bytes.
const MESSAGE: usize = 100_000;

/// Subscribes as often as it can, and reads until the connection is closed.
async fn attack(process: &Process) -> JoinSet<()> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Cable::rails(&process.site).await);
    }
    // In turns, so that the memberships of one connection do not follow each other.
    for number in 0..IDENTIFIERS {
        for client in &mut clients {
            client.subscribe(&turbo_with("posts", &json!({"n": number}))).await;
        }
    }
    let mut reading = JoinSet::new();
    for client in clients {
        reading.spawn(async move {
            client.ended().await;
        });
    }
    reading
}

#[test]
fn subscriptions_of_one_connection_to_one_stream_delay_no_other_client() {
    attacker::run(async {
        let configuration = format!(
            "shards: 1\n/cable: {{protocol: action_cable, action_cable: {{signed_stream_key: {STREAM_KEY}}}}}\n\
             /nodevent: {{open: true}}\n"
        );
        let process = Process::start(&configuration).await;
        assert_unnoticed(&process.site.address, async || {
            for _ in 0..3 {
                let attackers = attack(&process).await;
                process.site.emit("/cable", "posts", "e", "x".repeat(MESSAGE)).await;
                attackers.join_all().await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
        .await;
        let closed = process.metric("nodevent_disconnects_total{reason=\"send_buffer_full\"}").await;
        assert!(closed >= (3 * CONNECTIONS) as i64, "{closed}");
        // A page that subscribes to a stream a few times receives what it has subscribed to.
        let mut page = Cable::rails(&process.site).await;
        let identifiers: Vec<String> = (0..4).map(|number| turbo_with("posts", &json!({"n": number}))).collect();
        for identifier in &identifiers {
            assert_eq!(page.call("subscribe", identifier).await, confirmed(identifier));
        }
        let text = "y".repeat(MESSAGE);
        process.site.emit("/cable", "posts", "e", text.as_str()).await;
        let mut received = Vec::new();
        for _ in &identifiers {
            received.push(page.next().await);
        }
        for identifier in &identifiers {
            assert!(received.contains(&message(identifier, text.as_str())), "{identifier}");
        }
    });
}

/// Very many viewers of a stream: each refresh of the application is for all of them.
#[test]
fn refreshes_for_very_many_subscriptions_delay_no_other_client() {
    attacker::run(async {
        let configuration = format!(
            "shards: 1\n/cable: {{protocol: action_cable, action_cable: {{signed_stream_key: {STREAM_KEY}}}}}\n\
             /nodevent: {{open: true}}\n"
        );
        let process = Process::start(&configuration).await;
        let mut viewers = JoinSet::new();
        for connection in 0..VIEWERS {
            let mut client = Cable::rails(&process.site).await;
            for number in 0..IDENTIFIERS {
                client.send(&command("subscribe", &turbo_with("posts", &json!({"n": [connection, number]})))).await;
            }
            viewers.spawn(async move { while client.0.next().await.is_some() {} });
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_unnoticed(&process.site.address, async || {
            attacker::repeat(async || {
                let refresh = "<turbo-stream action=\"refresh\"></turbo-stream>";
                process.site.emit("/cable", "posts", "e", refresh).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            })
            .await;
        })
        .await;
        viewers.abort_all();
    });
}
