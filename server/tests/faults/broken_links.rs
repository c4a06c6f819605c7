//! Links that break without a word, come late, or are cut: between a server and its Redis, and before a server.

use crate::harness::node::CALM;
use crate::harness::proxy::Way;
use crate::harness::redis::namespace_at;
use crate::harness::{Crowd, Member, Node, Proxy, Publishers, Redis, patiently, sites, traffic};
use crate::support::site::Site;
use crate::support::wait::until;
use rustix::process::Signal;
use std::time::Duration;
use tokio::task::JoinHandle;

const ROOMS: [&str; 3] = ["a", "b", "c"];

/// Two servers; both links of the first to Redis swallow everything and stay open, while it is asked to publish on and
/// on. The server notices that its probe does not come back, connects anew, and mends what its members have missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_link_to_redis_is_noticed_and_what_was_swallowed_is_mended() {
    let redis = Redis::start(&[]).await;
    let proxy = Proxy::before(redis.port).await;
    let first = Node::start(&namespace_at("/nodevent", proxy.port, "")).await;
    let second = Node::start(&redis.namespace("/nodevent", "")).await;
    let nodes = [first, second];
    let crowd = Crowd::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes[1..]), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    proxy.set(Way::Swallow);
    // A link on which commands never cease looks busy to whoever asks when the last one was sent.
    let busy = busy(nodes[0].site.clone());
    patiently("the first is not ready", Duration::from_secs(20), async || !nodes[0].is_ready().await).await;
    // New links are whole again; those that have swallowed stay as they are.
    proxy.set(Way::Pass);
    nodes[0].ready().await;
    busy.abort();
    traffic(&publishers, 50).await;
    let mended = nodes[0].metric("nodevent_backfilled_publications_total").await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
    assert!(mended > 0, "what was swallowed was read from the history");
}

/// The link between members and their server swallows everything. Both sides notice within their heartbeats: members
/// come back and recover, and the server forgets the dead connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_links_of_members_are_noticed_by_both_sides() {
    let nodes = [Node::start("/nodevent: {history: {size: 10000}}\n").await];
    let proxy = Proxy::before(port(&nodes[0])).await;
    let crowd = Crowd::join_at(50, &[proxy.address()], "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    proxy.set(Way::Swallow);
    patiently("members come back", Duration::from_secs(30), async || {
        if nodes[0].metric("nodevent_disconnects_total{reason=\"ping_timeout\"}").await >= 50 {
            proxy.set(Way::Pass);
        }
        crowd.connects() >= 100
    })
    .await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!(verdict.told, 0, "{verdict:?}");
    assert!(verdict.comebacks >= 50, "{verdict:?}");
}

/// Every piece on the link to Redis is 200 ms late. Everything arrives, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_link_to_redis_delays_and_loses_nothing() {
    let redis = Redis::start(&[]).await;
    let proxy = Proxy::before(redis.port).await;
    let nodes = Node::start_many(2, &namespace_at("/nodevent", proxy.port, "")).await;
    proxy.set(Way::Delay(Duration::from_millis(200)));
    let crowd = Crowd::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 20).await;
    assert!(nodes[0].is_ready().await);
    proxy.set(Way::Pass);
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
}

/// The link to Redis is cut again and again under traffic. What was on its way when it was cut is sent again by the
/// publisher, and stands in the history once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_redis_that_is_cut_again_and_again_loses_and_doubles_nothing() {
    let redis = Redis::start(&[]).await;
    let proxy = Proxy::before(redis.port).await;
    let first = Node::start(&namespace_at("/nodevent", proxy.port, "")).await;
    let nodes = [first, Node::start(&redis.namespace("/nodevent", "")).await];
    let crowd = Crowd::join(30, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    for round in 1..=5 {
        traffic(&publishers, 20).await;
        proxy.set(Way::Cut);
        let noticed = || nodes[0].program.log().iter().filter(|line| line.contains("Redis is away")).count();
        until("the server notices", async || noticed() == round).await;
        proxy.set(Way::Pass);
        nodes[0].ready().await;
    }
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
}

/// A server stands still for some seconds while a lot is published; Redis cuts its subscriber for being slow. When the
/// server goes on, it subscribes again and mends what it has missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_redis_cuts_for_being_slow_comes_back_and_mends() {
    let limit = ["--client-output-buffer-limit", "pubsub", "1mb", "512kb", "1"];
    let redis = Redis::start(&limit).await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let crowd = Crowd::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes[1..]), "/nodevent", &ROOMS);
    traffic(&publishers, 20).await;
    nodes[0].program.signal(Signal::STOP);
    // A flood that nobody is to hear, until the buffers between the two are full and Redis has had enough. Valkey 9 does
    // not count messages of 16 KB and more, which it need not copy.
    let flood = format!("{{\"room\": \"nobody\", \"event\": \"e\", \"message\": \"{}\"}}", "x".repeat(10_000));
    let cut = || redis.ask(&["INFO", "clients"]).contains("pubsub_clients:1") || subscribers(&redis) == 1;
    for _ in 0..100 {
        if cut() {
            break;
        }
        redis.shout_often("/nodevent", &flood, 40).await;
    }
    assert!(cut(), "Redis has cut the one that stands still, and not the other");
    traffic(&publishers, 20).await;
    nodes[0].program.signal(Signal::CONT);
    nodes[0].ready().await;
    let verdict = crowd.verdict(publishers, &nodes).await;
    assert_eq!(verdict.told, 0, "{verdict:?}");
    assert!(nodes[0].metric("nodevent_backfilled_publications_total").await > 0, "it has mended what it missed");
}

/// A publication is in the history of a room, and its message never reached the server: no later one shows the gap. The
/// check of live rooms finds it within 25 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_never_reached_the_server_is_mended_within_25_seconds() {
    let redis = Redis::start(&[]).await;
    let nodes = [Node::start(&redis.namespace("/nodevent", "")).await];
    let crowd = Crowd::join(5, &sites(&nodes), "/nodevent", &["a"]).await;
    let message = r#"{"room":"a","event":"fact","message":{"number":1,"room":"a","namespace":"/nodevent"}}"#;
    let position = redis.publish_elsewhere("/nodevent", "a", message);
    assert!(position.ends_with(":1"), "{position}");
    let heard = async || crowd.members.iter().all(|member| member.has_heard("a", 1));
    patiently("the check mends it", Duration::from_secs(25), heard).await;
    assert_eq!(nodes[0].metric("nodevent_backfilled_publications_total").await, 1);
}

/// The same among 8,400 live rooms, which no check reads at once: any of them is mended within 25 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_publish_is_mended_within_25_seconds_among_thousands_of_rooms() {
    let redis = Redis::start(&[]).await;
    let nodes = [Node::start_with(CALM, &redis.namespace("/nodevent", "")).await];
    let rooms: Vec<Vec<String>> = (0..70).map(|m| (0..120).map(|r| format!("room {m} {r}")).collect()).collect();
    let names = |member: usize| rooms[member].iter().map(String::as_str).collect::<Vec<_>>();
    let members = (0..70).map(|member| Member::at(&sites(&nodes), "/nodevent", &names(member))).collect();
    let crowd = Crowd { members };
    crowd.settled().await;
    for (member, names) in rooms.iter().enumerate() {
        let room = &names[member];
        let message = format!(r#"{{"number":1,"room":"{room}","namespace":"/nodevent"}}"#);
        let text = format!(r#"{{"room":"{room}","event":"fact","message":{message}}}"#);
        assert!(redis.publish_elsewhere("/nodevent", room, &text).ends_with(":1"));
    }
    let heard = |(index, member): (usize, &Member)| member.has_heard(&rooms[index][index], 1);
    let all = async || crowd.members.iter().enumerate().all(heard);
    patiently("the checks mend it", Duration::from_secs(25), all).await;
    assert_eq!(nodes[0].metric("nodevent_backfilled_publications_total").await, 70);
}

/// Publishes ten times a second where nobody listens, whether it is answered or not.
fn busy(site: Site) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut turn = tokio::time::interval(Duration::from_millis(100));
        loop {
            turn.tick().await;
            let site = site.clone();
            tokio::spawn(async move { site.publish("/nodevent", r#"{"room":"elsewhere","event":"e"}"#).await });
        }
    })
}

fn subscribers(redis: &Redis) -> usize {
    let answer = redis.ask(&["PUBSUB", "NUMSUB", "/nodevent"]);
    answer.lines().last().and_then(|count| count.trim().parse().ok()).expect("a number")
}

/// The port of a server.
fn port(node: &Node) -> u16 {
    node.site.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}
