//! Tokens: who a connection is, the rooms that it joins, and what happens when its token expires.

use crate::support::keys::{LATER, key};
use crate::support::tokens::{TOKEN_SECRET, now, token, token_with};
use crate::support::wait::in_time;
use crate::support::{Browser, Program, RedisServer, Request, TestServer, Transport, vectors};
use serde_json::{Value, json};

/// A namespace with tokens, and the secrets of room keys and tokens.
const TOKENS: &str = "/nodevent:
  secret: a-secret-for-room-keys
  history: off
  token: {secret: a-secret-for-tokens-of-more-than-32-bytes, leeway: 0s, grace: 300ms}
";

/// An auth payload with a token.
fn auth(token: &str) -> String {
    json!({"token": token}).to_string()
}

/// Opens a connection and enters the namespace with a token.
async fn connect(server: &TestServer, transport: Transport, claims: Value) -> Browser {
    let mut browser = Browser::open(server, transport).await;
    browser.enter_with("/nodevent", &auth(&token(claims))).await.expect("the token is accepted");
    browser
}

/// Connects a user whose token expires soon, with what follows at once. If the machine is too busy, the next token lasts
/// longer.
async fn connect_until_expired(server: &TestServer, transport: Transport, rooms: Value) -> Browser {
    for lifetime in (0..6).map(|exponent| 0.5 * f64::from(1 << exponent)) {
        let expires = now() + lifetime;
        let claims = json!({"sub": "7", "exp": expires, "rooms": rooms});
        let mut browser = Browser::open(server, transport).await;
        match browser.enter_with("/nodevent", &auth(&token(claims))).await {
            Ok(_) => {
                for notice in ["identified", "joined"] {
                    assert_eq!(browser.next_notice().await[0], notice);
                }
                return browser;
            }
            Err(error) => {
                assert_eq!(error, json!({"message": "Token has expired"}));
                assert!(now() >= expires, "rejected before its time");
            }
        }
    }
    panic!("no token lasted until its client was connected")
}

#[tokio::test]
async fn token_in_the_auth_payload_identifies_the_connection() {
    let server = TestServer::start(TOKENS).await;
    for transport in Transport::BOTH {
        let mut browser = connect(&server, transport, json!({"sub": "7"})).await;
        let notice = browser.next_notice().await;
        assert_eq!((&notice[0], &notice[1]["user"]), (&json!("identified"), &json!("7")));
        let expires_in = notice[1]["expires_in"].as_u64().unwrap();
        assert!((55_000..=60_000).contains(&expires_in), "{notice}");
        // Without a token a connection has no user, and needs keys as before.
        let mut other = Browser::connect(&server, "/nodevent", transport).await;
        assert_eq!(other.join_with("r", key("r", LATER, "a-secret-for-room-keys")).await, json!([null, true]));
        assert_eq!(other.call("join", &[json!({"room": "s"})]).await, json!(["Must provide key", false]));
    }
}

#[tokio::test]
async fn bad_token_is_a_connect_error_that_names_the_reason() {
    let server = TestServer::start(TOKENS).await;
    let rejected = [
        (json!(token_with(json!({"sub": "7"}), "another secret of more than 32 bytes")), "Bad token signature"),
        (json!(token(json!({"sub": "7", "exp": now() - 1.0}))), "Token has expired"),
        (json!(token(json!({"sub": "7", "nbf": now() + 5.0}))), "Token not valid yet"),
        (json!(token(json!({"sub": "7", "aud": "x"}))), "Token for another audience"),
        (json!(token(json!({"sub": "7", "room": "r"}))), "Token is a room key"),
        (json!(token(json!({}))), "Token without sub"),
        (json!("rubbish"), "Malformed token"),
        (json!(""), "Malformed token"),
        (json!(7), "Malformed token"),
        (json!({"a": 1}), "Malformed token"),
        (json!("a".repeat(60_000)), "Token too long"),
    ];
    for transport in Transport::BOTH {
        let mut browser = Browser::open(&server, transport).await;
        for (token, message) in &rejected {
            let error = browser.enter_with("/nodevent", &json!({"token": token}).to_string()).await.unwrap_err();
            assert_eq!(error, json!({"message": message}));
        }
        // The connection is still open, and a right token is accepted.
        browser.enter_with("/nodevent", &auth(&token(json!({"sub": "7"})))).await.unwrap();
        browser.close().await;
    }
    for (reason, count) in
        [("bad_signature", 2), ("expired", 2), ("malformed", 8), ("too_long", 2), ("room_key", 2)]
    {
        let series = format!("nodevent_rejected_tokens_total{{reason=\"{reason}\"}}");
        assert_eq!(server.metric(&series).await, count, "{reason}");
    }
}

#[tokio::test]
async fn every_rejected_token_of_the_vectors_is_rejected_on_the_wire_without_harm() {
    // The vectors were signed for another time and with other secrets: the reasons are tested where they are decided.
    let server = TestServer::start(TOKENS).await;
    let mut bystander = connect(&server, Transport::WebSocket, json!({"sub": "7", "rooms": ["r"]})).await;
    let tokens = vectors("tokens");
    for vector in tokens["rejected"].as_array().unwrap() {
        let mut browser = Browser::open(&server, Transport::WebSocket).await;
        let error = browser.enter_with("/nodevent", &auth(vector["token"].as_str().unwrap())).await.unwrap_err();
        assert!(error["message"].as_str().unwrap().to_lowercase().contains("token"), "{vector}: {error}");
    }
    server.emit("/nodevent", "r", "e", 1).await;
    assert_eq!(bystander.next_publication().await.message, 1);
}

#[tokio::test]
async fn rooms_of_a_token_are_joined_at_once_and_need_no_key() {
    let server = TestServer::start(TOKENS).await;
    for transport in Transport::BOTH {
        let mut browser = connect(&server, transport, json!({"sub": "7", "rooms": ["a", "ünï"]})).await;
        assert_eq!(browser.next_notice().await[0], "identified");
        assert_eq!(browser.next_notice().await, json!(["joined", {"room": "a"}]));
        assert_eq!(browser.next_notice().await, json!(["joined", {"room": "ünï"}]));
        for room in ["a", "ünï"] {
            server.emit("/nodevent", room, "e", 1).await;
            assert_eq!(browser.next_publication().await.room, room);
        }
        browser.leave("a").await;
        assert_eq!(browser.call("join", &[json!({"room": "a"})]).await, json!([null, true]));
        assert_eq!(browser.call("join", &[json!({"room": "b"})]).await, json!(["Must provide key", false]));
        browser.close().await;
    }
}

#[tokio::test]
async fn rooms_of_a_token_that_exceed_the_limit_are_reported() {
    let limits = format!("limits: {{max_rooms_per_connection: 1}}\n{TOKENS}");
    let server = TestServer::start(&limits).await;
    let mut browser = connect(&server, Transport::WebSocket, json!({"sub": "7", "rooms": ["a", "b"]})).await;
    assert_eq!(browser.next_notice().await[0], "identified");
    assert_eq!(browser.next_notice().await, json!(["joined", {"room": "a"}]));
    assert_eq!(browser.next_notice().await, json!(["joined", {"room": "b", "error": "Too many rooms"}]));
}

/// The notice about a room, which may come before or after the one about the user.
async fn joined_room(browser: &mut Browser) -> Value {
    let joined = browser.next_notice().await;
    if joined[1]["user"].is_null() { joined } else { browser.next_notice().await }
}

/// A client names the positions of its rooms when it connects again, so that what it missed comes before what is live.
async fn rooms_of_a_token_are_recovered(configuration: &str) {
    let server = TestServer::start(configuration).await;
    server.ready().await;
    let claims = json!({"sub": "7", "rooms": ["a"]});
    let mut browser = connect(&server, Transport::WebSocket, claims.clone()).await;
    assert_eq!(browser.next_notice().await[0], "identified");
    let joined = joined_room(&mut browser).await;
    assert_eq!((&joined[1]["room"], &joined[1]["recovered"]), (&json!("a"), &json!(true)), "{joined}");
    let position = joined[1]["position"].as_str().unwrap().to_owned();
    browser.close().await;
    for message in 1..=3 {
        server.emit("/nodevent", "a", "e", message).await;
    }
    let mut browser = Browser::open(&server, Transport::WebSocket).await;
    let payload = json!({"token": token(claims.clone()), "since": {"a": position, "b": "x"}});
    browser.enter_with("/nodevent", &payload.to_string()).await.unwrap();
    for message in 1..=3 {
        assert_eq!(browser.next_publication().await.message, message);
    }
    for since in [json!("not-a-position"), json!(7)] {
        let mut lost = Browser::open(&server, Transport::WebSocket).await;
        let payload = json!({"token": token(claims.clone()), "since": {"a": since}});
        lost.enter_with("/nodevent", &payload.to_string()).await.unwrap();
        assert_eq!(lost.next_notice().await[0], "identified");
        assert_eq!(joined_room(&mut lost).await[1]["recovered"], false, "{since}");
    }
}

#[tokio::test]
async fn rooms_of_a_token_are_recovered_from_the_memory_engine() {
    rooms_of_a_token_are_recovered(&TOKENS.replace("  history: off\n", "")).await;
}

#[tokio::test]
async fn rooms_of_a_token_are_recovered_from_redis() {
    let redis = RedisServer::start().await;
    let engine = format!("  redis: {{port: {}}}\n", redis.port);
    rooms_of_a_token_are_recovered(&TOKENS.replace("  history: off\n", &engine)).await;
}

#[tokio::test]
async fn token_with_a_room_is_a_room_key() {
    let server = TestServer::start(TOKENS).await;
    for transport in Transport::BOTH {
        let mut anonymous = Browser::connect(&server, "/nodevent", transport).await;
        let mut user = connect(&server, transport, json!({"sub": "7"})).await;
        let of_everyone = token(json!({"room": "r"}));
        let of_user = token(json!({"room": "r", "sub": "7", "ns": "/nodevent"}));
        let forged = token_with(json!({"room": "r"}), "another secret of more than 32 bytes");
        for (is_user, token, expected) in [
            (false, &of_everyone, json!([null, true])),
            (false, &of_user, json!(["Token of another user", false])),
            (true, &of_everyone, json!([null, true])),
            (true, &of_user, json!([null, true])),
            (true, &token(json!({"room": "s"})), json!(["Token for another room", false])),
            (true, &token(json!({"sub": "7"})), json!(["Token is not a room key", false])),
            (true, &token(json!({"room": "r", "ns": "/other"})), json!(["Token for another namespace", false])),
            (true, &forged, json!(["Bad token signature", false])),
        ] {
            let browser = if is_user { &mut user } else { &mut anonymous };
            assert_eq!(browser.join_with("r", token.as_str()).await, expected, "{token}");
        }
    }
    let server = TestServer::start(&TOKENS.replace("  history: off\n", "")).await;
    let history = |token: &str| {
        Request::get("/api/nodevent/rooms/r/history").header("Authorization", &format!("Bearer {token}"))
    };
    assert_eq!(server.send(&history(&token(json!({"room": "r"})))).await.status, 200);
    for token in [token(json!({"room": "s"})), token(json!({"room": "r", "sub": "7"})), token(json!({"sub": "7"}))]
    {
        assert_eq!(server.send(&history(&token)).await.status, 403);
    }
}

#[tokio::test]
async fn namespace_with_tokens_and_without_a_secret_is_closed() {
    let configuration = format!("/nodevent: {{history: off, token: {{secret: {TOKEN_SECRET}}}}}");
    let server = TestServer::start(&configuration).await;
    let mut browser = connect(&server, Transport::WebSocket, json!({"sub": "7"})).await;
    assert_eq!(browser.call("join", &[json!({"room": "r"})]).await, json!(["Must provide key", false]));
    assert_eq!(browser.join_with("r", key("r", LATER, "")).await, json!(["Bad key", false]));
    assert_eq!(browser.join_with("r", token(json!({"room": "r"}))).await, json!([null, true]));
    let open = configuration.replace("history: off", "history: off, open: true");
    let server = TestServer::start(&open).await;
    let mut browser = connect(&server, Transport::WebSocket, json!({"sub": "7"})).await;
    browser.join("r").await;
}

#[tokio::test]
async fn connection_whose_token_expires_is_notified_and_closed_after_the_grace_period() {
    let server = TestServer::start(TOKENS).await;
    let patient = TestServer::start(&TOKENS.replace("300ms", "1h")).await;
    for transport in Transport::BOTH {
        let mut browser = connect_until_expired(&patient, transport, json!(["r"])).await;
        assert_eq!(browser.next_notice().await, json!(["expired", {"grace": 3_600_000}]));
        // It is still a member, but joins nothing more as that user.
        patient.emit("/nodevent", "r", "e", 1).await;
        assert_eq!(browser.next_publication().await.message, 1);
        browser.leave("r").await;
        assert_eq!(browser.call("join", &[json!({"room": "r"})]).await, json!(["Must provide key", false]));
        let mut browser = connect_until_expired(&server, transport, json!(["r"])).await;
        assert_eq!(browser.next_notice().await, json!(["expired", {"grace": 300}]));
        let ended = browser.ended().await;
        if transport == Transport::WebSocket {
            assert_eq!(ended, Some((1008, "token expired".to_owned())));
        }
    }
    server.metric_is("nodevent_disconnects_total{reason=\"token_expired\"}", 2).await;
}

#[tokio::test]
async fn new_token_on_the_live_connection_renews_the_identity() {
    // A grace period in which a busy machine sends a few requests.
    let server = TestServer::start(&TOKENS.replace("300ms", "5s")).await;
    let server = &server;
    futures_util::future::join_all(Transport::BOTH.map(|transport| async move {
        let claims = |lifetime: f64, rooms: Value| json!({"sub": "7", "exp": now() + lifetime, "rooms": rooms});
        let [a, b] = ["a", "b"].map(|room| format!("{room} of {transport:?}"));
        let mut browser = connect_until_expired(server, transport, json!([a])).await;
        assert_eq!(browser.next_notice().await[0], "expired");
        let other = browser.call("token", &[json!({"token": token(json!({"sub": "8"}))})]).await;
        assert_eq!(other, json!(["Token of another user"]));
        for (data, error) in [(json!({}), "Must provide token"), (json!({"token": "x"}), "Malformed token")] {
            assert_eq!(browser.call("token", &[data]).await, json!([error]));
        }
        let renewed = browser.call("token", &[json!({"token": token(claims(7.0, json!([a, b])))})]).await;
        assert_eq!((&renewed[0], &renewed[1]["user"]), (&Value::Null, &json!("7")));
        // It outlives the first grace period, is in the room that the new token adds, and expires again.
        for room in [&a, &b] {
            server.emit("/nodevent", room, "e", 1).await;
            assert_eq!(browser.next_publication().await.room, *room);
        }
        assert_eq!(browser.next_notice().await, json!(["joined", {"room": b}]));
        assert_eq!(browser.next_notice().await, json!(["expired", {"grace": 5000}]));
        browser.ended().await;
    }))
    .await;
}

#[tokio::test]
async fn connection_without_a_user_signs_in_with_a_token() {
    let server = TestServer::start(TOKENS).await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    let signed_in = browser.call("token", &[json!({"token": token(json!({"sub": "7", "rooms": ["a"]}))})]).await;
    assert_eq!(signed_in[1]["user"], "7");
    server.emit("/nodevent", "a", "e", 1).await;
    assert_eq!(browser.next_publication().await.message, 1);
    let other = browser.call("token", &[json!({"token": token(json!({"sub": "8"}))})]).await;
    assert_eq!(other, json!(["Token of another user"]));
}

#[tokio::test]
async fn token_is_found_in_the_places_that_the_namespace_lists_and_in_no_others() {
    let sources = TOKENS.replace("leeway: 0s", "header: Authorization, cookie: nodevent_token, query: t");
    let server = TestServer::start(&sources).await;
    let closed = TestServer::start(TOKENS).await;
    let token = |user: &str| token(json!({"sub": user}));
    let cookie = format!("session=1; nodevent_token={}", token("cookie"));
    let header = format!("Bearer {}", token("header"));
    for transport in Transport::BOTH {
        for (headers, user) in [
            (vec![("Authorization", header.as_str())], "header"),
            (vec![("Cookie", cookie.as_str())], "cookie"),
            (vec![("Cookie", cookie.as_str()), ("Authorization", header.as_str())], "header"),
        ] {
            let mut browser =
                Browser::try_open(&server, transport, &headers).await.unwrap_or_else(|_| panic!("refused"));
            browser.enter("/nodevent").await.unwrap();
            assert_eq!(browser.next_notice().await[1]["user"], user);
            // The auth payload comes first.
            let mut browser =
                Browser::try_open(&server, transport, &headers).await.unwrap_or_else(|_| panic!("refused"));
            browser.enter_with("/nodevent", &auth(&token("auth"))).await.unwrap();
            assert_eq!(browser.next_notice().await[1]["user"], "auth");
            // Where nothing is listed, the connection has no user.
            let mut browser =
                Browser::try_open(&closed, transport, &headers).await.unwrap_or_else(|_| panic!("refused"));
            browser.enter("/nodevent").await.unwrap();
            let signed_in = browser.call("token", &[json!({"token": token("other")})]).await;
            assert_eq!(signed_in[1]["user"], "other");
        }
        let bad = [("Cookie", "nodevent_token=x.y.z")];
        let mut browser = Browser::try_open(&server, transport, &bad).await.unwrap_or_else(|_| panic!("refused"));
        assert_eq!(browser.enter("/nodevent").await.unwrap_err(), json!({"message": "Malformed token"}));
    }
    let path = format!("/socket.io/?EIO=4&transport=websocket&t={}", token("query"));
    let mut websocket = crate::support::websocket::WebSocket::open_path(&server, &path, &[])
        .await
        .unwrap_or_else(|_| panic!("refused"));
    websocket.send(&["40/nodevent,"]).await;
    let identified = in_time("the identity", async {
        loop {
            let packet = websocket.next().await.expect("a packet");
            if packet.contains("identified") {
                return packet;
            }
        }
    });
    assert!(identified.await.contains("\"user\":\"query\""));
}

#[tokio::test]
async fn namespace_may_require_a_token() {
    let server = TestServer::start(&TOKENS.replace("leeway: 0s", "required: true")).await;
    let mut browser = Browser::open(&server, Transport::WebSocket).await;
    for payload in ["", "{}", r#"{"token":null}"#] {
        let error = browser.enter_with("/nodevent", payload).await.unwrap_err();
        assert_eq!(error, json!({"message": "Must provide token"}), "{payload}");
    }
    browser.enter_with("/nodevent", &auth(&token(json!({"sub": "7"})))).await.unwrap();
}

#[tokio::test]
async fn token_without_a_configuration_for_tokens_is_ignored_when_the_namespace_connects() {
    let server = TestServer::start("/nodevent: {open: true}").await;
    let mut browser = Browser::open(&server, Transport::WebSocket).await;
    browser.enter_with("/nodevent", &auth(&token(json!({"sub": "7"})))).await.unwrap();
    let ack = browser.call("token", &[json!({"token": token(json!({"sub": "7"}))})]).await;
    assert_eq!(ack, json!(["Tokens are not configured"]), "who asks for an identity learns why there is none");
}

#[tokio::test]
async fn identity_belongs_to_one_namespace_and_ends_with_it() {
    let two = format!("{TOKENS}{}", TOKENS.replace("/nodevent", "/other"));
    let server = TestServer::start(&two).await;
    let mut browser = connect(&server, Transport::WebSocket, json!({"sub": "7", "ns": "/nodevent"})).await;
    let error =
        browser.enter_with("/other", &auth(&token(json!({"sub": "8", "ns": "/nodevent"})))).await.unwrap_err();
    assert_eq!(error, json!({"message": "Token for another namespace"}));
    browser.enter_with("/other", &auth(&token(json!({"sub": "8"})))).await.unwrap();
    // Another user may enter after this one has left.
    browser.send(&["41/other,"]).await;
    browser.enter_with("/other", &auth(&token(json!({"sub": "9"})))).await.unwrap();
}

#[tokio::test]
async fn connection_that_guesses_tokens_is_closed() {
    let limited = format!("limits: {{wrong_keys_per_second_per_address: 1}}\n{TOKENS}");
    let server = TestServer::start(&limited).await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    let forged = token_with(json!({"sub": "7"}), "another secret of more than 32 bytes");
    let packet = browser.event_packet("", "token", &[json!({"token": forged})]);
    browser.send(&vec![packet.as_str(); 40]).await;
    assert_eq!(browser.ended().await, Some((1008, "too many wrong keys".to_owned())));
}

#[tokio::test]
async fn no_token_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let sources = TOKENS.replace("leeway: 0s", "header: Authorization, cookie: nodevent_token, query: t");
    let text = format!("bind: 127.0.0.1\nport: 0\nlog: {{level: trace, audit: true}}\n{sources}");
    let program = Program::serve(folder.path(), &text).await;
    let site = program.site().await;
    let good = token(json!({"sub": "secretuser", "info": {"name": "secretname"}}));
    let forged = token_with(json!({"sub": "secretuser"}), "another secret of more than 32 bytes");
    for token in [&good, &forged] {
        let headers = [("Authorization", format!("Bearer {token}")), ("Cookie", format!("nodevent_token={token}"))];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for transport in Transport::BOTH {
            let mut browser =
                Browser::try_open(&site, transport, &headers).await.unwrap_or_else(|_| panic!("refused"));
            let of_request = browser.enter("/nodevent").await;
            let mut browser = Browser::open(&site, transport).await;
            let of_payload = browser.enter_with("/nodevent", &auth(token)).await;
            assert_eq!((of_request.is_ok(), of_payload.is_ok()), (token == &good, token == &good));
            if token == &good {
                browser.call("token", &[json!({"token": forged})]).await;
                browser.join_with("r", forged.as_str()).await;
            }
        }
        site.get(&format!("/socket.io/?EIO=4&transport=polling&t={token}")).await;
        site.get(&format!("/api/nodevent/rooms/r/history?key={token}")).await;
    }
    program.logs("audit: token rejected").await;
    program.logs("audit: key rejected").await;
    let parts: Vec<&str> = good.split('.').chain(forged.split('.')).collect();
    for line in program.log() {
        let secret =
            parts.iter().copied().chain(["secretuser", "secretname", TOKEN_SECRET]).find(|one| line.contains(one));
        // The first part says only how a token is signed, and is the same in all of them.
        assert!(secret.is_none(), "{line}");
    }
}
