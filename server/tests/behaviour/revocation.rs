//! Revocations: connections and memberships end on all servers, and tokens that were issued before count no longer.

use crate::support::keys::{LATER, key};
use crate::support::tokens::{now, token};
use crate::support::wait::until;
use crate::support::websocket::WebSocket;
use crate::support::{Browser, Program, RedisServer, Request, Response, Site, TestServer, Transport};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SECRET: &str = "a-secret-for-room-keys";

fn configuration(engine: &str) -> String {
    format!(
        "/nodevent:\n  secret: {SECRET}\n  history: off\n  protocol: [socket_io, plain]\n{engine}  \
         token: {{secret: a-secret-for-tokens-of-more-than-32-bytes}}\n"
    )
}

async fn connect(site: &Site, transport: Transport, claims: Value) -> Result<Browser, Value> {
    let mut browser = Browser::open(site, transport).await;
    browser.enter_with("/nodevent", &json!({"token": token(claims)}).to_string()).await?;
    assert_eq!(browser.next_other_notice().await[0], "identified");
    Ok(browser)
}

async fn revoke(site: &Site, body: Value) -> Response {
    site.send(&Request::post("/api/nodevent/revoke", body.to_string())).await
}

/// Claims of a user whose token was issued ten seconds ago.
fn old(user: &str) -> Value {
    json!({"sub": user, "iat": now() - 10.0})
}

/// Claims of a user whose token is issued a moment from now.
fn new(user: &str) -> Value {
    json!({"sub": user, "iat": now() + 1.0})
}

async fn is_closed_as_revoked(mut browser: Browser, transport: Transport) {
    assert_eq!(browser.next_other_notice().await, json!(["revoked", {}]));
    let ended = browser.ended().await;
    if transport == Transport::WebSocket {
        assert_eq!(ended, Some((1008, "revoked".to_owned())));
    }
}

/// Everything, with the request to one server and the connections on another.
async fn revocations_take_effect(servers: [&TestServer; 2]) {
    let [near, far] = servers;
    for transport in Transport::BOTH {
        let user = format!("u-{transport:?}");
        let browsers = [
            connect(near, transport, old(&user)).await.unwrap(),
            connect(far, transport, json!({"sub": user})).await.unwrap(),
        ];
        let newer = connect(far, transport, new(&user)).await.unwrap();
        let mut other = connect(far, transport, old("other")).await.unwrap();
        let mut anonymous = Browser::connect(far, "/nodevent", transport).await;
        let response = revoke(near, json!({"user": user})).await;
        assert_eq!((response.status, &response.json()["revoked"]), (200, &json!(true)), "{}", response.text());
        for browser in browsers {
            is_closed_as_revoked(browser, transport).await;
        }
        // Older tokens count no longer, at a connect, at a renewal and as a room key; newer ones do.
        for server in servers {
            for claims in [old(&user), json!({"sub": user})] {
                let error = connect(server, transport, claims).await.map(drop).unwrap_err();
                assert_eq!(error, json!({"message": "Token has been revoked"}));
            }
        }
        let mut newer = newer;
        let renewed = newer.call("token", &[json!({"token": token(old(&user))})]).await;
        assert_eq!(renewed, json!(["Token has been revoked"]));
        let room_token = token(json!({"sub": user, "room": "r", "iat": now() - 5.0}));
        assert_eq!(newer.join_with("r", room_token).await, json!(["Token has been revoked", false]));
        let room_token = token(json!({"sub": user, "room": "r", "iat": now()}));
        assert_eq!(newer.join_with("r", room_token).await, json!([null, true]));
        let mut next = connect(far, transport, new(&user)).await.expect("a newer token");
        // Others notice nothing.
        for browser in [&mut newer, &mut next, &mut other, &mut anonymous] {
            assert_eq!(browser.join_with("k", key("k", LATER, SECRET)).await, json!([null, true]));
            server_delivers(near, browser).await;
        }
    }
    rooms_are_revoked(near, far).await;
}

async fn server_delivers(publisher: &Site, browser: &mut Browser) {
    publisher.emit("/nodevent", "k", "e", 1).await;
    assert_eq!(browser.next_publication().await.message, 1);
}

async fn rooms_are_revoked(near: &TestServer, far: &TestServer) {
    for transport in Transport::BOTH {
        let room = format!("room-{transport:?}");
        let claims = |user: &str, iat: f64| json!({"sub": user, "iat": iat, "rooms": [room, "s"]});
        let mut ann = connect(far, transport, claims("ann", now() - 10.0)).await.unwrap();
        let mut bob = connect(far, transport, claims("bob", now() - 10.0)).await.unwrap();
        let mut eve = connect(far, transport, claims("eve", now() + 1.0)).await.unwrap();
        let mut keyed = Browser::connect(far, "/nodevent", transport).await;
        keyed.join_with(&room, key(&room, LATER, SECRET)).await;
        for browser in [&mut ann, &mut bob, &mut eve] {
            for _ in 0..2 {
                assert_eq!(browser.next_other_notice().await[0], "joined");
            }
        }
        // One user.
        assert_eq!(revoke(near, json!({"user": "ann", "room": room})).await.status, 200);
        let notice = json!(["revoked", {"room": room}]);
        assert_eq!(ann.next_other_notice().await, notice);
        near.emit("/nodevent", &room, "e", 1).await;
        near.emit("/nodevent", "s", "e", 2).await;
        assert_eq!(ann.next_publication().await.message, 2, "she is still in the other room");
        for browser in [&mut bob, &mut eve, &mut keyed] {
            assert_eq!(browser.next_publication().await.message, 1);
        }
        let rejected = json!(["Token has been revoked", false]);
        assert_eq!(ann.call("join", &[json!({"room": room})]).await, rejected);
        let room_key = key(&room, LATER, SECRET);
        assert_eq!(ann.join_with(&room, room_key).await, rejected, "whatever key opens the room");
        // Everyone whose token is not newer.
        assert_eq!(revoke(near, json!({"room": room})).await.status, 200);
        assert_eq!(bob.next_publication().await.message, 2);
        assert_eq!(bob.next_other_notice().await, notice);
        assert_eq!(keyed.next_other_notice().await, notice);
        assert_eq!(bob.call("join", &[json!({"room": room})]).await, rejected);
        let room_token = token(json!({"room": room, "iat": now() - 5.0}));
        assert_eq!(keyed.join_with(&room, room_token).await, rejected);
        near.emit("/nodevent", &room, "e", 3).await;
        for expected in [2, 3] {
            assert_eq!(eve.next_publication().await.message, expected);
        }
        for browser in [ann, bob, eve, keyed] {
            browser.close().await;
        }
    }
}

#[tokio::test]
async fn memory_engine_revokes() {
    let server = TestServer::start(&configuration("")).await;
    revocations_take_effect([&server, &server]).await;
}

#[tokio::test]
async fn redis_engine_revokes_on_all_servers() {
    let redis = RedisServer::start().await;
    for more in ["", "  channel_per_room: true\n"] {
        let text = configuration(&format!("  redis: {}\n{more}", redis.url()));
        let servers = [TestServer::start(&text).await, TestServer::start(&text).await];
        for server in &servers {
            server.ready().await;
        }
        revocations_take_effect([&servers[0], &servers[1]]).await;
        redis.call(&["FLUSHALL"]).await;
    }
}

/// A revocation ends connections and memberships on three servers within a second. Each attempt also measures a
/// publication to the same servers, which takes longer on a busy machine. Most attempts must be in time: one may meet a
/// pause of the machine.
#[tokio::test]
async fn revocation_takes_effect_within_a_second_on_all_servers() {
    const ATTEMPTS: usize = 7;
    let redis = RedisServer::start().await;
    let text = configuration(&format!("  redis: {}\n", redis.url()));
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(TestServer::start(&text).await);
        servers[servers.len() - 1].ready().await;
    }
    let mut witnesses = Vec::new();
    for server in &servers {
        let mut witness = Browser::connect(server, "/nodevent", Transport::WebSocket).await;
        witness.join_with("k", key("k", LATER, SECRET)).await;
        witnesses.push(witness);
    }
    let mut times = Vec::new();
    for attempt in 0..ATTEMPTS {
        let (user, member) = (format!("user-{attempt}"), format!("member-{attempt}"));
        let (mut users, mut members) = (Vec::new(), Vec::new());
        for server in &servers {
            users.push(connect(server, Transport::WebSocket, old(&user)).await.unwrap());
            let claims = json!({"sub": member, "iat": now() - 10.0, "rooms": ["r"]});
            let mut browser = connect(server, Transport::WebSocket, claims).await.unwrap();
            assert_eq!(browser.next_other_notice().await[0], "joined");
            members.push(browser);
        }
        let started = Instant::now();
        servers[0].emit("/nodevent", "k", "e", 1).await;
        for witness in &mut witnesses {
            assert_eq!(witness.next_publication().await.message, 1);
        }
        let published = started.elapsed();
        for (body, is_user) in [(json!({"user": user}), true), (json!({"user": member, "room": "r"}), false)] {
            let started = Instant::now();
            assert_eq!(revoke(&servers[0], body).await.status, 200);
            for browser in if is_user { &mut users } else { &mut members } {
                assert_eq!(browser.next_other_notice().await[0], "revoked");
                if is_user {
                    browser.ended().await;
                }
            }
            times.push((started.elapsed(), published));
        }
    }
    let in_time = times.iter().filter(|(took, published)| *took < Duration::from_secs(1) + *published).count();
    assert!(in_time > ATTEMPTS, "{in_time} of {} in time: {times:?}", times.len());
}

#[tokio::test]
async fn server_that_starts_later_knows_the_revocations() {
    let redis = RedisServer::start().await;
    let text = configuration(&format!("  redis: {}\n", redis.url()));
    let first = TestServer::start(&text).await;
    first.ready().await;
    for user in 0..600 {
        // More than one page.
        let sent = json!({"user": user.to_string()});
        assert_eq!(revoke(&first, sent).await.status, 200);
    }
    first.stop().await;
    let second = TestServer::start(&text).await;
    second.metric_is("nodevent_revocations_total", 600).await;
    for user in ["0", "555", "599"] {
        let error = connect(&second, Transport::WebSocket, old(user)).await.map(drop).unwrap_err();
        assert_eq!(error, json!({"message": "Token has been revoked"}));
    }
    connect(&second, Transport::WebSocket, old("600")).await.unwrap();
}

#[tokio::test]
async fn forged_announcement_revokes_nothing() {
    let redis = RedisServer::start().await;
    let text = configuration(&format!("  redis: {}\n", redis.url()));
    let server = TestServer::start(&text).await;
    server.ready().await;
    let mut browser = connect(&server, Transport::WebSocket, old("7")).await.unwrap();
    browser.join_with("k", key("k", LATER, SECRET)).await;
    for text in [
        "nodevent:1:revoked",
        r#"nodevent:1:revoked{"user":"7","room":null,"before":9999999999999,"until":9999999999999}"#,
        r#"{"user":"7","room":null,"before":9999999999999,"until":9999999999999}"#,
        r#"{"revoked":{"user":"7"}}"#,
    ] {
        for _ in 0..50 {
            redis.publish("/nodevent", text).await;
        }
    }
    server_delivers(&server, &mut browser).await;
    assert_eq!(server.metric("nodevent_revocations_total").await, 0);
    connect(&server, Transport::WebSocket, old("7")).await.unwrap();
}

#[tokio::test]
async fn a_later_revocation_replaces_an_earlier_one_and_its_keys_expire() {
    let redis = RedisServer::start().await;
    let text = configuration(&format!("  redis: {}\n", redis.url()));
    let server = TestServer::start(&text).await;
    server.ready().await;
    let late = now();
    for before in [late - 100.0, late, late - 50.0] {
        assert_eq!(revoke(&server, json!({"user": "a\"b", "before": before})).await.status, 200);
    }
    let entries = "nodevent:1:{9:/nodevent}:revocations:entries";
    // A status is one line, which `call` reads.
    let script = "return redis.status_reply(redis.call('HGET', KEYS[1], ARGV[1]))";
    let line = redis.call(&["EVAL", script, "1", entries, r#"["a\"b",null]"#]).await;
    let stored: Value = serde_json::from_str(line.strip_prefix('+').unwrap_or(&line)).unwrap();
    assert_eq!(stored["before"].as_u64().unwrap(), (late * 1000.0) as u64, "{stored}");
    for kind in ["entries", "order", "expiry"] {
        let ttl = redis.call(&["PTTL", &format!("nodevent:1:{{9:/nodevent}}:revocations:{kind}")]).await;
        assert!(ttl.trim_start_matches(':').parse::<u64>().unwrap() > 86_400_000, "{kind}: {ttl}");
    }
    assert_eq!(redis.call(&["HLEN", entries]).await, ":3", "one entry, and the two fields of the order");
}

#[tokio::test]
async fn plain_and_server_sent_events_learn_that_a_room_was_revoked() {
    let server = TestServer::start(&configuration("")).await;
    let mut plain = WebSocket::open_path(&server, "/ws/nodevent", &[]).await.unwrap_or_else(|_| panic!("refused"));
    let with_key = key("r", LATER, SECRET);
    plain.send(&[&json!({"join": "r", "key": with_key}).to_string()]).await;
    until("the join is confirmed", async || plain.next().await.unwrap().contains("\"joined\"")).await;
    let mut stream = server.dial().await;
    let request =
        Request::get(&format!("/api/nodevent/rooms/r/events?key={with_key}")).header("Connection", "close");
    let request = request.encode(&server.address);
    tokio::io::AsyncWriteExt::write_all(&mut stream, &request).await.unwrap();
    server.metric_is("nodevent_joins_total", 2).await;
    assert_eq!(revoke(&server, json!({"room": "r"})).await.status, 200);
    let line = plain.next().await.unwrap();
    assert!(line.contains("Membership has been revoked") && line.contains("\"r\""), "{line}");
    let mut text = Vec::new();
    crate::support::wait::in_time("the stream ends", tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut text))
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&text).contains("event: revoked\ndata: {\"room\":\"r\"}\n\n"));
    server.metric_is("nodevent_disconnects_total{reason=\"revoked\"}", 1).await;
}

#[tokio::test]
async fn revoking_is_a_grant_of_its_own_for_keys_that_are_limited_to_rooms() {
    let keys = "  publish_keys: [{id: all, key: all-rooms-key-0123456789}, {id: some, key: some-rooms-key-012345, rooms: r}, \
                {id: more, key: more-rooms-key-012345, rooms: r, revoke: true}, {id: none, key: none-key-0123456789ab, revoke: false}]\n";
    let server = TestServer::start(&configuration(keys)).await;
    let request = |key: &str| {
        let request = Request::post("/api/nodevent/revoke", r#"{"user":"7"}"#);
        request.header("Authorization", &format!("Bearer {key}"))
    };
    for (key, status) in [
        ("all-rooms-key-0123456789", 200),
        ("some-rooms-key-012345", 403),
        ("more-rooms-key-012345", 200),
        ("none-key-0123456789ab", 403),
        ("another-key-0123456789", 401),
    ] {
        assert_eq!(server.send(&request(key)).await.status, status, "{key}");
    }
    assert_eq!(revoke(&server, json!({"user": "7"})).await.status, 401);
    let page = request("all-rooms-key-0123456789").header("Origin", "http://www.example.com");
    assert_eq!(server.send(&page).await.status, 403, "pages never revoke");
    let local = TestServer::start_as_written(
        "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\n/nodevent: {open: true, history: off}",
    )
    .await;
    assert_eq!(revoke(&local, json!({"user": "7"})).await.status, 403, "without a key nothing may be revoked");
}

#[tokio::test]
async fn bad_revocations_are_rejected_and_change_nothing() {
    let server = TestServer::start(&configuration("")).await;
    let mut browser = connect(&server, Transport::WebSocket, old("7")).await.unwrap();
    for body in ["", "{}", "[]", r#"{"user":"7","rom":"r"}"#, r#"{"user":"7","before":99999999999}"#] {
        let response = server.send(&Request::post("/api/nodevent/revoke", body)).await;
        assert_eq!(response.status, 400, "{body}");
        assert!(response.json()["hint"].as_str().unwrap().contains("send {"), "{body}");
    }
    let large = format!("{{\"user\":\"{}\"}}", "x".repeat(10_000));
    assert_eq!(server.send(&Request::post("/api/nodevent/revoke", large)).await.status, 413);
    assert_eq!(server.get("/api/nodevent/revoke").await.status, 405);
    assert_eq!(server.send(&Request::post("/api/nowhere/revoke", "{}")).await.status, 404);
    browser.join_with("k", key("k", LATER, SECRET)).await;
    server_delivers(&server, &mut browser).await;
}

#[tokio::test]
async fn command_revokes_and_the_audit_log_says_who_did() {
    let folder = tempfile::tempdir().unwrap();
    let port = crate::support::redis::free_port();
    let text = format!(
        "bind: 127.0.0.1\nport: {port}\nlog: {{audit: true}}\n{}",
        configuration("  publish_keys: [{id: backend, key: all-rooms-key-0123456789}]\n")
    );
    let program = Program::serve(folder.path(), &text).await;
    let site = program.site().await;
    let browser = connect(&site, Transport::WebSocket, old("7")).await.unwrap();
    let file = std::fs::read_dir(folder.path()).unwrap().find_map(|one| {
        let path = one.unwrap().path();
        path.extension().is_some_and(|extension| extension == "yml").then_some(path)
    });
    let config = file.unwrap().display().to_string();
    let output = Program::run(folder.path(), &["revoke", "--user", "7", "--config", &config]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"revoked\":true"));
    is_closed_as_revoked(browser, Transport::WebSocket).await;
    let line = program.logs("audit: revoked").await;
    for part in ["key backend", "user", "7", "/nodevent"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let output = Program::run(folder.path(), &["revoke", "--config", &config]).await;
    assert_eq!(output.status.code(), Some(64), "neither a user nor a room");
}

#[tokio::test]
async fn examples_of_the_guide_work() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/revocation.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let (_, example) = text.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let names = [
        ("TOKEN_SECRET", "a-secret-for-tokens-of-more-than-32-bytes"),
        ("PUBLISH_KEY", "backend-key-0123456789"),
        ("GAME_KEY", "game-key-0123456789"),
        ("CRON_KEY", "cron-key-0123456789"),
    ];
    let configuration = names
        .iter()
        .fold(example.to_owned(), |text, (name, value)| text.replace(&format!("${{NODEVENT_{name}}}"), value));
    let server = TestServer::start(&configuration).await;
    let browser = connect(&server, Transport::WebSocket, old("7")).await.unwrap();
    let (_, body) = text.split_once(" -d '").unwrap();
    let (body, _) = body.split_once('\'').unwrap();
    for (key, status) in
        [("cron-key-0123456789", 403), ("game-key-0123456789", 200), ("backend-key-0123456789", 200)]
    {
        let request = Request::post("/api/nodevent/revoke", body).header("Authorization", &format!("Bearer {key}"));
        assert_eq!(server.send(&request).await.status, status, "{key}");
    }
    is_closed_as_revoked(browser, Transport::WebSocket).await;
}
