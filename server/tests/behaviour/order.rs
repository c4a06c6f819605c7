//! One order for all members: publications of a namespace arrive in the order in which its engine accepted them.
//!
//! History is on, as it is by default.

use crate::support::{Browser, RedisServer, TestServer, Transport};
use serde_json::{Value, json};

const MANY: usize = 1_000;

/// Returns numbered publications; `room` returns the room of a number.
fn numbered(room: impl Fn(usize) -> &'static str) -> Vec<String> {
    (0..MANY).map(|n| json!({"room": room(n), "event": "e", "message": n}).to_string()).collect()
}

/// Connects two browsers per transport: one in all `rooms`, and one in the first room only.
async fn browsers(server: &TestServer, rooms: &[&str]) -> (Vec<Browser>, Vec<Browser>) {
    let (mut everywhere, mut first) = (Vec::new(), Vec::new());
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(server, "/nodevent", transport).await;
        for room in rooms {
            browser.join(room).await;
        }
        everywhere.push(browser);
        let mut browser = Browser::connect(server, "/nodevent", transport).await;
        browser.join(rooms[0]).await;
        first.push(browser);
    }
    (everywhere, first)
}

async fn receives(browser: &mut Browser, numbers: impl Iterator<Item = usize>) {
    for n in numbers {
        assert_eq!(browser.next_event().await.message, n);
    }
}

#[tokio::test]
async fn thousand_publications_through_redis_arrive_in_order() {
    // N-31
    let redis = RedisServer::start().await;
    let server = TestServer::start(&format!("/nodevent: {{redis: \"{}\"}}", redis.url())).await;
    redis.has_subscribers("/nodevent", 1).await;
    let (mut everywhere, _) = browsers(&server, &["r"]).await;
    redis.publish_all("/nodevent", numbered(|_| "r")).await;
    for browser in &mut everywhere {
        receives(browser, 0..MANY).await;
        browser.receives_nothing_else(&server).await;
    }
}

/// Publications alternate between two rooms. A member of both receives all of them in the order of the namespace, and a
/// member of one room receives its half.
#[tokio::test]
async fn member_of_two_rooms_receives_both_in_publishing_order() {
    // N-31
    for redis in [None, Some(RedisServer::start().await)] {
        let engine = redis.as_ref().map_or(String::new(), |redis| format!("redis: \"{}\"", redis.url()));
        let server = TestServer::start(&format!("/nodevent: {{{engine}}}")).await;
        server.ready().await;
        let (mut both, mut one) = browsers(&server, &["even", "odd"]).await;
        let publications = numbered(|n| if n % 2 == 0 { "even" } else { "odd" });
        let response = server.publish("/nodevent", format!("[{}]", publications.join(","))).await;
        assert_eq!((response.status, &response.json()["accepted"]), (200, &json!(MANY)));
        for browser in &mut both {
            receives(browser, 0..MANY).await;
            browser.receives_nothing_else(&server).await;
        }
        for browser in &mut one {
            receives(browser, (0..MANY).step_by(2)).await;
            browser.receives_nothing_else(&server).await;
        }
    }
}

/// Four publishers run concurrently, so that only the engine determines the order. Each publisher's publications stay
/// in order, and browsers on every transport and shard receive exactly the same sequence.
#[tokio::test]
async fn all_members_receive_the_same_order_from_concurrent_publishers() {
    const EACH: usize = 100;
    let server = TestServer::start("shards: 2\n/nodevent: {}").await;
    let (mut browsers, _) = browsers(&server, &["a", "b"]).await;
    let publishers = (0..4).map(|publisher| {
        let site = server.site();
        tokio::spawn(async move {
            for n in 0..EACH {
                site.emit("/nodevent", ["a", "b"][n % 2], "e", json!([publisher, n])).await;
            }
        })
    });
    futures_util::future::join_all(publishers).await.into_iter().for_each(|done| done.unwrap());
    let mut received: Vec<Vec<Value>> = Vec::new();
    for browser in &mut browsers {
        let mut all = Vec::new();
        for _ in 0..4 * EACH {
            all.push(browser.next_event().await.message);
        }
        browser.receives_nothing_else(&server).await;
        received.push(all);
    }
    assert_eq!(received[0], received[1]);
    for publisher in 0..4 {
        let own: Vec<&Value> = received[0].iter().filter(|one| one[0] == publisher).map(|one| &one[1]).collect();
        assert_eq!(own, (0..EACH).map(Value::from).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn member_that_rejoins_repeatedly_misses_and_duplicates_nothing() {
    // The acknowledgement of a join carries a position. A publication in flight when a member joins again without
    // `since` is older than that position, and must arrive nevertheless.
    let server = TestServer::start("/nodevent: {}\n").await;
    for transport in Transport::BOTH {
        let room = format!("{transport:?}");
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        browser.join(&room).await;
        for message in 0..100 {
            server.emit("/nodevent", &room, "e", message).await;
            browser.send_event("join", &[json!({ "room": room })]).await;
        }
        for message in 0..100 {
            assert_eq!(browser.next_event().await.message, message, "{transport:?}");
        }
    }
}
