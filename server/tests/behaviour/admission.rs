//! Room keys on the wire: which keys open a room, and the reasons for refusing the others.

use crate::support::keys::{LATER, key};
use crate::support::{Browser, PLAIN, TestServer, Transport, vectors};
use nodevent_protocol::key::{Secret, sign, sign_bound};
use nodevent_server::clock::now_ms;
use serde_json::{Value, json};
use std::process::Command;

const SECRET: &str = "lajf0q983j4laidsnvqo84jfoqijflkjafds";

async fn secured() -> TestServer {
    TestServer::start(&format!("/nodevent: {{history: off, secret: {SECRET}}}")).await
}

#[tokio::test]
async fn room_without_a_secret_accepts_any_key_or_none() {
    // N-35
    let server = TestServer::start(PLAIN).await;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        for data in [json!({"room": "a"}), json!({"room": "b", "key": "x"}), json!({"room": "c", "key": 7})] {
            assert_eq!(browser.call("join", &[data]).await, json!([null, true]));
        }
    }
}

#[tokio::test]
async fn room_with_a_secret_refuses_every_other_key_with_its_reason() {
    let server = secured().await;
    let good = key("r", LATER, SECRET);
    let changed = if good.starts_with('0') { good.replacen('0', "1", 1) } else { format!("0{}", &good[1..]) };
    let cases: [(Value, &str); 12] = [
        (json!(null), "Must provide key"),                             // N-36
        (json!(""), "Bad sig"),                                        // N-37
        (json!("badkey"), "Bad sig"),                                  // N-37
        (json!(":1"), "Bad sig"),                                      // N-37
        (json!(key("r", "1700000000000", SECRET)), "Time has passed"), // N-38
        (json!("0123:1700000000000"), "Time has passed"),              // N-38: the time is checked before the hash
        (json!(changed), "Bad key"),                                   // N-39: one digit
        (json!(key("other", LATER, SECRET)), "Bad key"),               // N-39: another room's
        (json!(key("r", LATER, "another secret")), "Bad key"),         // N-39: another secret's
        (json!(good.to_uppercase()), "Bad key"),                       // N-39
        (json!(format!("{good}xyz")), "Bad time"),                     // N-43
        (json!(key("r", "41024448000000", SECRET)), "Bad time"),       // N-43: 14 digits, rightly signed
    ];
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        assert_eq!(browser.call("join", &[json!({"room": "r"})]).await, json!(["Must provide key", false]));
        for (key, refusal) in &cases {
            assert_eq!(browser.join_with("r", key.clone()).await, json!([refusal, false]), "{key}");
        }
        server.emit("/nodevent", "r", "e", "for members only").await;
        browser.receives_nothing_else_with(&server, |room| Some(key(room, LATER, SECRET))).await;
        // N-40
        assert_eq!(browser.join_with("r", good.as_str()).await, json!([null, true]));
        server.emit("/nodevent", "r", "e", 1).await;
        assert_eq!(browser.next_event().await.message, 1);
    }
}

/// The holder of a key for User_12 moves a digit of the room into the time and requests User_1, or moves a digit of a
/// far-dated time into the room. Both have the signed hash, and the server refuses both.
#[tokio::test]
async fn key_does_not_open_another_room_by_moving_a_digit() {
    // N-42
    let server = secured().await;
    let twelve = key("User_12", LATER, SECRET);
    let (hash, time) = twelve.split_once(':').unwrap();
    assert_eq!(key("User_1", &format!("2{time}"), SECRET), format!("{hash}:2{time}"), "the hash matches");
    let far = key("User_1", "253402300799000", SECRET);
    let (far_hash, far_time) = far.split_once(':').unwrap();
    let moved = format!("{far_hash}:{}", &far_time[1..]);
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        assert_eq!(browser.join_with("User_1", format!("{hash}:2{time}")).await, json!(["Bad time", false]));
        assert_eq!(browser.join_with("User_", format!("{hash}:12{time}")).await, json!(["Bad time", false]));
        assert_eq!(browser.join_with("User_12", moved.as_str()).await, json!(["Bad time", false]));
        for room in ["User_", "User_1", "User_12"] {
            server.emit("/nodevent", room, "private", 1).await;
        }
        browser.receives_nothing_else_with(&server, |room| Some(key(room, LATER, SECRET))).await;
        assert_eq!(browser.join_with("User_12", twelve.as_str()).await, json!([null, true]));
    }
}

/// Each list of secrets in the vectors gets its own namespace, and the test tries every key over the wire. It skips
/// vectors that need another clock or another maximum lifetime, which the tests of the protocol crate cover.
#[tokio::test]
async fn every_key_of_the_vectors_opens_its_room_or_is_refused_as_listed() {
    // N-36 to N-43
    const NOW: u64 = 1_750_000_000_000;
    let keys = vectors("keys");
    let all: Vec<&Value> = keys["verify"].as_array().unwrap().iter().collect();
    // Those of bound keys expire soon after `now`.
    let fits = |one: &&&Value| {
        one["now"] == NOW
            && ["max_ttl", "namespace"].iter().all(|key| one.get(key).is_none())
            && one["secrets"] != json!([])
    };
    let tried: Vec<&Value> = all.iter().filter(fits).copied().collect();
    assert!(tried.len() > 50, "only {} of {} vectors are tried", tried.len(), all.len());
    let mut lists: Vec<&Value> = Vec::new();
    for one in &tried {
        if !lists.contains(&&one["secrets"]) {
            lists.push(&one["secrets"]);
        }
    }
    let namespaces =
        lists.iter().enumerate().map(|(number, list)| format!("/n{number}: {{history: off, secrets: {list}}}\n"));
    let server = TestServer::start(&namespaces.collect::<String>()).await;
    for transport in Transport::BOTH {
        for (number, list) in lists.iter().enumerate() {
            let mut browser = Browser::connect(&server, &format!("/n{number}"), transport).await;
            for vector in tried.iter().filter(|one| one["secrets"] == **list) {
                let mut data = json!({"room": vector["room"]});
                if let Some(key) = vector.get("key") {
                    data["key"] = key.clone();
                }
                let expected = match vector.get("refusal") {
                    Some(refusal) => json!([refusal, false]),
                    None => json!([null, true]),
                };
                assert_eq!(browser.call("join", &[data]).await, expected, "{transport:?}: {vector}");
            }
        }
    }
}

#[tokio::test]
async fn key_equals_the_one_other_programs_compute() {
    // N-41
    let server = secured().await;
    let room = "ünï☃";
    let hash = Command::new("sh")
        .args(["-c", "printf %s \"$0\" | sha256sum", &format!("{room}{LATER}{SECRET}")])
        .output()
        .expect("sha256sum runs");
    let hash = String::from_utf8(hash.stdout).unwrap();
    let hash = hash.split(' ').next().unwrap();
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    assert_eq!(browser.join_with(room, format!("{hash}:{LATER}")).await, json!([null, true]));
}

/// Three namespaces have one secret. A bound key opens a room of its own one.
#[tokio::test]
async fn bound_key_opens_its_room_in_its_namespace_only() {
    let rest = format!("history: off, secret: {SECRET}");
    let server = TestServer::start(&format!(
        "/a: {{{rest}}}\n/b: {{{rest}, bound_keys: sign}}\n/c: {{{rest}, bound_keys: require, max_key_lifetime: 1h}}\n"
    ))
    .await;
    let secret = Secret::new(SECRET).unwrap();
    let bound =
        |namespace: &str, minutes: u64| sign_bound(namespace, "r", now_ms() + minutes * 60_000, &secret).unwrap();
    let month = 31 * 24 * 60;
    for transport in Transport::BOTH {
        for (namespace, keys) in [
            ("/a", [(bound("/a", 5), None), (bound("/b", 5), Some("Bad key")), (key("r", LATER, SECRET), None)]),
            (
                "/b",
                [
                    (bound("/b", 5), None),
                    (bound("/b", month), Some("Lifetime too long")),
                    (key("r", LATER, SECRET), None),
                ],
            ),
            (
                "/c",
                [
                    (bound("/c", 5), None),
                    (bound("/c", 61), Some("Lifetime too long")),
                    (sign("r", now_ms() + 60_000, &secret).unwrap(), Some("Bad key")),
                ],
            ),
        ] {
            let mut browser = Browser::connect(&server, namespace, transport).await;
            for (key, refusal) in keys {
                let expected = refusal.map_or(json!([null, true]), |refusal| json!([refusal, false]));
                assert_eq!(browser.join_with("r", key.as_str()).await, expected, "{namespace}: {key}");
            }
        }
    }
}

#[tokio::test]
async fn refused_join_keeps_existing_memberships() {
    // N-49
    let server = secured().await;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        assert_eq!(browser.join_with("r", key("r", LATER, SECRET)).await, json!([null, true]));
        assert_eq!(browser.join_with("r", "bad").await, json!(["Bad sig", false]));
        server.emit("/nodevent", "r", "e", 1).await;
        assert_eq!(browser.next_event().await.message, 1);
    }
}

#[tokio::test]
async fn keys_of_both_secrets_open_a_room_during_rotation() {
    let server = TestServer::start(
        "/nodevent: {history: off, secrets: [{id: b, secret: the-new-secret-of-2026}, {id: a, secret: the-old-secret-of-2025}]}",
    )
    .await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    for secret in ["the-new-secret-of-2026", "the-old-secret-of-2025"] {
        assert_eq!(browser.join_with("r", key("r", LATER, secret)).await, json!([null, true]));
    }
    assert_eq!(browser.join_with("r", key("r", LATER, "the-lost-secret")).await, json!(["Bad key", false]));
}
