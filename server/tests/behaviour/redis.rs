//! The Redis engine: publications in Redis reach browsers, also after interruptions of the link.

use crate::support::keys::{LATER, key};
use crate::support::program::command;
use crate::support::redis::{STARTS, free_port, redis_cli, redis_server};
use crate::support::wait::{TIMEOUT, until};
use crate::support::{Browser, Program, REDIS_OUTAGE, RedisServer, TestServer, Transport, vectors};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::time::Instant;

const GOOD: &str = r#"{"room":"r","event":"e","message":1}"#;

/// Starts a server with one namespace on that Redis, and waits until it has subscribed.
async fn server_on(redis: &RedisServer, more: &str) -> TestServer {
    let server = TestServer::start(&format!("/nodevent: {{redis: \"{}\", history: off{more}}}", redis.url())).await;
    redis.has_subscribers("/nodevent", 1).await;
    server
}

#[tokio::test]
async fn redis_cli_publishes_reach_members() {
    // N-23
    let redis = RedisServer::start().await;
    let server = server_on(&redis, "").await;
    let mut browsers = Vec::new();
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        browser.join("r").await;
        browsers.push(browser);
    }
    let text = r#"{"room":"r","event":"update","message":{"id":1,"tags":["a",null,1.5]}}"#;
    let port = redis.port.to_string();
    let published = redis_cli().args(["-p", &port, "publish", "/nodevent", text]).output();
    assert_eq!(String::from_utf8(published.unwrap().stdout).unwrap().trim(), "1", "one receiver");
    for browser in &mut browsers {
        let event = browser.next_event().await;
        assert_eq!(event.publication, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(event.text, text);
    }
}

#[tokio::test]
async fn every_publication_of_the_vectors_reaches_the_browser_byte_for_byte() {
    // N-23, N-24 (extra members pass, an absent message stays absent), N-29, N-32
    let redis = RedisServer::start().await;
    let server = server_on(&redis, "").await;
    let publications = vectors("publications");
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        for vector in publications["accepted"].as_array().unwrap() {
            let (room, text) = (vector["room"].as_str().unwrap(), vector["text"].as_str().unwrap());
            let published = vector["published"].as_str().unwrap();
            browser.join(room).await;
            redis.publish("/nodevent", published).await;
            assert_eq!(browser.next_event_text().await, text, "from Redis: {}", vector["name"]);
            assert_eq!(server.publish("/nodevent", published).await.status, 200);
            assert_eq!(browser.next_event_text().await, text, "over HTTP: {}", vector["name"]);
            browser.leave(room).await;
        }
    }
}

#[tokio::test]
async fn invalid_publishes_are_counted_and_sixty_valid_ones_arrive() {
    // N-26: not JSON, and the sample of the README of NoDevent 3; N-27: JSON, but not an object; N-28: no room
    let redis = RedisServer::start().await;
    let server = server_on(&redis, "").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    let publications = vectors("publications");
    let sample = json!({"published": "{room: 'the_room', event: 'e'}", "reason": "not_json"});
    for vector in publications["refused"].as_array().unwrap().iter().chain([&sample]) {
        let series = format!("nodevent_invalid_publishes_total{{reason={}}}", vector["reason"]);
        let before = server.metric(&series).await;
        redis.publish("/nodevent", vector["published"].as_str().unwrap()).await;
        until(&format!("{vector} is counted"), async || server.metric(&series).await == before + 1).await;
    }
    redis.publish("/nodevent", b"{\"room\":\"r\",\"event\":\"\xff\"}").await;
    server.metric_is(r#"nodevent_invalid_publishes_total{reason="not_utf8"}"#, 1).await;
    redis.publish_all("/nodevent", (0..60).map(|n| format!(r#"{{"room":"r","event":"e","message":{n}}}"#))).await;
    for n in 0..60 {
        assert_eq!(browser.next_event().await.message, n);
    }
    browser.receives_nothing_else(&server).await;
}

#[tokio::test]
async fn publication_without_a_room_is_not_broadcast() {
    // N-28, on a secured namespace and for a browser that has joined nothing
    let redis = RedisServer::start().await;
    let server = server_on(&redis, ", secret: sesame-of-more-than-sixteen").await;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        for text in [r#"{"event":"e"}"#, r#"{"room":null,"event":"e"}"#, r#"{"room":"","event":"e"}"#, "[]", "7"] {
            redis.publish("/nodevent", text).await;
        }
        let key = |room: &str| Some(key(room, LATER, "sesame-of-more-than-sixteen"));
        browser.receives_nothing_else_with(&server, key).await;
    }
}

#[tokio::test]
async fn publication_over_the_publish_limit_is_skipped_and_counted() {
    let redis = RedisServer::start().await;
    let configuration =
        format!("limits: {{max_publish_size: 1KB}}\n/nodevent: {{redis: \"{}\", history: off}}", redis.url());
    let server = TestServer::start(&configuration).await;
    redis.has_subscribers("/nodevent", 1).await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    redis.publish("/nodevent", format!(r#"{{"room":"r","event":"e","message":"{}"}}"#, "x".repeat(1100))).await;
    server.metric_is(r#"nodevent_invalid_publishes_total{reason="too_large"}"#, 1).await;
    redis.publish("/nodevent", GOOD).await;
    assert_eq!(browser.next_event().await.text, GOOD);
}

#[tokio::test]
async fn every_namespace_receives_from_its_own_redis() {
    // N-05
    let (one, other) = (RedisServer::start().await, RedisServer::start().await);
    // The same namespace on both servers: with a shared link, each would receive both.
    let first = server_on(&one, "").await;
    let configuration = format!(
        "/a: {{redis: {{host: 127.0.0.1, port: {}}}, history: off}}\n/b: {{redis: {{host: 127.0.0.1, port: {}}}, history: off}}",
        one.port, other.port
    );
    let both = TestServer::start(&configuration).await;
    one.has_subscribers("/a", 1).await;
    other.has_subscribers("/b", 1).await;
    let mut a = Browser::connect(&both, "/a", Transport::WebSocket).await;
    let mut b = Browser::connect(&both, "/b", Transport::WebSocket).await;
    a.join("r").await;
    b.join("r").await;
    assert_eq!(one.publish("/a", GOOD).await, 1);
    assert_eq!(one.publish("/b", GOOD).await, 0, "/b has no subscribers there");
    assert_eq!(a.next_event().await.text, GOOD);
    a.receives_nothing_else(&both).await;
    b.receives_nothing_else(&both).await;
    assert_eq!(other.publish("/b", GOOD).await, 1);
    assert_eq!(b.next_event().await.text, GOOD);
    first.stop().await;
}

#[tokio::test]
async fn redis_with_a_password_and_a_database_is_reached() {
    // N-10
    for as_url in [true, false] {
        let redis = RedisServer::start_with_password("open-sesame-123").await;
        let parts = format!("{{host: 127.0.0.1, port: {}, password: open-sesame-123, db: 1}}", redis.port);
        let named = if as_url { format!("\"{}\"", redis.url()) } else { parts };
        let server = TestServer::start(&format!("/nodevent: {{redis: {named}, history: off}}")).await;
        // Channels are not separated by database, so their names contain it.
        let channel = if as_url { "/nodevent" } else { "@1/nodevent" };
        redis.has_subscribers(channel, 1).await;
        let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        browser.join("r").await;
        redis.publish(channel, GOOD).await;
        assert_eq!(browser.next_event().await.text, GOOD, "{named}");
        server.emit("/nodevent", "r", "e", 2).await;
        assert_eq!(browser.next_event().await.message, 2, "{named}");
    }
}

#[tokio::test]
async fn two_servers_on_one_redis_deliver_both() {
    // N-11
    let redis = RedisServer::start().await;
    let (one, other) = (server_on(&redis, "").await, {
        let other = TestServer::start(&format!("/nodevent: {{redis: \"{}\", history: off}}", redis.url())).await;
        redis.has_subscribers("/nodevent", 2).await;
        other
    });
    for transport in Transport::BOTH {
        let mut here = Browser::connect(&one, "/nodevent", transport).await;
        let mut there = Browser::connect(&other, "/nodevent", transport).await;
        here.join("r").await;
        there.join("r").await;
        assert_eq!(redis.publish("/nodevent", GOOD).await, 2);
        one.emit("/nodevent", "r", "e", 2).await;
        other.emit("/nodevent", "r", "e", 3).await;
        for n in 1..=3 {
            assert_eq!(here.next_event().await.message, n);
            assert_eq!(there.next_event().await.message, n);
        }
        here.receives_nothing_else(&other).await;
        there.receives_nothing_else(&one).await;
    }
}

/// The server starts while Redis is down, and reports it. Browsers connect and join. Redis starts, stops and starts
/// again, and the browsers receive later publications on their existing connections.
#[tokio::test]
async fn browsers_stay_connected_while_redis_restarts() {
    // N-13
    let mut redis = RedisServer::start().await;
    redis.stop();
    let server = TestServer::start(&format!("/nodevent: {{redis: \"{}\", history: off}}", redis.url())).await;
    let mut browsers = Vec::new();
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        browser.join("r").await;
        browsers.push(browser);
    }
    let (public, admin) = (server.get("/readyz").await, server.admin.get("/readyz").await);
    assert_eq!((public.status, admin.status), (503, 503));
    assert!(admin.text().contains("/nodevent"), "{}", admin.text());
    assert!(!public.text().contains("/nodevent"), "it needs no key: {}", public.text());
    assert_eq!(server.get("/healthz").await.status, 200, "the server is alive");
    for n in 0..2 {
        redis.start_again().await;
        redis.has_subscribers("/nodevent", 1).await;
        server.ready().await;
        redis.publish("/nodevent", format!(r#"{{"room":"r","event":"e","message":{n}}}"#)).await;
        for browser in &mut browsers {
            assert_eq!(browser.next_event().await.message, n);
        }
        redis.stop();
        until("the server detects the outage", async || server.get("/readyz").await.status == 503).await;
    }
    assert_eq!(server.metric("nodevent_connections_opened_total").await, 2, "all browsers stay connected");
    assert!(server.metric("nodevent_engine_disconnects_total").await > 0);
}

#[tokio::test]
async fn publishing_while_redis_is_unavailable_fails_in_time_with_a_reason() {
    let server =
        TestServer::start(&format!("/nodevent: {{redis: {{host: 127.0.0.1, port: {}}}}}", free_port())).await;
    let began = Instant::now();
    let response = server.publish("/nodevent", format!("[{GOOD},{GOOD}]")).await;
    assert!(began.elapsed() < TIMEOUT / 2, "{:?}", began.elapsed());
    assert_eq!((response.status, &response.json()["accepted"]), (503, &json!(0)), "{}", response.text());
    assert!(
        response.json()["error"].as_str().is_some_and(|error| error.starts_with("Redis is unavailable")),
        "{}",
        response.text()
    );
    assert!(response.json()["hint"].is_string());
    assert_eq!(server.metric("nodevent_failed_publishes_total").await, 1);
    assert_eq!(server.metric("nodevent_rejected_requests_total").await, 0, "the publisher made no mistake");
}

/// Redis is killed in the middle of a long array. The response carries the number of accepted publications, nothing
/// after the first failed one is published, and a member receives at most one more than that number.
#[tokio::test]
async fn array_interrupted_by_a_redis_outage_reports_its_progress() {
    const MANY: usize = 20_000;
    let mut redis = RedisServer::start().await;
    let server = server_on(&redis, "").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    let body = Value::from((0..MANY).map(|n| json!({"room":"r","event":"e","message":n})).collect::<Vec<_>>());
    let site = server.site();
    let publishing = tokio::spawn(async move { site.publish("/nodevent", body.to_string()).await });
    assert_eq!(browser.next_event().await.message, 0);
    redis.stop();
    let response = publishing.await.unwrap();
    assert_eq!(response.status, 503, "{}", response.text());
    let accepted = response.json()["accepted"].as_u64().expect("a number") as usize;
    assert!((1..MANY).contains(&accepted), "{accepted}");
    redis.start_again().await;
    redis.has_subscribers("/nodevent", 1).await;
    redis.publish("/nodevent", r#"{"room":"r","event":"end"}"#).await;
    let mut next = 1;
    loop {
        let event = browser.next_event().await;
        if event.event == "end" {
            break;
        }
        assert_eq!(event.message, next, "in order and without a gap");
        next += 1;
    }
    assert!(next <= accepted + 1, "{next} received, {accepted} accepted");
}

#[tokio::test]
async fn rooms_without_history_are_delivered_with_a_channel_per_room() {
    let redis = RedisServer::start().await;
    for history in ["off", "{size: 10, rooms: {\"r*\": off}}"] {
        let settings =
            format!("/nodevent: {{redis: \"{}\", history: {history}, channel_per_room: true}}", redis.url());
        let server = TestServer::start(&settings).await;
        redis.has_subscribers("/nodevent", 1).await;
        for transport in Transport::BOTH {
            let mut browser = Browser::connect(&server, "/nodevent", transport).await;
            browser.join("r").await;
            assert_eq!(server.publish("/nodevent", GOOD).await.status, 200);
            assert_eq!(browser.next_event_text().await, GOOD, "history: {history}");
            redis.publish("/nodevent", GOOD).await;
            assert_eq!(
                browser.next_event_text().await,
                GOOD,
                "from a publisher that uses the channel of the namespace"
            );
        }
    }
}

#[tokio::test]
async fn room_stays_subscribed_when_its_only_member_leaves_and_rejoins() {
    let redis = RedisServer::start().await;
    for history in ["off", "on"] {
        let settings =
            format!("/nodevent: {{redis: \"{}\", history: {history}, channel_per_room: true}}", redis.url());
        let server = TestServer::start(&settings).await;
        let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        browser.join("r").await;
        for round in 0..200 {
            browser.leave("r").await;
            browser.join("r").await;
            let text = format!(r#"{{"room":"r","event":"e","message":{round}}}"#);
            assert_eq!(server.publish("/nodevent", text).await.status, 200);
            assert_eq!(browser.next_event().await.publication["message"], round);
        }
        let backfilled = server.metric("nodevent_backfilled_publications_total").await;
        assert_eq!(backfilled, 0, "history: {history}: publications arrive live, not through the check");
    }
}

#[tokio::test]
async fn redis_behind_tls_is_reached_if_its_certificate_is_trusted() {
    // N-10
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name).display().to_string());
    std::fs::write(&cert_file, cert.pem()).unwrap();
    std::fs::write(&key_file, signing_key.serialize_pem()).unwrap();
    let port = free_port().to_string();
    let mut redis = tokio::process::Command::from(redis_server());
    redis.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no", "--save", ""]);
    redis.args(["--tls-cert-file", &cert_file, "--tls-key-file", &key_file, "--tls-ca-cert-file", &cert_file]);
    redis.current_dir(folder.path()).stdout(Stdio::null()).kill_on_drop(true);
    let _redis = redis.spawn().expect(STARTS);
    let settings = format!(
        "bind: 127.0.0.1\nport: 0\npublish: local\nadmin: {{port: 0}}\n/nodevent: {{redis: \"rediss://localhost:{port}\"}}\n"
    );
    let file = folder.path().join("nodevent.yml");
    std::fs::write(&file, settings).unwrap();
    let start = |trusts_certificate: bool| {
        let mut command = command(folder.path());
        command.arg(&file);
        if trusts_certificate {
            command.env("SSL_CERT_FILE", &cert_file);
        }
        Program::spawn(command)
    };
    let untrusting = start(false);
    untrusting.logs(REDIS_OUTAGE).await;
    let program = start(true);
    let (site, admin) = (program.site().await, program.admin().await);
    until("it is ready", async || admin.get("/readyz").await.status == 200).await;
    let mut browser = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    assert_eq!(site.publish("/nodevent", GOOD).await.status, 200);
    assert_eq!(browser.next_event().await.message, 1);
    assert_eq!(untrusting.admin().await.get("/readyz").await.status, 503);
}

/// The certificates of the connection to Redis are settings of the namespace: those of a private CA, and the client
/// certificate that Redis asks for.
#[tokio::test]
async fn redis_that_requires_client_certificates_is_reached_with_the_configured_ones() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
    let port = free_port().to_string();
    let mut redis = tokio::process::Command::from(redis_server());
    redis.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "yes", "--save", ""]);
    redis.args(["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "cert.pem"]);
    redis.current_dir(folder.path()).stdout(Stdio::null()).kill_on_drop(true);
    let _redis = redis.spawn().expect(STARTS);
    let program = async |ssl: &str| {
        let redis = format!("{{host: localhost, port: {port}, ssl: {{{ssl}}}}}");
        let settings = format!(
            "bind: 127.0.0.1\nport: 0\npublish: local\nadmin: {{port: 0}}\n/nodevent: {{redis: {redis}}}\n"
        );
        Program::serve(folder.path(), &settings).await
    };
    let known = program("ca: cert.pem, cert: cert.pem, key: key.pem").await;
    let admin = known.admin().await;
    until("it is ready", async || admin.get("/readyz").await.status == 200).await;
    for incomplete in ["ca: cert.pem", ""] {
        program(incomplete).await.logs(REDIS_OUTAGE).await;
    }
}

/// The shard of a room with members knows its position. Who continues from there needs no request to Redis, which is
/// paused here; who has missed something does.
#[tokio::test]
async fn member_of_a_room_with_others_on_its_shard_starts_at_its_position() {
    let redis = RedisServer::start().await;
    let server = TestServer::start(&format!("shards: 1\n/nodevent: {{redis: \"{}\"}}", redis.url())).await;
    server.ready().await;
    let member = async || Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    let join = async |browser: &mut Browser, since: &Value| {
        let arguments = if since.is_null() { json!({"room": "r"}) } else { json!({"room": "r", "since": since}) };
        browser.call("join", &[arguments]).await[2].clone()
    };
    let (mut first, mut second) = (member().await, member().await);
    let (at_start, same) = (join(&mut first, &Value::Null).await, join(&mut second, &Value::Null).await);
    assert_eq!(at_start, same, "nothing was published");
    let mut positions = Vec::new();
    for message in 1..=3 {
        server.emit("/nodevent", "r", "e", message).await;
        let event = first.next_event().await;
        assert_eq!((&event.message, &second.next_event().await.message), (&json!(message), &json!(message)));
        positions.push(event.publication["position"].clone());
    }

    assert_eq!(redis.call(&["CLIENT", "PAUSE", "2000", "ALL"]).await, "+OK");
    let (mut new, mut returning) = (member().await, member().await);
    for (browser, since) in [(&mut new, &Value::Null), (&mut returning, &positions[2])] {
        let ack = join(browser, since).await;
        assert_eq!((&ack["recovered"], &ack["position"]), (&json!(true), &positions[2]), "{ack}");
    }
    let mut behind = member().await;
    let ack = join(&mut behind, &positions[0]).await;
    assert_eq!((&ack["recovered"], &ack["position"]), (&json!(true), &positions[2]), "{ack}");
    for message in [2, 3] {
        assert_eq!(behind.next_event().await.message, message);
    }
    server.emit("/nodevent", "r", "e", 4).await;
    for browser in [&mut first, &mut second, &mut new, &mut returning, &mut behind] {
        assert_eq!(browser.next_event().await.message, 4);
        browser.receives_nothing_else(&server).await;
    }

    // What was there is gone: the members learn it, and so does who knows only that.
    let last = positions[2].clone();
    assert_eq!(redis.call(&["FLUSHALL"]).await, "+OK");
    server.emit("/nodevent", "r", "e", 5).await;
    assert_eq!(first.next_publication().await.message, 5);
    let ack = join(&mut member().await, &last).await;
    assert_eq!(ack["recovered"], false, "{ack}");
    let ack = join(&mut member().await, &Value::Null).await;
    assert_eq!(ack["recovered"], true, "{ack}");
    assert_ne!(ack["position"], last);
}
