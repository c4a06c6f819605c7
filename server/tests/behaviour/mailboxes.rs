//! Mailboxes: what users receive, acknowledge and find again, on both engines. The rows W-… that the core alone proves.

use crate::support::redis::redis_cli;
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::wait::until;
use crate::support::{Browser, RedisServer, Request, TestServer, Transport, vectors};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const NS: &str = "/nodevent";

/// An engine, and servers that use it.
struct Setup {
    redis: Option<RedisServer>,
    configuration: String,
    servers: Vec<TestServer>,
}

// === impl Setup ===

impl Setup {
    /// Both engines, with this value of `mailbox`. Redis has two servers.
    async fn both(mailbox: &str) -> [Self; 2] {
        [Self::memory(mailbox).await, Self::redis(mailbox).await]
    }

    async fn memory(mailbox: &str) -> Self {
        let configuration = configuration(mailbox, "");
        let servers = vec![TestServer::start(&configuration).await];
        Self { redis: None, configuration, servers }
    }

    async fn redis(mailbox: &str) -> Self {
        let redis = RedisServer::start().await;
        let configuration = configuration(mailbox, &format!("  redis: {}\n", redis.url()));
        let mut servers = Vec::new();
        for _ in 0..2 {
            servers.push(TestServer::start(&configuration).await);
            servers[servers.len() - 1].ready().await;
        }
        Self { redis: Some(redis), configuration, servers }
    }

    fn first(&self) -> &TestServer {
        &self.servers[0]
    }

    fn last(&self) -> &TestServer {
        &self.servers[self.servers.len() - 1]
    }

    fn engine(&self) -> &'static str {
        if self.redis.is_some() { "redis" } else { "memory" }
    }
}

fn configuration(mailbox: &str, more: &str) -> String {
    format!("{NS}:\n  token: {{secret: {TOKEN_SECRET}, leeway: 0s}}\n  mailbox: {mailbox}\n{more}")
}

/// Connects as a user.
async fn connect(server: &TestServer, transport: Transport, user: &str) -> Browser {
    let mut browser = Browser::open(server, transport).await;
    let auth = json!({"token": token(json!({"sub": user}))}).to_string();
    browser.enter_with(NS, &auth).await.expect("the token is accepted");
    assert_eq!(browser.next_other_notice().await[0], "identified");
    browser
}

/// Connects as a user and opens the mailbox. Returns the messages that are in it.
async fn open(server: &TestServer, user: &str) -> (Browser, Vec<Value>) {
    let mut browser = connect(server, Transport::WebSocket, user).await;
    let messages = open_mailbox(&mut browser).await;
    (browser, messages)
}

async fn open_mailbox(browser: &mut Browser) -> Vec<Value> {
    assert_eq!(browser.call("mailbox", &[]).await, json!([null, true]));
    let mut messages = Vec::new();
    loop {
        let notice = browser.next_other_notice().await;
        assert_eq!(notice[0], "mailbox", "{notice}");
        assert_eq!(notice[1]["first"], messages.is_empty(), "{notice}");
        messages.extend(notice[1]["messages"].as_array().unwrap().clone());
        if notice[1]["last"] == true {
            return messages;
        }
    }
}

/// The next live message.
async fn next_message(browser: &mut Browser) -> Value {
    let notice = browser.next_other_notice().await;
    let messages = notice[1]["messages"].as_array().unwrap_or_else(|| panic!("{notice}"));
    assert_eq!((&notice[0], messages.len()), (&json!("mailbox"), 1), "{notice}");
    messages[0].clone()
}

/// Sends a notification and returns the ids.
async fn notify(server: &TestServer, body: Value) -> Value {
    let response = server.send(&Request::post("/api/nodevent/notify", body.to_string())).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["ids"].clone()
}

async fn send(server: &TestServer, user: &str, message: impl Into<Value>) -> Value {
    notify(server, json!({"user": user, "event": "e", "message": message.into()})).await[0].clone()
}

fn ids(messages: &[Value]) -> Vec<Value> {
    messages.iter().map(|message| message["id"].clone()).collect()
}

fn bodies(messages: &[Value]) -> Vec<Value> {
    messages.iter().map(|message| message["message"].clone()).collect()
}

/// W-21, W-35: all tabs of a user receive a message, on all servers. The first acknowledgement removes it, and the other
/// tabs learn of it.
#[tokio::test]
async fn all_tabs_receive_a_message_and_the_first_acknowledgement_removes_it() {
    for setup in Setup::both("on").await {
        let (mut one, _) = open(setup.first(), "7").await;
        let mut two = connect(setup.last(), Transport::Polling, "7").await;
        assert_eq!(open_mailbox(&mut two).await, [Value::Null; 0]);
        let (mut other, _) = open(setup.last(), "8").await;
        let id = send(setup.first(), "7", "hello").await;
        for tab in [&mut one, &mut two] {
            let message = next_message(tab).await;
            assert_eq!(
                (&message["event"], &message["message"], &message["id"]),
                (&json!("e"), &json!("hello"), &id)
            );
            assert!(message["sent"].as_u64().unwrap() > 1_700_000_000_000);
        }
        let ack = two.call("acknowledge", &[json!({"ids": [id]})]).await;
        assert_eq!(ack, json!([null, {"removed": 1, "unread": 0}]), "{}", setup.engine());
        for tab in [&mut one, &mut two] {
            assert_eq!(tab.next_other_notice().await, json!(["acknowledged", {"ids": [id], "unread": 0}]));
        }
        assert_eq!(one.call("acknowledge", &[json!({"ids": [id]})]).await[1]["removed"], 0);
        assert_eq!(open(setup.first(), "7").await.1, [Value::Null; 0], "W-21: nothing comes again");
        send(setup.last(), "8", 1).await;
        assert_eq!(next_message(&mut other).await["message"], 1, "another user received only its own");
    }
}

/// W-24, W-25, W-26: what is unread comes in the order in which it was sent, across the names of events, again and again;
/// and a message that was sent after the last one that is acknowledged survives.
#[tokio::test]
async fn unread_messages_come_in_order_until_they_are_acknowledged() {
    for setup in Setup::both("on").await {
        drop(open(setup.first(), "7").await);
        for (event, message) in [("b", 1), ("a", 2), ("b", 3)] {
            notify(setup.first(), json!({"user": 7, "event": event, "message": message})).await;
        }
        let (_, first) = open(setup.first(), "7").await;
        let (mut browser, messages) = open(setup.last(), "7").await;
        assert_eq!(first, messages, "W-25: what was not acknowledged comes again");
        let events: Vec<_> = messages.iter().map(|one| (&one["event"], &one["message"])).collect();
        assert_eq!(json!(events), json!([["b", 1], ["a", 2], ["b", 3]]));
        let late = send(setup.first(), "7", "late").await;
        assert_eq!(next_message(&mut browser).await["id"], late);
        let last = &messages[2]["id"];
        let ack = browser.call("acknowledge", &[json!({"up_to": last})]).await;
        assert_eq!(ack, json!([null, {"removed": 3, "unread": 1}]));
        assert_eq!(
            browser.next_other_notice().await,
            json!(["acknowledged", {"ids": [], "up_to": last, "unread": 1}])
        );
        assert_eq!(ids(&open(setup.first(), "7").await.1), [late]);
    }
}

/// W-27, W-28, W-29: the age runs from when the user left, for messages of before and after. Then the user is unknown. In
/// Redis no key is without an expiry.
#[tokio::test]
async fn messages_are_kept_for_the_age_while_the_user_is_away() {
    for setup in Setup::both("2s").await {
        let (browser, _) = open(setup.first(), "7").await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let before = send(setup.first(), "7", "before").await;
        assert!(before.is_string(), "a connected user stays known: {}", setup.engine());
        browser.close().await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        let while_away = send(setup.first(), "7", "while away").await;
        if let Some(redis) = &setup.redis {
            let keys = redis_keys(redis);
            assert_eq!(keys.len(), 2, "{keys:?}");
            for key in keys {
                let ttl = redis.call(&["PTTL", &key]).await;
                assert!(ttl.starts_with(':') && ttl != ":-1", "W-29: {key}: {ttl}");
            }
        }
        let (browser, messages) = open(setup.last(), "7").await;
        assert_eq!(ids(&messages), [before, while_away], "W-27");
        browser.close().await;
        tokio::time::sleep(Duration::from_millis(3000)).await;
        assert_eq!(send(setup.first(), "7", "late").await, Value::Null, "W-28, {}", setup.engine());
        assert_eq!(open(setup.first(), "7").await.1, [Value::Null; 0]);
    }
}

/// The keys of mailboxes, and of their places.
fn redis_keys(redis: &RedisServer) -> Vec<String> {
    let list = |pattern: &str| {
        let output = redis_cli().args(["-p", &redis.port.to_string(), "--scan", "--pattern", pattern]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    [list("*:mailbox:*"), list("*:places:*")].concat().lines().map(str::to_owned).collect()
}

/// W-30: `age: 0` keeps messages of all users until they are acknowledged. Then nothing is left.
#[tokio::test]
async fn without_an_age_messages_of_all_users_are_kept_until_they_are_acknowledged() {
    for setup in Setup::both("{age: 0}").await {
        let id = send(setup.first(), "7", 1).await;
        if let Some(redis) = &setup.redis {
            let keys = redis_keys(redis);
            assert_eq!(keys.len(), 3, "{keys:?}");
            for key in keys {
                assert_eq!(redis.call(&["TTL", &key]).await, ":-1", "{key}");
            }
        }
        let (mut browser, messages) = open(setup.last(), "7").await;
        assert_eq!(ids(&messages), std::slice::from_ref(&id));
        browser.call("acknowledge", &[json!({"ids": [id]})]).await;
        if let Some(redis) = &setup.redis {
            until("nothing is left", async || redis_keys(redis).is_empty()).await;
        }
        assert_eq!(bodies(&open(setup.last(), "7").await.1), [Value::Null; 0]);
    }
}

/// W-31: nothing is stored for a user who was never seen, unless it is configured.
#[tokio::test]
async fn nothing_is_stored_for_a_user_who_was_never_seen_unless_unknown_is_keep() {
    for setup in Setup::both("on").await {
        assert_eq!(send(setup.first(), "stranger", 1).await, Value::Null);
        assert_eq!(setup.redis.as_ref().map_or(Vec::new(), redis_keys), [""; 0]);
        assert_eq!(setup.first().metric("nodevent_mailbox_unknown_users_total").await, 1);
        assert_eq!(open(setup.first(), "stranger").await.1, [Value::Null; 0]);
        // A user who never opened a mailbox, but is connected, is known.
        let _browser = connect(setup.last(), Transport::WebSocket, "visitor").await;
        until("the visitor is known", async || send(setup.first(), "visitor", 1).await.is_string()).await;
    }
    for setup in Setup::both("{unknown: keep}").await {
        let id = send(setup.first(), "stranger", 1).await;
        assert_eq!(ids(&open(setup.last(), "stranger").await.1), [id]);
    }
}

/// W-37: a message that is sent to one server reaches a client of another, and the mailbox survives the servers.
#[tokio::test]
async fn a_mailbox_is_shared_by_servers_and_survives_their_restart() {
    let mut setup = Setup::redis("on").await;
    let (mut browser, _) = open(setup.last(), "7").await;
    let first = send(setup.first(), "7", 1).await;
    assert_eq!(next_message(&mut browser).await["id"], first);
    browser.close().await;
    for server in setup.servers.drain(..) {
        server.stop().await;
    }
    let server = TestServer::start(&setup.configuration).await;
    server.ready().await;
    let second = send(&server, "7", 2).await;
    let (mut browser, messages) = open(&server, "7").await;
    assert_eq!(ids(&messages), [first, second]);
    let third = send(&server, "7", 3).await;
    assert_eq!(next_message(&mut browser).await["id"], third);
}

/// A message that was stored, and when it was sent.
#[derive(Clone, Copy)]
struct Numbered {
    id: u64,
    began: Instant,
    ended: Instant,
}

/// W-40: two servers number the messages of a user without a duplicate, and in the order of time.
#[tokio::test]
async fn ten_thousand_ids_of_two_servers_are_unique_and_ordered_by_time() {
    const COUNT: usize = 10_000;
    const SENDERS: usize = 8;
    let setup = Setup::redis(&format!("{{unknown: keep, count: {COUNT}, bytes: 10MB}}")).await;
    let now_us = || (crate::support::tokens::now() * 1e6) as u64;
    let start = now_us();
    let sent = join_all((0..SENDERS).map(async |sender| {
        let server = &setup.servers[sender % 2];
        let mut stream = server.dial().await;
        let mut sent = Vec::with_capacity(COUNT / SENDERS);
        for number in 0..COUNT / SENDERS {
            let body = json!({"user": "7", "event": "e", "message": [sender, number]}).to_string();
            let (began, request) = (Instant::now(), Request::post("/api/nodevent/notify", body));
            let response = request.exchange(&mut stream, &server.address).await.expect("a response");
            assert_eq!(response.status, 200, "{}", response.text());
            let id = response.json()["ids"][0].as_str().unwrap().parse().unwrap();
            sent.push(Numbered { id, began, ended: Instant::now() });
        }
        sent
    }));
    let mut sent: Vec<Numbered> = sent.await.into_iter().flatten().collect();
    let ids: BTreeSet<u64> = sent.iter().map(|one| one.id).collect();
    assert_eq!((sent.len(), ids.len()), (COUNT, COUNT), "no id is used twice");
    // Ids are microseconds. The clocks of Redis and of this test are the same.
    let (first, last) = (*ids.first().unwrap(), *ids.last().unwrap());
    assert!(start - 1000 <= first && last <= now_us() + 1000, "{first} to {last}");
    let mut by_end = sent.clone();
    by_end.sort_by_key(|one| one.ended);
    sent.sort_by_key(|one| one.began);
    let (mut earlier, mut newest) = (by_end.iter().peekable(), 0);
    for one in &sent {
        while let Some(before) = earlier.next_if(|before| before.ended < one.began) {
            newest = newest.max(before.id);
        }
        assert!(newest < one.id, "{newest} was stored before {} was sent", one.id);
    }
    // In the mailbox they are in the same order.
    let bearer = format!("Bearer {}", token(json!({"sub": "7"})));
    let (mut stored, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let path = format!("/api/nodevent/users/7/mailbox?limit=200&after={after}");
        let page = setup.last().send(&Request::get(&path).header("Authorization", &bearer)).await.json();
        let messages = page["messages"].as_array().unwrap();
        stored.extend(messages.iter().map(|one| one["id"].as_str().unwrap().parse::<u64>().unwrap()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(stored, ids.into_iter().collect::<Vec<_>>());
}

/// W-53: a mailbox is bounded; the oldest messages are dropped first, and counted.
#[tokio::test]
async fn the_oldest_messages_of_a_full_mailbox_are_dropped_and_counted() {
    for setup in Setup::both("{unknown: keep, count: 5}").await {
        for message in 1..=20 {
            send(setup.first(), "7", message).await;
        }
        assert_eq!(setup.first().metric("nodevent_mailbox_dropped_total").await, 15);
        assert_eq!(setup.first().metric("nodevent_mailbox_messages_total").await, 20);
        assert_eq!(json!(bodies(&open(setup.first(), "7").await.1)), json!([16, 17, 18, 19, 20]));
    }
    for setup in Setup::both("{unknown: keep, bytes: 4KB}").await {
        for message in 1..=20 {
            send(setup.first(), "7", format!("{message:0>1000}")).await;
        }
        let messages = open(setup.first(), "7").await.1;
        assert_eq!(messages.len(), 3);
        assert_eq!(messages[2]["message"], format!("{:0>1000}", 20));
    }
}

/// A key stores once, also after the message was acknowledged; a message ends with its time to live.
#[tokio::test]
async fn a_key_stores_once_and_a_message_ends_with_its_time_to_live() {
    for setup in Setup::both("{unknown: keep}").await {
        let once = json!({"users": ["7", "8"], "event": "e", "message": 1, "key": "k"});
        let first = notify(setup.first(), once.clone()).await;
        assert_eq!(notify(setup.last(), once.clone()).await, first);
        let (mut browser, messages) = open(setup.first(), "7").await;
        assert_eq!(ids(&messages), [first[0].clone()]);
        browser.call("acknowledge", &[json!({"ids": [first[0]]})]).await;
        assert_eq!(notify(setup.first(), once).await, first);
        assert_eq!(open(setup.first(), "7").await.1, [Value::Null; 0], "{}", setup.engine());
        // A busy machine gets more time, until it sees both messages.
        let mut has_ended = false;
        for ttl in (0..6).map(|exponent| 0.5 * f64::from(1 << exponent)) {
            let (user, sent) = (format!("ttl {ttl}"), Instant::now());
            let short = notify(setup.first(), json!({"user": user, "event": "e", "message": 1, "ttl": ttl})).await;
            let long = notify(setup.first(), json!({"user": user, "event": "e", "message": 2, "ttl": 600})).await;
            let unread = ids(&open(setup.first(), &user).await.1);
            if sent.elapsed().as_secs_f64() >= ttl && unread == [long[0].clone()] {
                continue;
            }
            assert_eq!(unread, [short[0].clone(), long[0].clone()], "{}", setup.engine());
            until("the first message has ended", async || {
                ids(&open(setup.last(), &user).await.1) == [long[0].clone()]
            })
            .await;
            // Engines count in whole milliseconds, and begin with the one in which the message arrives.
            assert!(sent.elapsed().as_secs_f64() >= ttl - 0.002, "it ended before its time");
            has_ended = true;
            break;
        }
        assert!(has_ended, "no message lasted until it was read");
    }
}

/// A client that opens a mailbox while messages arrive receives each of them, in order, however slowly it reads. The server
/// sends a mailbox that is larger than a send buffer.
#[tokio::test]
async fn messages_come_in_order_while_a_slow_client_catches_up() {
    for setup in Setup::both("{unknown: keep, bytes: 64MB}").await {
        let padding = "x".repeat(40_000);
        for message in 1..=150 {
            send(setup.first(), "7", json!([message, padding])).await;
        }
        let mut browser = connect(setup.last(), Transport::WebSocket, "7").await;
        browser.send_event("mailbox", &[]).await;
        for message in 151..=200 {
            send(setup.first(), "7", json!([message, padding])).await;
        }
        let mut received = Vec::new();
        while received.len() < 200 {
            let notice = browser.next_other_notice().await;
            assert_eq!((&notice[0], &notice[1]["first"]), (&json!("mailbox"), &json!(received.is_empty())));
            received.extend(notice[1]["messages"].as_array().unwrap().iter().map(|one| one["message"][0].clone()));
        }
        assert_eq!(json!(received), json!((1..=200).collect::<Vec<_>>()), "{}", setup.engine());
        assert_eq!(setup.last().metric("nodevent_disconnects_total{reason=\"send_buffer_full\"}").await, 0);
    }
}

/// Reads over HTTP: in pages, for publishers and for the user's own token, and for no other client.
#[tokio::test]
async fn a_mailbox_is_read_and_acknowledged_over_http_by_publishers_and_by_its_user() {
    for setup in Setup::both("{unknown: keep}").await {
        let server = setup.last();
        for message in 1..=5 {
            send(server, "a/b", message).await;
        }
        let path = "/api/nodevent/users/a%2Fb/mailbox";
        let page = server.get(&format!("{path}?limit=3")).await.json();
        assert_eq!(json!(bodies(page["messages"].as_array().unwrap())), json!([1, 2, 3]));
        assert_eq!(page["unread"], 5);
        let next = page["next"].as_str().unwrap();
        let rest = server.get(&format!("{path}?limit=3&after={next}")).await.json();
        assert_eq!(
            (json!(bodies(rest["messages"].as_array().unwrap())), &rest["next"]),
            (json!([4, 5]), &Value::Null)
        );
        let request = |method: &str, path: &str, user: &str| {
            let bearer = format!("Bearer {}", token(json!({"sub": user})));
            Request::new(method, path).header("Authorization", &bearer)
        };
        assert_eq!(server.send(&request("GET", path, "a/b")).await.json()["unread"], 5);
        let foreign = server.send(&request("GET", path, "7")).await;
        assert_eq!((foreign.status, &foreign.json()["error"]), (403, &json!("the token is for another user")));
        let removed = server.send(&request("DELETE", &format!("{path}?up_to={next}"), "a/b")).await;
        assert_eq!(removed.json(), json!({"removed": 3, "unread": 2}));
        for bad in ["?after=x", "?limit=0"] {
            assert_eq!(server.get(&format!("{path}{bad}")).await.status, 400, "{bad}");
        }
        assert_eq!(server.send(&request("DELETE", path, "a/b")).await.status, 400);
        assert_eq!(server.send(&request("PUT", path, "a/b")).await.status, 405);
        assert_eq!(server.get("/api/nodevent/users/unknown/mailbox").await.json()["unread"], 0);
        assert_eq!(server.get("/api/nodevent/users//mailbox").await.status, 400);
    }
}

/// Publish keys: one that is limited to rooms may notify and read only if it is granted.
#[tokio::test]
async fn a_publish_key_that_is_limited_to_rooms_may_not_notify_unless_it_is_granted() {
    let keys = "  publish_keys:\n    - {key: a-key-for-everything}\n    - {key: a-key-for-rooms, rooms: [r]}\n    \
                - {key: a-key-for-both, rooms: [r], users: [\"7\"]}\n    - {key: a-key-for-others, users: [\"8\"]}\n";
    let server = TestServer::start(&configuration("{unknown: keep}", keys)).await;
    for (key, status) in [
        ("a-key-for-everything", 200),
        ("a-key-for-rooms", 403),
        ("a-key-for-both", 200),
        ("a-key-for-others", 403),
        ("a-wrong-key", 401),
    ] {
        let bearer = format!("Bearer {key}");
        let body = json!({"user": "7", "event": "e"}).to_string();
        let post = Request::post("/api/nodevent/notify", body).header("Authorization", &bearer);
        assert_eq!(server.send(&post).await.status, status, "{key}");
        let get = Request::get("/api/nodevent/users/7/mailbox").header("Authorization", &bearer);
        assert_eq!(server.send(&get).await.status, status, "{key}");
    }
    assert_eq!(server.get("/api/nodevent/users/7/mailbox").await.status, 401);
}

/// Each bad input has an error that names it, and loses nothing.
#[tokio::test]
async fn bad_input_is_rejected_with_its_reason() {
    let server =
        TestServer::start(&format!("{}/plain: {{open: true}}\n", configuration("{unknown: keep}", ""))).await;
    let post = async |path: &str, body: String| server.send(&Request::post(path, body)).await;
    let large = json!({"user": "7", "event": "e", "message": "x".repeat(70_000)}).to_string();
    assert_eq!(post("/api/nodevent/notify", large).await.status, 413);
    assert_eq!(post("/api/nodevent/notify", json!({"user": ""}).to_string()).await.status, 400);
    assert_eq!(post("/api/plain/notify", json!({"user": "7", "event": "e"}).to_string()).await.status, 404);
    assert_eq!(post("/api/unknown/notify", String::new()).await.status, 404);
    assert_eq!(server.get("/api/nodevent/notify").await.status, 405);
    let mut anonymous = Browser::connect(&server, NS, Transport::WebSocket).await;
    assert_eq!(anonymous.call("mailbox", &[]).await, json!(["No user"]));
    assert_eq!(anonymous.call("acknowledge", &[json!({"ids": []})]).await, json!(["No user"]));
    let mut plain = Browser::connect(&server, "/plain", Transport::WebSocket).await;
    assert_eq!(plain.call("mailbox", &[]).await, json!(["No mailboxes"]));
    let (mut browser, _) = open(&server, "7").await;
    assert_eq!(browser.call("acknowledge", &[json!({"ids": vec!["7"; 1001]})]).await, json!(["Too many ids"]));
    let id = send(&server, "7", 1).await;
    assert_eq!(next_message(&mut browser).await["id"], id);
}

/// Every acknowledgement and id of the vectors is accepted or rejected on the wire.
#[tokio::test]
async fn acknowledgements_and_ids_of_the_vectors_are_accepted_or_rejected() {
    let server = TestServer::start(&configuration("on", "")).await;
    let (mut browser, _) = open(&server, "7").await;
    let vectors = vectors("mailboxes");
    for vector in vectors["acknowledgements"].as_array().unwrap() {
        let ack = browser.call("acknowledge", &[vector["data"].clone()]).await;
        match vector.get("error") {
            Some(error) => assert_eq!(ack, json!([error]), "{vector}"),
            None => assert_eq!(ack, json!([null, {"removed": 0, "unread": 0}]), "{vector}"),
        }
    }
    for (kind, status) in [("valid", 200), ("invalid", 400)] {
        for id in vectors["ids"][kind].as_array().unwrap() {
            let id = id.as_str().unwrap().replace('+', "%2B").replace(' ', "%20");
            let response = server.get(&format!("/api/nodevent/users/7/mailbox?after={id}")).await;
            assert_eq!(response.status, status, "{id:?}: {}", response.text());
        }
    }
}

/// Users who were never seen cannot fill memory or Redis.
#[tokio::test]
async fn mailboxes_of_users_who_were_never_seen_are_limited() {
    for mailbox in ["{unknown: keep}", "{age: 0}"] {
        for mut setup in Setup::both(mailbox).await {
            let limited = format!("limits: {{max_mailboxes: 3}}\n{}", setup.configuration);
            setup.servers = vec![TestServer::start(&limited).await];
            setup.first().ready().await;
            let body = json!({"users": ["1", "2", "3", "4", "5"], "event": "e"}).to_string();
            let response = setup.first().send(&Request::post("/api/nodevent/notify", body)).await;
            assert_eq!((response.status, &response.json()["accepted"]), (507, &json!(3)), "{}", response.text());
            assert_eq!(setup.first().metric("nodevent_mailbox_full_total").await, 2);
            assert!(send(setup.first(), "1", 1).await.is_string(), "a mailbox that exists has its place");
            let (mut browser, messages) = open(setup.first(), "1").await;
            browser.call("acknowledge", &[json!({"ids": ids(&messages)})]).await;
            if mailbox == "{age: 0}" {
                until("the place is free", async || {
                    let body = json!({"user": "4", "event": "e"}).to_string();
                    setup.first().send(&Request::post("/api/nodevent/notify", body)).await.status == 200
                })
                .await;
            }
        }
    }
}
