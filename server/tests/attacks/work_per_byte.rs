//! Work per byte: packets that are cheap to send and expensive to read. They must not keep a shard from its other clients.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::raw::{Raw, TEXT, first, last};
use std::time::Duration;

/// Connections of an attack.
const CONNECTIONS: usize = 20;
/// Packets that each sends, within the limit of packets.
const PACKETS: usize = 100;

/// Sends packets on many connections, which reconnect when the server closes them.
async fn flood(process: &Process, packet: &[u8]) {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (site, packet) = (process.site.clone(), packet.to_vec());
        clients.spawn(async move {
            let mut raw = Raw::connected(&site, "/nodevent").await;
            for _ in 0..PACKETS {
                if raw.try_send(&packet).await.is_none() {
                    raw = Raw::connected(&site, "/nodevent").await;
                }
            }
        });
    }
    clients.join_all().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[test]
fn packets_of_many_numbers_delay_no_other_client() {
    attacker::run(async {
        let process = Process::start("shards: 1\n/nodevent: {}").await;
        let numbers = "1,".repeat(30_000);
        let packet = format!("42/nodevent,1[\"join\",{{\"room\":\"r\",\"x\":[{numbers}1]}}]");
        assert_unnoticed(&process.site.address, async || flood(&process, &last(TEXT, &packet)).await).await;
    });
}

/// A sibling: a message of empty fragments never ends, and never grows.
#[test]
fn empty_fragments_delay_no_other_client() {
    attacker::run(async {
        let process = Process::start("shards: 1\n/nodevent: {}").await;
        let mut packet = first(TEXT, "4");
        packet.extend(first(0, "").repeat(10_000));
        assert_unnoticed(&process.site.address, async || flood(&process, &packet).await).await;
    });
}

/// A sibling: objects in objects, and names that differ by little.
#[test]
fn deep_and_wide_objects_delay_no_other_client() {
    attacker::run(async {
        let process = Process::start("shards: 1\n/nodevent: {}").await;
        let deep = format!("{}{}", "{\"a\":".repeat(5_000), format_args!("1{}", "}".repeat(5_000)));
        let wide: Vec<String> = (0..2_000).map(|number| format!("\"name{number}\":{number}")).collect();
        let packet = format!("42/nodevent,1[\"join\",{{\"room\":\"r\",\"x\":{deep},{}}}]", wide.join(","));
        assert_unnoticed(&process.site.address, async || flood(&process, &last(TEXT, &packet)).await).await;
    });
}
