//! Attacks on histories by clients and by programs that may publish in Redis (issue 12): invented positions, invented
//! rooms, positions that the script did not assign.

use crate::support::redis::redis_cli;
use crate::support::wait::until;
use crate::support::{Browser, RedisServer, Request, TestServer, Transport};
use nodevent_protocol::history::Keys;
use serde_json::{Value, json};

/// Starts a server for each engine. The history has room for about a hundred publications.
async fn servers() -> (RedisServer, Vec<TestServer>) {
    let redis = RedisServer::start().await;
    let mut servers = Vec::new();
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let history = "history: {size: 100, max_memory: 100KB}";
        let limits = "limits: {joins_per_second: 1000000, packets_per_second: 1000000, bytes_per_second: 100MB}";
        let server = TestServer::start(&format!("{limits}\n/nodevent: {{{history}{engine}}}\n")).await;
        server.ready().await;
        servers.push(server);
    }
    (redis, servers)
}

/// Runs a command in Redis.
fn query(redis: &RedisServer, arguments: &[&str]) -> String {
    let output = redis_cli().args(["-p", &redis.port.to_string()]).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn join(browser: &mut Browser, room: &str, since: Value) -> Value {
    browser.call("join", &[json!({"room": room, "since": since})]).await[2].clone()
}

/// Attack 1: an offset beyond what the script computes with failed, and was retried for 10 s.
#[tokio::test]
async fn position_that_no_engine_assigns_is_answered_at_once() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        for (index, since) in [
            "0000000000000000:9223372036854775807",
            "0000000000000000:18446744073709551615",
            "0000000000000000:9007199254740991",
            "ffffffffffffffff:9007199254740991",
            "ffffffffffffffff:0",
            "0000000000000000:0",
            "nonsense",
        ]
        .into_iter()
        .enumerate()
        {
            for room in [format!("unknown-{index}"), "known".to_owned()] {
                server.emit("/nodevent", "known", "e", index).await;
                let started = tokio::time::Instant::now();
                let state = join(&mut browser, &room, since.into()).await;
                assert_eq!(state["recovered"], false, "{since} in {room}: {state}");
                assert!(state["position"].is_string(), "{since} in {room}: {state}");
                assert!(started.elapsed().as_secs() < 5, "{since} in {room}");
                browser.leave(&room).await;
            }
        }
    }
}

/// Attack 3: a client that joined a room again and again, with a position that needs a read, muted it for a member.
#[tokio::test]
async fn publications_reach_members_while_others_recover() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let mut attacker = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        let mut member = Browser::connect(&server, "/nodevent", Transport::Polling).await;
        for number in 0..50 {
            for _ in 0..20 {
                let since = format!("0000000000000000:{}", 9_007_199_254_740_991_u64 - number);
                attacker.send_event("join", &[json!({"room": "r", "since": since})]).await;
            }
            if number == 0 {
                member.join("r").await;
            }
            server.emit("/nodevent", "r", "e", number).await;
            assert_eq!(member.next_event().await.message, number);
        }
    }
}

/// Attack 5: reading and joining made-up rooms stored them in Redis, and evicted all real history from the memory engine.
#[tokio::test]
async fn made_up_rooms_store_nothing() {
    let (redis, servers) = servers().await;
    for server in servers {
        server.emit("/nodevent", "real", "e", 1).await;
        // Without what the servers themselves store, some of it a little later than they are ready.
        let servers_own = |key: &&str| key.contains(":probe:") || key.contains(":secrets:");
        let keys = || query(&redis, &["--scan"]);
        let count = || keys().lines().filter(|key| !servers_own(key)).count();
        let before = count();
        let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        for number in 0..500 {
            let room = format!("made-up-{number}");
            assert_eq!(join(&mut browser, &room, Value::Null).await["recovered"], true);
            assert_eq!(join(&mut browser, &room, "0000000000000001:5".into()).await["recovered"], false);
            let path = format!("/api/nodevent/rooms/{room}/history");
            assert_eq!(server.get(&path).await.json()["publications"], json!([]));
            browser.leave(&room).await;
        }
        assert_eq!(count(), before, "{}", keys());
        let real = server.get("/api/nodevent/rooms/real/history").await.json();
        assert_eq!(real["publications"][0]["message"], 1);
    }
}

/// Reads over HTTP renewed the expiry of a room's position, and recorded restarts of Redis. Now only reads for members do.
#[tokio::test]
async fn reads_without_members_leave_redis_unchanged() {
    let (redis, servers) = servers().await;
    let server = &servers[1];
    for number in 1..=3 {
        server.emit("/nodevent", "r", "e", number).await;
    }
    let key = Keys::of("/nodevent", "r").position;
    let stored = || query(&redis, &["HGETALL", &key]);
    let expiry = || query(&redis, &["PTTL", &key]).parse::<i64>().unwrap();
    let read = async |query: &str| server.get(&format!("/api/nodevent/rooms/r/history{query}")).await.json();
    const LEFT: i64 = 1_000_000;
    for another_run in [false, true] {
        query(&redis, &["PEXPIRE", &key, &LEFT.to_string()]);
        if another_run {
            // As if another run of Redis had written the room last.
            query(&redis, &["HSET", &key, "l", "another", "i", "another"]);
        }
        let before = stored();
        let now = read("").await;
        let position = now["position"].as_str().unwrap().to_owned();
        let offset: u64 = position.split(':').nth(1).unwrap().parse().unwrap();
        assert_eq!(offset, if another_run { 1_000_000_004 } else { 3 }, "{now}");
        for since in ["nonsense", "0000000000000001:5", &position] {
            let history = read(&format!("?since={since}")).await;
            assert_eq!(history["position"], *position);
            assert_eq!(history["recovered"], since == position, "{since}: {history}");
        }
        assert_eq!(stored(), before, "another run: {another_run}");
        assert!((1..=LEFT).contains(&expiry()), "{}", expiry());
        // The next publication follows the position that was read.
        server.emit("/nodevent", "r", "e", 4).await;
        let history = read(&format!("?since={position}")).await;
        assert_eq!((&history["recovered"], history["publications"].as_array().unwrap().len()), (&json!(true), 1));
        assert_eq!(history["position"].as_str().unwrap().split(':').nth(1), Some(&*(offset + 1).to_string()));
    }

    query(&redis, &["PEXPIRE", &key, &LEFT.to_string()]);
    let mut member = Browser::connect(server, "/nodevent", Transport::WebSocket).await;
    member.join("r").await;
    assert!(expiry() > LEFT, "a member keeps the position");
}

/// A member of a room without publications has a position all the same: when it returns it receives the first ones, and
/// has missed nothing if there are none. If the engine may have forgotten publications it learns that.
#[tokio::test]
async fn member_of_an_absent_room_recovers_its_first_publications() {
    let (redis, servers) = servers().await;
    for (server, on_redis) in servers.into_iter().zip([false, true]) {
        let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        let since = join(&mut browser, "r", Value::Null).await["position"].clone();
        browser.leave("r").await;
        assert_eq!(join(&mut browser, "r", since.clone()).await["recovered"], true);
        browser.leave("r").await;
        for number in 1..=3 {
            server.emit("/nodevent", "r", "e", number).await;
        }
        let state = join(&mut browser, "r", since.clone()).await;
        assert_eq!(state["recovered"], true, "{state}");
        for number in 1..=3 {
            assert_eq!(browser.next_event().await.message, number);
        }
        let later = join(&mut browser, "other", Value::Null).await["position"].clone();
        browser.leave("r").await;
        assert_eq!(join(&mut browser, "r", later).await["recovered"], false, "the room existed by then");
        if on_redis {
            browser.leave("r").await;
            // As if Redis had evicted the room: it counts that.
            query(&redis, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
            query(&redis, &["CONFIG", "SET", "maxmemory", "1"]);
            until("everything is evicted", async || query(&redis, &["DBSIZE"]) == "0").await;
            query(&redis, &["CONFIG", "SET", "maxmemory", "0"]);
            assert_eq!(join(&mut browser, "r", since).await["recovered"], false);
        }
    }
}

/// Attack 10: one plain publish with an invented position caused reads without end, and muted the room.
#[tokio::test]
async fn position_of_a_plain_publish_is_not_believed() {
    let (redis, servers) = servers().await;
    let server = &servers[1];
    let mut browser = Browser::connect(server, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    let position = |number: usize| {
        let history = query(&redis, &["HGET", &Keys::of("/nodevent", "r").position, "e"]);
        format!("{history}:{number}")
    };
    server.emit("/nodevent", "r", "e", 1).await;
    assert_eq!(browser.next_event().await.message, 1);
    let reads = server.metric("nodevent_history_reads_total").await;
    for claimed in [position(9_000_000_000), "0000000000000001:1".to_owned(), "7000000000000001:77".to_owned()] {
        let text = json!({"room": "r", "event": "e", "message": "claimed", "position": claimed}).to_string();
        redis.publish("/nodevent", &text).await;
    }
    for number in 2..=200 {
        server.emit("/nodevent", "r", "e", number).await;
        assert_eq!(browser.next_event().await.message, number);
    }
    let reads = server.metric("nodevent_history_reads_total").await - reads;
    assert!(reads < 20, "{reads} reads");
    // The next position is delivered, because it may be true. The true one is delivered after a gap notice.
    let text = json!({"room": "r", "event": "e", "message": "claimed", "position": position(201)}).to_string();
    redis.publish("/nodevent", &text).await;
    assert_eq!(browser.next_event().await.message, "claimed");
    server.emit("/nodevent", "r", "e", 201).await;
    let gap = browser.next_packet().await.expect("a notice").value();
    assert_eq!(gap[0], "lost", "{gap}");
    assert_eq!(browser.next_event().await.message, 201);
}

/// A position that a publisher wrote never reaches clients as one that the engine assigned.
#[tokio::test]
async fn position_in_a_room_without_history_is_overridden() {
    let redis = RedisServer::start().await;
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let server = TestServer::start(&format!("/nodevent: {{history: off{engine}}}\n")).await;
        server.ready().await;
        let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        browser.join("r").await;
        let text = r#"{"room":"r","event":"e","message":1,"position":"0000000000000001:5"}"#;
        assert_eq!(server.publish("/nodevent", text).await.status, 200);
        let overridden = r#"{"room":"r","event":"e","message":1,"position":"0000000000000001:5","position":null}"#;
        assert_eq!(browser.next_event_text().await, overridden);
    }
}

/// Attack 8: composed names of keys collided. An idempotency key of one room was the log of another one.
#[tokio::test]
async fn idempotency_key_cannot_name_the_log_of_another_room() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let text = r#"{"room":"x","event":"e","message":"first"}"#;
        let request = Request::post("/api/nodevent/emit", text).header("Idempotency-Key", "y}:log");
        assert_eq!(server.send(&request).await.status, 200);
        server.emit("/nodevent", "x}:once:y", "e", "second").await;
        for (room, message) in [("x", "first"), ("x%7D%3Aonce%3Ay", "second")] {
            let history = server.get(&format!("/api/nodevent/rooms/{room}/history")).await.json();
            let publications = history["publications"].as_array().unwrap();
            assert_eq!((publications.len(), &publications[0]["message"]), (1, &json!(message)), "{history}");
        }
    }
}
