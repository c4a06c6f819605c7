//! Who a connection is, on both engines and on two servers: what a token or the application says counts on every server, and
//! its expiry takes effect on live connections in time.

use crate::support::application::{Application, Behaviour};
use crate::support::keys::{LATER, key};
use crate::support::tokens::{TOKEN_SECRET, now, token};
use crate::support::{Browser, RedisServer, Request, Site, TestServer, Transport};
use futures_util::future::join_all;
use nodevent_protocol::page::PageHash;
use serde_json::{Value, json};
use std::time::Duration;

const NS: &str = "/nodevent";
const SECRET: &str = "a-secret-for-room-keys";

/// The engines: one server with its memory, and two with a Redis, in both modes of channels.
async fn setups(settings: &str) -> (RedisServer, Vec<(&'static str, Vec<TestServer>)>) {
    let redis = RedisServer::start().await;
    let mut setups = Vec::new();
    for (name, engine, count) in [
        ("memory", String::new(), 1),
        ("redis", format!("  redis: {}\n", redis.url()), 2),
        ("redis, a channel per room", format!("  redis: {}\n  channel_per_room: true\n", redis.url()), 2),
    ] {
        let mut servers = Vec::new();
        for _ in 0..count {
            let server = TestServer::start(&format!("{NS}:\n  secret: {SECRET}\n{settings}{engine}")).await;
            server.ready().await;
            servers.push(server);
        }
        setups.push((name, servers));
    }
    (redis, setups)
}

async fn enter(site: &Site, transport: Transport, auth: Value) -> Browser {
    let mut browser = Browser::open(site, transport).await;
    browser.enter_with(NS, &auth.to_string()).await.expect("the namespace admits the connection");
    browser
}

async fn publish(site: &Site, body: Value) {
    let response = site.publish(NS, body.to_string()).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

/// Waits until the connection is in a room that it joins without a request.
async fn is_joined(browser: &mut Browser, room: &str) {
    loop {
        let notice = browser.next_other_notice().await;
        if notice[0] == "joined" && notice[1]["room"] == room {
            return assert!(notice[1]["error"].is_null(), "{notice}");
        }
    }
}

/// One token is accepted by every server. Its rooms are joined, room tokens and room keys of the old formula open rooms, and
/// what another server publishes to the room or the user arrives.
#[tokio::test]
async fn token_counts_on_every_server_and_its_rooms_are_joined() {
    let settings = format!("  token: {{secret: {TOKEN_SECRET}}}\n");
    let (_redis, setups) = setups(&settings).await;
    for (name, servers) in &setups {
        let claims = json!({"sub": "7", "rooms": ["a"], "info": {"name": "Ann"}});
        let auth = json!({"token": token(claims)});
        for (index, server) in servers.iter().enumerate() {
            let publisher = &servers[servers.len() - 1 - index];
            for transport in Transport::BOTH {
                let mut browser = enter(server, transport, auth.clone()).await;
                is_joined(&mut browser, "a").await;
                for room in ["b", "c"] {
                    let room_key = match room {
                        "b" => token(json!({"room": room, "ns": NS, "sub": "7"})),
                        _ => key(room, LATER, SECRET),
                    };
                    assert_eq!(browser.join_with(room, room_key).await[1], true, "{name}");
                    let closed = browser.join_with("d", token(json!({"room": room}))).await;
                    assert_eq!(closed, json!(["Token for another room", false]), "{name}");
                }
                for room in ["a", "b", "c"] {
                    publisher.emit(NS, room, "e", room).await;
                    assert_eq!(browser.next_publication().await.message, room, "{name}");
                }
                publish(publisher, json!({"users": "7", "event": "e", "message": "user"})).await;
                assert_eq!(browser.next_publication().await.message, "user", "{name}");
            }
        }
    }
}

/// What the application says counts as a token does: user, rooms, info and expiry. The user can be revoked, also while the
/// decision is cached, and is then admitted by a newer decision only.
#[tokio::test]
async fn decision_of_the_application_counts_on_every_server() {
    let yes = |lifetime: f64| {
        let body = json!({"user": "7", "rooms": ["here"], "info": {"name": "Ann"}, "expires": now() + lifetime});
        Behaviour::Respond(200, body.to_string())
    };
    let application = Application::start(yes(600.0)).await;
    let settings = format!(
        "  auth: {{url: \"{}\", cache: 1h, grace: 20s}}\n  presence: {{rooms: [here], grace: 0s}}\n",
        application.url
    );
    let (_redis, setups) = setups(&settings).await;
    for (name, servers) in &setups {
        application.set(yes(600.0));
        let (first, last) = (&servers[0], &servers[servers.len() - 1]);
        let auth = json!({"token": name});
        let mut browsers = Vec::new();
        for server in [first, last] {
            let mut browser = enter(server, Transport::WebSocket, auth.clone()).await;
            is_joined(&mut browser, "here").await;
            browsers.push(browser);
        }
        for browser in &mut browsers {
            publish(last, json!({"users": "7", "event": "e", "message": "user"})).await;
            loop {
                // Who enters is published too.
                let event = browser.next_publication().await;
                if event.event == "e" {
                    break assert_eq!(event.message, "user", "{name}");
                }
                assert_eq!(event.message["info"], json!({"name": "Ann"}), "{name}");
            }
        }
        let key = format!("?key={}", key("here", LATER, SECRET));
        let path = format!("/api{NS}/rooms/here/presence{key}");
        let is_listed = async || last.get(&path).await.json()["members"][0]["connections"] == 2;
        crate::support::wait::until("both connections are listed", is_listed).await;
        let response = first.send(&Request::post(&format!("/api{NS}/revoke"), r#"{"user":"7"}"#)).await;
        assert_eq!(response.status, 200, "{}", response.text());
        for mut browser in browsers {
            assert_eq!(browser.ended().await, Some((1008, "revoked".to_owned())), "{name}");
        }
        // The cached decision is older than the revocation. The application decides again.
        let asked = application.requests().len();
        application.set(yes(3.0));
        let mut browser = enter(last, Transport::WebSocket, auth.clone()).await;
        assert!(application.requests().len() > asked, "{name}");
        is_joined(&mut browser, "here").await;
        assert_eq!(browser.next_other_notice().await, json!(["expired", {"grace": 20_000}]), "{name}");
    }
}

/// The page that a publication on one server excludes receives it neither live on another one nor in a recovery there.
#[tokio::test]
async fn excluded_page_is_excluded_on_every_server() {
    let settings = format!("  token: {{secret: {TOKEN_SECRET}}}\n");
    let (_redis, setups) = setups(&settings).await;
    for (name, servers) in &setups {
        let (first, last) = (&servers[0], &servers[servers.len() - 1]);
        let claims = json!({"sub": "7", "rooms": ["r"]});
        let auth =
            |page: &str, since: Value| json!({"token": token(claims.clone()), "pageId": page, "since": since});
        let mut author = enter(last, Transport::WebSocket, auth("author", json!({}))).await;
        let mut other = enter(last, Transport::WebSocket, auth("other", json!({}))).await;
        for browser in [&mut author, &mut other] {
            is_joined(browser, "r").await;
        }
        let except = PageHash::of("author").unwrap().to_string();
        let publication = |number: u32, except: Option<&str>| json!({"rooms": "r", "users": "7", "broadcast": true, "event": "e", "message": number, "except": except});
        publish(first, publication(0, None)).await;
        for browser in [&mut author, &mut other] {
            assert_eq!(browser.next_publication().await.message, 0, "{name}");
        }
        let history = first.get(&format!("/api{NS}/rooms/r/history?key={}", key("r", LATER, SECRET))).await.json();
        for number in 1..=3 {
            publish(first, publication(number, (number != 2).then_some(except.as_str()))).await;
        }
        publish(first, publication(4, None)).await;
        for (browser, expected) in [(&mut author, [2, 4].as_slice()), (&mut other, &[1, 2, 3, 4])] {
            for number in expected {
                assert_eq!(browser.next_publication().await.message, *number, "{name}");
            }
        }
        let since = json!({"r": history["position"]});
        for (page, expected) in [("author", [2, 4].as_slice()), ("other", &[1, 2, 3, 4])] {
            let mut browser = enter(last, Transport::WebSocket, auth(page, since.clone())).await;
            for number in expected {
                assert_eq!(browser.next_publication().await.message, *number, "{name}, {page}");
            }
            browser.close().await;
        }
    }
}

/// The server notifies a connection within a second after its token has expired, and closes it within a second after
/// the grace period. Most of the connections must be in time, because one may meet a pause of the machine.
#[tokio::test]
async fn expiry_takes_effect_within_a_second_on_all_servers() {
    const GRACE: Duration = Duration::from_millis(500);
    let settings = format!("  token: {{secret: {TOKEN_SECRET}, leeway: 0s, grace: 500ms}}\n");
    let (_redis, setups) = setups(&settings).await;
    let connections = setups.iter().flat_map(|(_, servers)| servers).flat_map(|server| [server, server]);
    let lifetimes = connections.enumerate().map(async |(index, server)| {
        // On a slow machine the connection is open before its token expires.
        let expires = now() + 4.0 + index as f64 / 5.0;
        let auth = json!({"token": token(json!({"sub": index.to_string(), "exp": expires}))});
        let mut browser = enter(server, Transport::WebSocket, auth).await;
        while browser.next_other_notice().await[0] != "expired" {}
        let notified = now() - expires;
        let ended = browser.ended().await;
        let closed = now() - expires - GRACE.as_secs_f64();
        assert_eq!(ended, Some((1008, "token expired".to_owned())));
        assert!(notified > -0.1 && closed > -0.1, "not before: {notified} s, {closed} s");
        (notified, closed)
    });
    let times = join_all(lifetimes).await;
    let in_time = times.iter().filter(|(notified, closed)| *notified < 1.0 && *closed < 1.0).count();
    assert!(in_time > times.len() / 2, "{in_time} of {} in time: {times:?}", times.len());
}
