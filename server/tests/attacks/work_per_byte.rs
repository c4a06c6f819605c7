//! Work per byte: packets that are cheap to send and expensive to read. They must not keep a shard from its other
//! clients.

use crate::attacker::{self, PollingClient};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::raw::{PING, PONG, Raw, TEXT, first, last};
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

/// A sibling: one `join` that names as many rooms as fit into a packet. Each of them is rejected.
#[test]
fn joins_of_many_rooms_delay_no_other_client() {
    attacker::run(async {
        let process = Process::start("shards: 1\n/nodevent: {}").await;
        for count in [1_000, 32_000] {
            let packet = format!("42/nodevent,1[\"join\",{{\"rooms\":[{}1]}}]", "1,".repeat(count));
            assert_unnoticed(&process.site.address, async || flood(&process, &last(TEXT, &packet)).await).await;
        }
    });
}

/// A sibling: pings on WebSockets that may become the transport of a session on long-polling, and never do.
#[test]
fn pings_on_probing_websockets_delay_no_other_client() {
    attacker::run(async {
        let process = Process::start("shards: 1\n/nodevent: {}").await;
        let pings = last(PING, "").repeat(5_000);
        assert_unnoticed(&process.site.address, async || {
            let mut client = PollingClient::connect(&process.site).await;
            let mut probes = tokio::task::JoinSet::new();
            for _ in 0..CONNECTIONS {
                let Some(sid) = client.open().await else { continue };
                let (site, pings) = (process.site.clone(), pings.clone());
                probes.spawn(async move {
                    let mut raw = Raw::open(&site, &format!("&sid={sid}")).await;
                    for _ in 0..PACKETS {
                        if raw.try_send(&pings).await.is_none() {
                            return;
                        }
                    }
                });
            }
            probes.join_all().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        })
        .await;
    });
}

/// A sibling: the packets are in the bodies of POSTs, which reach a shard in another way than what WebSockets bring. Clients that
/// connect come this way, too.
#[test]
fn posts_of_many_sessions_delay_no_other_client() {
    const SESSIONS: usize = 200;
    attacker::run(async {
        let process = Process::start("shards: 1\n/nodevent: {}").await;
        let rooms: Vec<String> = (0..1_000).map(|room| format!("{{\"room\":\"{room}\"}}")).collect();
        let numbers = "1,".repeat(30_000);
        for argument in [format!("{{\"rooms\":[{}]}}", rooms.join(",")), format!("{{\"x\":[{numbers}1]}}")] {
            let packet = [format!("42/nodevent,1[\"join\",{argument}]")];
            assert_unnoticed(&process.site.address, async || {
                let mut clients = tokio::task::JoinSet::new();
                for _ in 0..SESSIONS {
                    let (site, packet) = (process.site.clone(), packet.clone());
                    clients.spawn(async move {
                        let mut client = PollingClient::connect(&site).await;
                        let sid = client.open().await.expect("a session");
                        client.post(&sid, &["40/nodevent,".to_owned()]).await.expect("a post");
                        for _ in 0..3 {
                            let second = tokio::time::sleep(Duration::from_secs(1));
                            client.post(&sid, &packet).await.expect("no limit of the connection is reached");
                            second.await;
                        }
                    });
                }
                clients.join_all().await;
            })
            .await;
        }
    });
}

/// A sibling: very many connections, none of which sends more than it may. Together they send more than a shard can read.
#[test]
fn many_connections_at_their_limits_delay_no_other_client() {
    const MANY: usize = 1_500;
    const PER_SECOND: usize = 1_000;
    attacker::run(async {
        let settings =
            "shards: 1\nlimits: {packets_per_second: 1000, bytes_per_second: 1MB}\n/nodevent: {history: off}";
        let process = Process::start(settings).await;
        let mut open = Vec::with_capacity(MANY);
        for _ in 0..MANY {
            let mut raw = Raw::connected(&process.site, "/nodevent").await;
            assert_eq!(attacker::join(&mut raw, "42/nodevent,1[\"join\",{\"room\":\"r\"}]").await, "[null,true]");
            open.push(raw);
        }
        // None of them has a reply, so that the attacker need not read.
        let leave = last(TEXT, "42/nodevent,[\"leave\",{\"room\":\"other\"}]");
        for packet in [last(PONG, ""), leave] {
            let packets = packet.repeat(PER_SECOND * 9 / 10);
            assert_unnoticed(&process.site.address, async || {
                attacker::repeat(async || {
                    let second = tokio::time::sleep(Duration::from_secs(1));
                    for raw in &mut open {
                        raw.try_send(&packets).await.expect("no limit of the connection is reached");
                    }
                    second.await;
                })
                .await;
            })
            .await;
        }
    });
}
