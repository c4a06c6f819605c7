//! Publications to users, to several targets and to all connections: each connection receives an event once, live and in a
//! recovery, on both engines, in both modes of channels, and on several servers.

use crate::support::tokens::token;
use crate::support::{Browser, RedisServer, Request, Response, Site, TestServer, Transport};
use serde_json::{Value, json};

const NAMESPACE: &str = "/nodevent";

/// The engines, as settings of a namespace. With Redis, there are two servers.
fn engines(redis: &RedisServer) -> [(&'static str, String, usize); 3] {
    let redis = |more: &str| format!("redis: \"{}\"{more}", redis.url());
    [
        ("memory", "history: {size: 100}".to_owned(), 1),
        ("redis", redis(""), 2),
        ("redis, a channel per room", redis(", channel_per_room: true"), 2),
    ]
}

/// Starts the servers of an engine, with tokens and room keys off.
async fn servers(engine: &str, count: usize) -> Vec<TestServer> {
    servers_with("", engine, count).await
}

/// The same, with other keys at the top.
async fn servers_with(more: &str, engine: &str, count: usize) -> Vec<TestServer> {
    let token = "token: {secret: a-secret-for-tokens-of-more-than-32-bytes}";
    let mut servers = Vec::new();
    for _ in 0..count {
        let server = TestServer::start(&format!("{more}{NAMESPACE}: {{open: true, {token}, {engine}}}\n")).await;
        server.ready().await;
        servers.push(server);
    }
    servers
}

/// Connects a user, with what the auth payload contains besides the token.
async fn user(site: &Site, transport: Transport, id: &str, more: Value) -> Browser {
    let mut browser = Browser::open(site, transport).await;
    let mut auth = more;
    auth["token"] = json!(token(json!({"sub": id})));
    browser.enter_with(NAMESPACE, &auth.to_string()).await.expect("the token is accepted");
    assert_eq!(browser.next_notice().await[0], "identified");
    // With a history the position of the user's topic follows, as soon as the user receives publications.
    assert_eq!(browser.next_notice().await[0], "joined");
    browser
}

async fn post(site: &Site, body: Value) -> Response {
    site.send(&Request::post(&format!("/api{NAMESPACE}/emit"), body.to_string())).await
}

async fn publish(site: &Site, body: Value) {
    let response = post(site, body).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

/// The target that a publication names.
fn target(publication: &Value) -> Value {
    let mut target = publication.clone();
    target
        .as_object_mut()
        .unwrap()
        .retain(|name, _| ["room", "user", "broadcast", "rooms", "users"].contains(&&**name));
    target
}

/// The next publication: its target and message.
async fn next(browser: &mut Browser) -> (Value, Value) {
    let event = browser.next_publication().await;
    (target(&event.publication), event.message)
}

#[tokio::test]
async fn users_receive_on_all_their_connections_on_all_servers_and_strangers_nothing() {
    // T-15, T-17, T-43, W-35
    let redis = RedisServer::start().await;
    for (name, engine, count) in engines(&redis) {
        let servers = servers(&engine, count).await;
        let (first, last) = (&servers[0], servers.last().unwrap());
        let mut tabs = Vec::new();
        for (site, transport) in [(first, Transport::WebSocket), (last, Transport::Polling)] {
            tabs.push(user(site, transport, "42", json!({})).await);
        }
        let mut stranger = user(last, Transport::WebSocket, "43", json!({})).await;
        let mut unknown = Browser::connect(last, NAMESPACE, Transport::WebSocket).await;
        for (number, users) in [json!("42"), json!(["42"]), json!([42, "stranger"])].into_iter().enumerate() {
            publish(first, json!({"users": users, "event": "e", "message": number})).await;
            for tab in &mut tabs {
                assert_eq!(next(tab).await, (json!({"user": "42"}), json!(number)), "{name}");
            }
        }
        for browser in [&mut stranger, &mut unknown] {
            browser.receives_nothing_else(first).await;
        }
        publish(last, json!({"users": ["43", "42"], "event": "e"})).await;
        assert_eq!(next(&mut stranger).await.0, json!({"user": "43"}), "{name}: it does not learn of the others");
        for tab in &mut tabs {
            assert_eq!(next(tab).await.0, json!({"user": "42"}), "{name}");
        }
    }
}

#[tokio::test]
async fn connection_that_several_targets_reach_receives_the_first_match() {
    // T-16, T-20, W-19
    let redis = RedisServer::start().await;
    for (name, engine, count) in engines(&redis) {
        let servers = servers(&engine, count).await;
        let (first, last) = (&servers[0], servers.last().unwrap());
        for transport in Transport::BOTH {
            let mut browsers = vec![
                user(first, transport, "42", json!({})).await,
                user(last, transport, "43", json!({})).await,
                Browser::connect(last, NAMESPACE, transport).await,
                Browser::connect(first, NAMESPACE, transport).await,
            ];
            for (browser, rooms) in browsers.iter_mut().zip([&["a", "b"][..], &["a", "b"], &["b"], &[]]) {
                for room in rooms {
                    browser.join(room).await;
                }
            }
            for number in 0..20 {
                let all = json!({
                    "rooms": ["a", "b"], "users": "42", "broadcast": true, "event": "e", "message": number,
                });
                publish(if number % 2 == 0 { first } else { last }, all).await;
                publish(first, json!({"rooms": ["a", "b"], "event": "e", "message": [number]})).await;
                let expected =
                    [json!({"user": "42"}), json!({"room": "a"}), json!({"room": "b"}), json!({"broadcast": true})];
                for (browser, target) in browsers.iter_mut().zip(expected) {
                    let received = next(browser).await;
                    let backfilled = last.metric("nodevent_backfilled_publications_total").await;
                    assert_eq!(received, (target, json!(number)), "{name}: {backfilled} backfilled");
                }
                for (browser, room) in browsers.iter_mut().zip(["a", "a", "b"]) {
                    assert_eq!(next(browser).await, (json!({"room": room}), json!([number])), "{name}");
                }
            }
            publish(first, json!({"broadcast": true, "event": "e", "message": "last"})).await;
            for browser in &mut browsers {
                assert_eq!(next(browser).await, (json!({"broadcast": true}), json!("last")), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn what_was_published_to_the_user_and_to_all_is_recovered_once_and_in_order() {
    // T-20, W-19
    let redis = RedisServer::start().await;
    for (name, engine, count) in engines(&redis) {
        // What one connection has received, all connections of its shard have.
        let servers = servers_with("shards: 1\n", &engine, count).await;
        let (first, last) = (&servers[0], servers.last().unwrap());
        for transport in Transport::BOTH {
            let mut browser = Browser::open(first, transport).await;
            let token = token(json!({"sub": "42"}));
            browser.enter_with(NAMESPACE, &json!({"token": token}).to_string()).await.unwrap();
            assert_eq!(browser.next_notice().await[0], "identified");
            let joined = browser.next_notice().await;
            assert_eq!((&joined[1]["user"], &joined[1]["recovered"]), (&json!("42"), &json!(true)), "{joined}");
            let since_user = joined[1]["position"].clone();
            let all = browser.call("join", &[json!({"broadcast": true})]).await;
            let since_all = all[2]["position"].clone();
            let room = browser.call("join", &[json!({"room": "r"})]).await;
            let since_room = room[2]["position"].clone();
            browser.close().await;
            let mut witness = Browser::open(last, transport).await;
            let other = crate::support::tokens::token(json!({"sub": "witness"}));
            witness.enter_with(NAMESPACE, &json!({"token": other}).to_string()).await.unwrap();
            for number in 0..3 {
                publish(
                    last,
                    json!({"users": "42", "rooms": ["r"], "broadcast": true, "event": "e", "message": number}),
                )
                .await;
                publish(last, json!({"broadcast": true, "event": "e", "message": [number]})).await;
            }
            // Otherwise the server may deliver the last ones live to the connection that is opened now.
            while next(&mut witness).await.1 != json!([2]) {}
            witness.close().await;
            let auth = json!({"token": token, "since_user": since_user});
            let mut browser = Browser::open(last, transport).await;
            browser.enter_with(NAMESPACE, &auth.to_string()).await.unwrap();
            for number in 0..3 {
                assert_eq!(next(&mut browser).await, (json!({"user": "42"}), json!(number)), "{name}");
            }
            assert_eq!(browser.next_notice().await[0], "identified");
            assert_eq!(browser.next_notice().await[1]["recovered"], true, "{name}");
            let room = browser.call("join", &[json!({"room": "r", "since": since_room})]).await;
            assert_eq!(room[2]["recovered"], true, "{name}");
            let all = browser.call("join", &[json!({"broadcast": true, "since": since_all})]).await;
            assert_eq!(all[2]["recovered"], true, "{name}");
            for number in 0..3 {
                assert_eq!(next(&mut browser).await, (json!({"broadcast": true}), json!([number])), "{name}");
            }
            // The copies that it did not receive have moved its positions.
            let mut skipped = Vec::new();
            for _ in 0..6 {
                let notice = browser.next_notice().await;
                assert_eq!(notice[0], "skipped", "{name}: {notice}");
                skipped.push((target(&notice[1]), notice[1]["position"].clone()));
            }
            assert_eq!(skipped[2], (json!({"room": "r"}), room[2]["position"].clone()), "{name}");
            publish(first, json!({"broadcast": true, "event": "e", "message": "live"})).await;
            assert_eq!(next(&mut browser).await.1, "live", "{name}");
            browser.close().await;
        }
    }
}

#[tokio::test]
async fn position_of_another_epoch_is_not_recovered() {
    let servers = servers("history: {size: 100}", 1).await;
    let mut browser = Browser::open(&servers[0], Transport::WebSocket).await;
    publish(&servers[0], json!({"users": "42", "broadcast": true, "event": "e"})).await;
    let position = "0123456789abcdef:7";
    let auth = json!({"token": token(json!({"sub": "42"})), "since_user": position});
    browser.enter_with(NAMESPACE, &auth.to_string()).await.unwrap();
    assert_eq!(browser.next_notice().await[0], "identified");
    assert_eq!(browser.next_notice().await[1]["recovered"], false);
    let all = browser.call("join", &[json!({"broadcast": true, "since": position})]).await;
    assert_eq!(all[2]["recovered"], false);
}

#[tokio::test]
async fn connections_leave_no_users_and_no_memberships_behind() {
    // T-35, X-05
    let redis = RedisServer::start().await;
    for (name, engine, _) in engines(&redis) {
        let servers = servers(&engine, 1).await;
        let server = &servers[0];
        for round in 0..5 {
            let mut browsers = Vec::new();
            for number in 0..10 {
                let mut browser =
                    user(server, Transport::WebSocket, &format!("{round}-{}", number / 2), json!({})).await;
                browser.join("r").await;
                browsers.push(browser);
            }
            // Users are counted on each shard.
            let users = server.metric("nodevent_users").await;
            assert!((5..=10).contains(&users), "{name}: {users}");
            for browser in browsers {
                browser.close().await;
            }
        }
        crate::support::wait::until("no user is left", async || {
            server.metric("nodevent_users").await == 0 && server.metric("nodevent_rooms").await == 0
        })
        .await;
    }
}

#[tokio::test]
async fn connection_that_leaves_its_namespace_is_not_its_users_any_more() {
    let servers = servers("history: {size: 100}", 1).await;
    let mut browser = user(&servers[0], Transport::WebSocket, "42", json!({})).await;
    browser.send(&["41/nodevent,"]).await;
    browser.enter(NAMESPACE).await.unwrap();
    publish(&servers[0], json!({"users": "42", "event": "e"})).await;
    browser.receives_nothing_else(&servers[0]).await;
    assert_eq!(servers[0].metric("nodevent_users").await, 0);
}

#[tokio::test]
async fn no_client_joins_or_reads_the_topic_of_another_user() {
    let servers = servers("history: {size: 100}", 1).await;
    publish(&servers[0], json!({"users": "42", "broadcast": true, "event": "e"})).await;
    let mut stranger = Browser::connect(&servers[0], NAMESPACE, Transport::WebSocket).await;
    for room in ["\u{1}user:42", "\u{1}all", "\u{1}"] {
        let ack = stranger.call("join", &[json!({"room": room})]).await;
        assert_eq!(ack, json!(["Bad room", false]), "{room:?}");
        assert_eq!(stranger.call("leave", &[json!({"room": room})]).await, json!(["Bad room"]));
        let path = room.replace('\u{1}', "%01");
        let response = servers[0].get(&format!("/api{NAMESPACE}/rooms/{path}/history")).await;
        assert_eq!(response.status, 403, "{}", response.text());
    }
}

#[tokio::test]
async fn bad_targets_are_rejected_over_http_and_in_redis_and_nothing_is_published() {
    let redis = RedisServer::start().await;
    let servers = servers(&format!("redis: \"{}\"", redis.url()), 1).await;
    let server = &servers[0];
    let mut browser = user(server, Transport::WebSocket, "42", json!({})).await;
    browser.join("a").await;
    let many: Vec<u32> = (0..1001).collect();
    for (body, error) in [
        (json!({"users": [], "event": "e"}), "its list of rooms or users is empty"),
        (json!({"rooms": {}, "event": "e"}), "its rooms are not a room"),
        (json!({"rooms": ["a", 1.5], "event": "e"}), "its rooms are not a room"),
        (json!({"users": ["42", null], "event": "e"}), "its users are not the id of a user"),
        (json!({"users": "4\n2", "event": "e"}), "its users are not the id of a user"),
        (json!({"room": "a", "broadcast": "yes", "event": "e"}), "its broadcast is not true or false"),
        (json!({"users": many, "event": "e"}), "it has more than 1000 targets"),
        (json!({"users": "42"}), "it has no event"),
        (json!({"broadcast": false, "event": "e"}), "it has no room"),
    ] {
        let response = post(server, json!([{"room": "a", "event": "e"}, body])).await;
        assert_eq!(response.status, 400, "{body}");
        assert!(
            response.json()["error"].as_str().unwrap().starts_with(&format!("publication 1: {error}")),
            "{}",
            response.text()
        );
    }
    // A plain PUBLISH has one target.
    let before = server.metric("nodevent_invalid_publishes_total{reason=\"several_targets\"}").await;
    redis.publish(NAMESPACE, r#"{"rooms":["a"],"users":["42"],"event":"e","message":"several"}"#).await;
    redis.publish(NAMESPACE, r#"{"user":"42","event":"e","message":"one"}"#).await;
    redis.publish(NAMESPACE, r#"{"broadcast":true,"event":"e","message":"all"}"#).await;
    assert_eq!(next(&mut browser).await, (json!({"user": "42"}), json!("one")));
    assert_eq!(next(&mut browser).await, (json!({"broadcast": true}), json!("all")));
    assert_eq!(server.metric("nodevent_invalid_publishes_total{reason=\"several_targets\"}").await, before + 1);
}

#[tokio::test]
async fn key_that_is_limited_to_rooms_publishes_to_no_user_and_not_to_all() {
    let keys = "
  publish_keys:
    - the-key-of-the-application
    - {id: game, key: the-key-of-the-game-server, rooms: [\"*\"]}
    - {id: mail, key: the-key-of-the-mail-server, users: [\"*\"]}
    - {id: ops, key: the-key-of-the-operators, rooms: [lobby], broadcast: true}
";
    let server = TestServer::start(&format!("{NAMESPACE}:\n  open: true{keys}")).await;
    for (key, room, user, all) in [
        ("the-key-of-the-application", 200, 200, 200),
        ("the-key-of-the-game-server", 200, 403, 403),
        ("the-key-of-the-mail-server", 403, 200, 403),
        ("the-key-of-the-operators", 200, 403, 200),
    ] {
        for (target, status) in [
            (json!({"room": "lobby"}), room),
            (json!({"rooms": ["lobby", "lobby"]}), room),
            (json!({"users": "42"}), user),
            (json!({"user": "42"}), user),
            (json!({"broadcast": true}), all),
            (json!({"rooms": "lobby", "users": "42", "broadcast": true}), room.max(user).max(all)),
        ] {
            let mut body = target.clone();
            body["event"] = json!("e");
            let request = Request::post(&format!("/api{NAMESPACE}/emit"), body.to_string());
            let response = server.send(&request.header("Authorization", &format!("Bearer {key}"))).await;
            assert_eq!(response.status, status, "{key} {target}: {}", response.text());
        }
    }
}

/// The blocks of the guide in one language.
fn blocks(guide: &str, language: &str) -> Vec<String> {
    let parts = guide.split("```").skip(1).step_by(2);
    parts.filter_map(|block| block.strip_prefix(&format!("{language}\n"))).map(str::to_owned).collect()
}

/// The configuration and the publications of the guide "Users", as it prints them.
#[tokio::test]
async fn complete_example_of_the_guide_works() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/users.md")).unwrap();
    let configuration = &blocks(&guide, "yaml")[0];
    let server = TestServer::start(
        &configuration.lines().map(|line| format!("{}\n", line.get(3..).unwrap_or(""))).collect::<String>(),
    )
    .await;
    let mut ann = user(&server, Transport::WebSocket, "42", json!({})).await;
    let publications = blocks(&guide, "json");
    assert_eq!(publications.len(), 3);
    for (publication, expected) in
        publications.iter().zip([json!({"user": "42"}), json!({"broadcast": true}), json!({"user": "42"})])
    {
        let request = Request::post(&format!("/api{NAMESPACE}/emit"), publication.clone());
        let response = server.send(&request.header("Authorization", "Bearer a-key-for-publishers")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let published: Value = serde_json::from_str(publication).unwrap();
        assert_eq!(next(&mut ann).await, (expected, published["message"].clone()));
    }
}
