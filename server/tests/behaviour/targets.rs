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
    let token = "token: {secret: a-secret-for-tokens-of-more-than-32-bytes}";
    let mut servers = Vec::new();
    for _ in 0..count {
        let server = TestServer::start(&format!("{NAMESPACE}: {{open: true, {token}, {engine}}}\n")).await;
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
    target.as_object_mut().unwrap().retain(|name, _| ["room", "user", "broadcast", "rooms", "users"].contains(&&**name));
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
        for (number, users) in [json!("42"), json!(["42"]), json!([42, "nobody here"])].into_iter().enumerate() {
            publish(first, json!({"users": users, "event": "e", "message": number})).await;
            for tab in &mut tabs {
                assert_eq!(next(tab).await, (json!({"user": "42"}), json!(number)), "{name}");
            }
        }
        for browser in [&mut stranger, &mut unknown] {
            browser.receives_nothing_else(first).await;
        }
        publish(last, json!({"users": ["43", "42"], "event": "e"})).await;
        assert_eq!(next(&mut stranger).await.0, json!({"user": "43"}), "{name}: nobody learns of the others");
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
                let expected = [json!({"user": "42"}), json!({"room": "a"}), json!({"room": "b"}), json!({"broadcast": true})];
                for (browser, target) in browsers.iter_mut().zip(expected) {
                    assert_eq!(next(browser).await, (target, json!(number)), "{name}");
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
