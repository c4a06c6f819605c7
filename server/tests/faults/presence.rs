//! Presence when servers are killed, and when Redis is.

use crate::harness::node::RARE_HEARTBEAT;
use crate::harness::{Node, Redis, eventually, raise_file_limit, sleep_for};
use crate::support::site::Site;
use crate::support::tokens::token;
use crate::support::{Browser, Transport};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The lease of these tests, and the grace period.
const LEASE: Duration = Duration::from_secs(6);
const MORE: &str = ", open: true, token: {secret: a-secret-for-tokens-of-more-than-32-bytes}, \
                    presence: {rooms: [\"room\"], lease: 6s, grace: 2s}";
const ROOMS: usize = 10;

/// A connection of a user in some rooms.
async fn member(site: &Site, user: &str, rooms: impl Iterator<Item = usize>) -> Browser {
    let mut browser = Browser::open(site, Transport::WebSocket).await;
    let rooms: Vec<String> = rooms.map(|room| format!("room{room}")).collect();
    let claims = json!({"sub": user, "exp": crate::support::tokens::now() + 600.0});
    let auth = json!({"token": token(claims)}).to_string();
    browser.enter_with("/nodevent", &auth).await.expect("the token is accepted");
    for room in rooms {
        let ack = browser.call("join", &[json!({"room": room})]).await;
        assert_eq!(ack[1], true, "{ack}");
    }
    browser
}

/// Users of a server, spread over the rooms.
async fn members(site: &Site, prefix: &str, count: usize) -> Vec<Browser> {
    let mut members = Vec::new();
    for number in 0..count {
        members.push(member(site, &format!("{prefix}{number}"), std::iter::once(number % ROOMS)).await);
    }
    members
}

/// Reads events until there were `count` of this name, and returns how often each user had one. No event has another name.
async fn read(watcher: &mut Browser, event: &str, count: usize) -> BTreeMap<String, usize> {
    let mut users = BTreeMap::new();
    for _ in 0..count {
        let one = watcher.next_publication().await;
        assert_eq!(one.event, event, "{}", one.text);
        *users.entry(one.message["user"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(users.values().all(|times| *times == 1) || event == "nodevent:enter", "{users:?}");
    users
}

/// Checks that no publication is outstanding. Notices of a gap may be, because Redis may have lost the history.
async fn receives_nothing_else(watcher: &mut Browser, publisher: &Site) {
    watcher.join("fence").await;
    publisher.emit("/nodevent", "fence", "fence", json!(null)).await;
    let event = watcher.next_publication().await;
    assert_eq!(event.room, "fence", "{}", event.text);
}

/// Three servers have members in ten rooms. The one with 1,000 of them is killed. Both others deliver each `leave`
/// once, within the lease, and nothing else; and nothing is left of these members in Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_killed_server_leave_once_within_the_lease() {
    raise_file_limit();
    let redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many_with(RARE_HEARTBEAT, 3, &redis.namespace("/nodevent", MORE)).await;
    let mut watchers = vec![member(&nodes[0].site, "watcher", 0..ROOMS).await];
    read(&mut watchers[0], "nodevent:enter", ROOMS).await;
    watchers.push(member(&nodes[1].site, "another", 0..ROOMS).await);
    for watcher in &mut watchers {
        read(watcher, "nodevent:enter", ROOMS).await;
    }
    let killed = members(&nodes[2].site, "user", 1000).await;
    for watcher in &mut watchers {
        assert_eq!(read(watcher, "nodevent:enter", 1000).await.len(), 1000);
    }
    // Ten of them are connected to another server too, and stay.
    let staying = members(&nodes[1].site, "user", ROOMS).await;
    eventually("both connections are reported", Duration::from_secs(10), async || {
        let hash = redis.query(&["KEYS", "*:presence:of:*"]);
        hash.lines().count() == 3 * ROOMS
    })
    .await;
    let began = Instant::now();
    nodes[2].kill().await;
    for watcher in &mut watchers {
        assert_eq!(read(watcher, "nodevent:leave", 990).await.len(), 990);
    }
    let took = began.elapsed();
    println!("990 members of a killed server had left after {took:?}, with a lease of {LEASE:?}");
    assert!(took < LEASE + Duration::from_secs(3), "{took:?}");
    drop(killed);
    for watcher in &mut watchers {
        let list = watcher.call("presence", &[json!({"room": "room0"})]).await;
        assert_eq!(list[1]["count"], 3, "{list}");
        receives_nothing_else(watcher, &nodes[0].site).await;
    }
    assert_eq!(redis.query(&["KEYS", "*:presence:of:*"]).lines().count(), 2 * ROOMS);
    drop(staying);
}

/// Redis is killed, and starts again: with all its data, and without. Before, it is also paused for longer than the
/// lease. The members of two servers stay, without an event. Both take as long as their outages, so they run at the
/// same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_user_leaves_or_enters_when_redis_was_unavailable() {
    raise_file_limit();
    let durable = Redis::start_durable().await;
    let forgetful = Redis::start(&[]).await;
    tokio::join!(members_stay(durable, true), members_stay(forgetful, false));
}

async fn members_stay(mut redis: Redis, is_paused_before: bool) {
    let nodes = Node::start_many_with(RARE_HEARTBEAT, 2, &redis.namespace("/nodevent", MORE)).await;
    let mut watcher = member(&nodes[0].site, "watcher", 0..ROOMS).await;
    read(&mut watcher, "nodevent:enter", ROOMS).await;
    let kept = (members(&nodes[0].site, "a", 100).await, members(&nodes[1].site, "b", 100).await);
    assert_eq!(read(&mut watcher, "nodevent:enter", 200).await.len(), 200);
    if is_paused_before {
        redis.pause();
        sleep_for(LEASE + Duration::from_secs(2)).await;
        redis.resume();
    }
    redis.kill();
    sleep_for(LEASE + Duration::from_secs(2)).await;
    redis.start_again().await;
    eventually("all members are back", Duration::from_secs(30), async || {
        for room in 0..ROOMS {
            let list = watcher.call("presence", &[json!({"room": format!("room{room}")})]).await;
            if list[1]["count"] != 21 {
                return false;
            }
        }
        true
    })
    .await;
    nodes[0].ready().await;
    nodes[1].ready().await;
    // Long enough for leases that were not renewed to end.
    sleep_for(LEASE).await;
    receives_nothing_else(&mut watcher, &nodes[0].site).await;
    drop(kept);
}
