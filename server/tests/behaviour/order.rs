//! One order for everybody: what is published in a namespace is heard in the order in which its engine took it.
//!
//! With history on, as it is where nobody says otherwise.

use crate::support::{Browser, RedisServer, TestServer, Transport};
use serde_json::{Value, json};

const MANY: usize = 1_000;

/// Publications that say their number, in the room that `room` answers for it.
fn numbered(room: impl Fn(usize) -> &'static str) -> Vec<String> {
    (0..MANY).map(|n| json!({"room": room(n), "event": "e", "message": n}).to_string()).collect()
}

/// One browser per transport in every one of the `rooms`, and one in the first of them alone.
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

/// The publications alternate between two rooms. Who is in both hears all of them in the one order of the namespace;
/// who is in one hears its half.
#[tokio::test]
async fn member_of_two_rooms_receives_both_in_publishing_order() {
    // N-31
    for redis in [None, Some(RedisServer::start().await)] {
        let engine = redis.as_ref().map_or(String::new(), |redis| format!("redis: \"{}\"", redis.url()));
        let server = TestServer::start(&format!("/nodevent: {{{engine}}}")).await;
        server.ready().await;
        let (mut both, mut one) = browsers(&server, &["even", "odd"]).await;
        let publications = numbered(|n| if n % 2 == 0 { "even" } else { "odd" });
        let answer = server.publish("/nodevent", format!("[{}]", publications.join(","))).await;
        assert_eq!((answer.status, &answer.json()["accepted"]), (200, &json!(MANY)));
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

/// Four publishers at once, so that nobody but the engine knows the order. Each publisher's own publications stay in
/// order, and every browser, whatever its transport and its shard, hears exactly the same sequence.
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
    let mut heard: Vec<Vec<Value>> = Vec::new();
    for browser in &mut browsers {
        let mut all = Vec::new();
        for _ in 0..4 * EACH {
            all.push(browser.next_event().await.message);
        }
        browser.receives_nothing_else(&server).await;
        heard.push(all);
    }
    assert_eq!(heard[0], heard[1]);
    for publisher in 0..4 {
        let own: Vec<&Value> = heard[0].iter().filter(|one| one[0] == publisher).map(|one| &one[1]).collect();
        assert_eq!(own, (0..EACH).map(Value::from).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn member_that_rejoins_repeatedly_misses_and_duplicates_nothing() {
    // A join is answered with a position. What is on its way to a member when it joins once more, without saying what
    // it has heard, is older than that position, and must come all the same.
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
