//! Links that fail silently, delay or close: between a server and its Redis, and between members and a server.

use crate::harness::node::{SLOW_HEARTBEAT, STORE};
use crate::harness::proxy::Mode;
use crate::harness::redis::namespace_at;
use crate::harness::{Fleet, Member, Node, Proxy, Publishers, Redis, eventually, sites, traffic};
use crate::support::REDIS_OUTAGE;
use crate::support::site::Site;
use crate::support::wait::until;
use rustix::process::Signal;
use std::time::Duration;
use tokio::task::JoinHandle;

const ROOMS: [&str; 3] = ["a", "b", "c"];

/// Of two servers, the first has two Redis links that stay open and discard everything, while clients keep publishing
/// through it. The server detects that its probe does not return, reconnects, and backfills what its members missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_redis_link_is_detected_and_its_losses_are_backfilled() {
    let redis = Redis::start(&[]).await;
    let proxy = Proxy::in_front_of(redis.port).await;
    let first = Node::start(&namespace_at("/nodevent", proxy.port, "")).await;
    let second = Node::start(&redis.namespace("/nodevent", "")).await;
    let nodes = [first, second];
    let fleet = Fleet::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes[1..]), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    proxy.set(Mode::BlackHole);
    // Continuous commands must not make the dead link look alive: the time of the last send means nothing.
    let busy = busy(nodes[0].site.clone());
    eventually("the first is not ready", Duration::from_secs(20), async || !nodes[0].is_ready().await).await;
    // New links work again; those that have discarded bytes stay dead.
    proxy.set(Mode::Forward);
    nodes[0].ready().await;
    busy.abort();
    traffic(&publishers, 50).await;
    let backfilled = nodes[0].metric("nodevent_backfilled_publications_total").await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
    assert!(backfilled > 0, "the server reads the discarded publications from the history");
}

/// The link between members and their server discards everything. Both sides detect it through their heartbeats: the
/// members reconnect and recover, and the server closes the dead connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_member_links_are_detected_by_both_sides() {
    half_open_member_links("").await;
}

/// The same with a store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_member_links_to_a_server_with_a_store_are_detected_by_both_sides() {
    half_open_member_links(STORE).await;
}

async fn half_open_member_links(store: &str) {
    let nodes = [Node::start(&format!("{store}/nodevent: {{history: {{size: 10000}}}}\n")).await];
    let proxy = Proxy::in_front_of(port(&nodes[0])).await;
    let fleet = Fleet::join_at(50, &[proxy.address()], "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    proxy.set(Mode::BlackHole);
    eventually("members reconnect", Duration::from_secs(30), async || {
        if nodes[0].metric("nodevent_disconnects_total{reason=\"ping_timeout\"}").await >= 50 {
            proxy.set(Mode::Forward);
        }
        fleet.connects() >= 100
    })
    .await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.gap_notices, 0, "{verdict:?}");
    assert!(verdict.reconnects >= 50, "{verdict:?}");
}

/// The link to Redis delays every piece by 200 ms. Everything arrives, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_redis_link_delays_and_loses_nothing() {
    let redis = Redis::start(&[]).await;
    let proxy = Proxy::in_front_of(redis.port).await;
    let nodes = Node::start_many(2, &namespace_at("/nodevent", proxy.port, "")).await;
    proxy.set(Mode::Delay(Duration::from_millis(200)));
    let fleet = Fleet::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 20).await;
    assert!(nodes[0].is_ready().await);
    proxy.set(Mode::Forward);
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
}

/// The link to Redis is cut repeatedly under traffic. The publisher sends interrupted publishes again, and each is in
/// the history once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeatedly_cut_redis_link_loses_and_duplicates_nothing() {
    let redis = Redis::start(&[]).await;
    let proxy = Proxy::in_front_of(redis.port).await;
    let first = Node::start(&namespace_at("/nodevent", proxy.port, "")).await;
    let nodes = [first, Node::start(&redis.namespace("/nodevent", "")).await];
    let fleet = Fleet::join(30, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    for round in 1..=5 {
        traffic(&publishers, 20).await;
        proxy.set(Mode::Cut);
        let outages = || nodes[0].program.log().iter().filter(|line| line.contains(REDIS_OUTAGE)).count();
        until("the server detects it", async || outages() == round).await;
        proxy.set(Mode::Forward);
        nodes[0].ready().await;
    }
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!((verdict.gap_notices, verdict.reconnects), (0, 0), "{verdict:?}");
}

/// A server is stopped for some seconds during heavy publishing, and Redis disconnects its subscriber as too slow. When
/// the server continues, it subscribes again and backfills what it missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriber_disconnected_by_redis_as_too_slow_resubscribes_and_backfills() {
    let limit = ["--client-output-buffer-limit", "pubsub", "1mb", "512kb", "1"];
    let redis = Redis::start(&limit).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let fleet = Fleet::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes[1..]), "/nodevent", &ROOMS);
    traffic(&publishers, 20).await;
    nodes[0].program.signal(Signal::STOP);
    // A flood to a room without members fills the buffers between the two until Redis disconnects the subscriber.
    // Valkey 9 does not count messages of 16 KB and more, which it need not copy.
    let flood = format!("{{\"room\": \"empty\", \"event\": \"e\", \"message\": \"{}\"}}", "x".repeat(10_000));
    let cut = || redis.query(&["INFO", "clients"]).contains("pubsub_clients:1") || subscribers(&redis) == 1;
    for _ in 0..100 {
        if cut() {
            break;
        }
        redis.publish_repeatedly("/nodevent", &flood, 40).await;
    }
    assert!(cut(), "Redis has disconnected the stopped server, and not the other one");
    traffic(&publishers, 20).await;
    nodes[0].program.signal(Signal::CONT);
    nodes[0].ready().await;
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.gap_notices, 0, "{verdict:?}");
    assert!(
        nodes[0].metric("nodevent_backfilled_publications_total").await > 0,
        "the server backfills what it missed"
    );
}

/// A publication is in the history of a room, but its message never reached the server, and no later one reveals the
/// gap. The periodic check of live rooms finds it within 25 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_that_never_reached_the_server_is_backfilled_within_25_seconds() {
    let redis = Redis::start(&[]).await;
    let nodes = [Node::start(&redis.namespace("/nodevent", "")).await];
    let fleet = Fleet::join(5, &sites(&nodes), "/nodevent", &["a"]).await;
    let message = r#"{"room":"a","event":"fact","message":{"number":1,"room":"a","namespace":"/nodevent"}}"#;
    let position = redis.publish_without_delivery("/nodevent", "a", message);
    assert!(position.ends_with(":1"), "{position}");
    let received = async || fleet.members.iter().all(|member| member.has_received("a", 1));
    eventually("the check backfills it", Duration::from_secs(25), received).await;
    assert_eq!(nodes[0].metric("nodevent_backfilled_publications_total").await, 1);
}

/// The same with 8,400 live rooms, more than one check reads: each of them is backfilled within 25 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_publish_is_backfilled_within_25_seconds_among_thousands_of_rooms() {
    let redis = Redis::start(&[]).await;
    let nodes = [Node::start_with(SLOW_HEARTBEAT, &redis.namespace("/nodevent", "")).await];
    let rooms: Vec<Vec<String>> = (0..70).map(|m| (0..120).map(|r| format!("room {m} {r}")).collect()).collect();
    let names = |member: usize| rooms[member].iter().map(String::as_str).collect::<Vec<_>>();
    let members = (0..70).map(|member| Member::at(&sites(&nodes), "/nodevent", &names(member))).collect();
    let fleet = Fleet { members };
    fleet.all_joined().await;
    for (member, names) in rooms.iter().enumerate() {
        let room = &names[member];
        let message = format!(r#"{{"number":1,"room":"{room}","namespace":"/nodevent"}}"#);
        let text = format!(r#"{{"room":"{room}","event":"fact","message":{message}}}"#);
        assert!(redis.publish_without_delivery("/nodevent", room, &text).ends_with(":1"));
    }
    let received = |(index, member): (usize, &Member)| member.has_received(&rooms[index][index], 1);
    let all = async || fleet.members.iter().enumerate().all(received);
    eventually("the checks backfill them", Duration::from_secs(25), all).await;
    assert_eq!(nodes[0].metric("nodevent_backfilled_publications_total").await, 70);
}

/// Publishes ten times a second to a room without members, without waiting for the responses.
fn busy(site: Site) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            let site = site.clone();
            tokio::spawn(async move { site.publish("/nodevent", r#"{"room":"elsewhere","event":"e"}"#).await });
        }
    })
}

fn subscribers(redis: &Redis) -> usize {
    let reply = redis.query(&["PUBSUB", "NUMSUB", "/nodevent"]);
    reply.lines().last().and_then(|count| count.trim().parse().ok()).expect("a number")
}

/// The port of a server.
fn port(node: &Node) -> u16 {
    node.site.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}
