//! The protocol `plain`: JSON objects over a WebSocket, defined in `protocol/README.md` section 9.

use crate::support::keys::{LATER, key};
use crate::support::raw::{End, Raw, handshake_request};
use crate::support::wait::in_time;
use crate::support::websocket::WebSocket;
use crate::support::{Browser, RedisServer, Request, Site, TestServer, Transport};
use serde_json::{Value, json};

/// A client of the protocol.
struct Client(WebSocket);

// === impl Client ===

impl Client {
    /// Connects and reads the first line.
    async fn connect(site: &Site, namespace: &str) -> Self {
        let socket = WebSocket::open_path(site, &format!("/ws{namespace}"), &[]).await;
        let mut client = Self(socket.unwrap_or_else(|response| panic!("{}: {}", response.status, response.text())));
        assert_eq!(client.next().await["hello"]["version"], 1);
        client
    }

    async fn send(&mut self, line: Value) {
        self.0.send(&[&line.to_string()]).await;
    }

    async fn next(&mut self) -> Value {
        let text = in_time("a line", self.0.next()).await.expect("the server sends a line");
        serde_json::from_str(&text).expect("a line is JSON")
    }

    async fn call(&mut self, line: Value) -> Value {
        self.send(line).await;
        self.next().await
    }

    /// Waits until the server closes, and returns the code and reason.
    async fn ended(mut self) -> Option<(u16, String)> {
        in_time("the server closes", async { while self.0.next().await.is_some() {} }).await;
        self.0.close_frame.map(|frame| (frame.code.into(), frame.reason.to_string()))
    }
}

/// Starts a server for each engine with a namespace that has the protocol and stores publications.
async fn servers() -> (RedisServer, Vec<TestServer>) {
    let redis = RedisServer::start().await;
    let mut servers = Vec::new();
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let server = TestServer::start(&format!("/n: {{protocol: plain{engine}}}")).await;
        server.ready().await;
        servers.push(server);
    }
    (redis, servers)
}

#[tokio::test]
async fn a_member_receives_publications_as_they_were_published_with_their_position() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let mut client = Client::connect(&server, "/n").await;
        let joined = client.call(json!({"join": "r", "id": 7})).await;
        assert_eq!(
            (&joined["joined"], &joined["id"], &joined["recovered"]),
            (&json!("r"), &json!(7), &json!(true))
        );
        server.publish("/n", r#"{"room": "r", "event":"e", "message":1.50, "extra":[true]}"#).await;
        let text = in_time("a publication", client.0.next()).await.unwrap();
        let published = r#"{"room": "r", "event":"e", "message":1.50, "extra":[true],"position":""#;
        assert!(text.starts_with(published), "{text}");
        assert_eq!(client.call(json!({"leave": "r", "id": 8})).await, json!({"left": "r", "id": 8}));
        server.emit("/n", "r", "e", 2).await;
        assert_eq!(client.call(json!({"ping": [1]})).await, json!({"pong": [1]}), "nothing else arrives");
    }
}

#[tokio::test]
async fn a_client_that_reconnects_receives_what_it_missed_before_the_reply() {
    let (_redis, servers) = servers().await;
    for server in servers {
        let mut client = Client::connect(&server, "/n").await;
        client.call(json!({"join": "r"})).await;
        server.emit("/n", "r", "e", 1).await;
        let since = client.next().await["position"].clone();
        drop(client);
        for message in 2..=4 {
            server.emit("/n", "r", "e", message).await;
        }
        let mut client = Client::connect(&server, "/n").await;
        client.send(json!({"join": "r", "since": since, "id": 1})).await;
        for message in 2..=4 {
            assert_eq!(client.next().await["message"], message);
        }
        let joined = client.next().await;
        assert_eq!((&joined["joined"], &joined["recovered"]), (&json!("r"), &json!(true)), "{joined}");
        let unknown = client.call(json!({"join": "r", "since": "0000000000000001:1"})).await;
        assert_eq!(unknown["recovered"], false, "{unknown}");
    }
}

#[tokio::test]
async fn a_rejected_request_has_an_error_and_a_hint_and_changes_nothing() {
    let secret = "sesame-open-wide-1234567890";
    let server = TestServer::start(&format!("/n: {{protocol: plain, secret: {secret}}}")).await;
    let mut client = Client::connect(&server, "/n").await;
    let rejected = client.call(json!({"join": "r", "id": 1})).await;
    let expected = json!({
        "error": "Must provide key", "hint": "send a valid key for this room as `key`", "room": "r", "id": 1
    });
    assert_eq!(rejected, expected);
    assert_eq!(client.call(json!({"join": "r", "key": key("other", LATER, secret)})).await["error"], "Bad key");
    for (line, error) in
        [("[1]", "not a JSON object"), ("{}", "unknown command"), (r#"{"join":"","id":2}"#, "Bad room")]
    {
        client.0.send(&[line]).await;
        let reply = client.next().await;
        assert_eq!(reply["error"], error, "{line}");
        assert!(reply["hint"].is_string(), "{line}");
    }
    let joined = client.call(json!({"join": "r", "key": key("r", LATER, secret)})).await;
    assert_eq!(joined["joined"], "r");
    server.metric_is("nodevent_rejected_joins_total", 2).await;
}

#[tokio::test]
async fn one_message_may_contain_several_lines() {
    let server = TestServer::start("/n: {protocol: plain, history: off}").await;
    let mut client = Client::connect(&server, "/n").await;
    client.0.send(&["{\"join\":\"a\",\"id\":1}\n\n{\"join\":\"b\",\"id\":2}\n{\"ping\":3}"]).await;
    assert_eq!(client.next().await, json!({"joined": "a", "id": 1}));
    assert_eq!(client.next().await, json!({"joined": "b", "id": 2}));
    assert_eq!(client.next().await, json!({"pong": 3}));
}

#[tokio::test]
async fn a_namespace_may_be_served_over_both_protocols() {
    let server = TestServer::start("/n: {protocol: [socket_io, plain]}").await;
    let mut client = Client::connect(&server, "/n").await;
    client.call(json!({"join": "r"})).await;
    let mut browser = Browser::connect(&server, "/n", Transport::WebSocket).await;
    browser.join("r").await;
    server.emit("/n", "r", "e", "both").await;
    assert_eq!(client.next().await["message"], "both");
    assert_eq!(browser.next_event().await.message, "both");
    server.metric_is("nodevent_deliveries_total", 2).await;
}

#[tokio::test]
async fn a_protocol_serves_only_the_namespaces_that_name_it() {
    let server = TestServer::start("/plain: {protocol: plain}\n/socket: {}").await;
    for path in ["/ws/socket", "/ws/", "/ws/unknown"] {
        let response = server.get(path).await;
        assert_eq!(response.status, 404, "{path}");
        assert!(response.json()["hint"].is_string());
    }
    let mut browser = Browser::open(&server, Transport::WebSocket).await;
    let rejected = browser.enter("/plain").await.unwrap_err();
    assert_eq!(rejected["message"], "Invalid namespace");
    let response = server.get("/ws/plain").await;
    assert_eq!((response.status, response.header("upgrade")), (426, Some("websocket")));
}

#[tokio::test]
async fn pages_of_other_origins_are_rejected() {
    let server = TestServer::start("/n: {protocol: plain}").await;
    let opened = WebSocket::open_path(&server, "/ws/n", &[("Origin", "https://evil.example")]).await;
    let rejection = opened.err().expect("a rejection");
    assert_eq!(rejection.status, 403);
    assert_eq!(rejection.json()["hint"], "list the page's origin under `origins`");
    server.metric_is("nodevent_rejected_origins_total", 1).await;
}

#[tokio::test]
async fn the_subprotocol_is_confirmed_if_it_is_offered() {
    let server = TestServer::start("/n: {protocol: plain}").await;
    for (offered, confirmed) in [
        ("nodevent.plain.v1", Some("nodevent.plain.v1")),
        ("other, nodevent.plain.v1", Some("nodevent.plain.v1")),
        ("other", None),
    ] {
        let mut request = handshake_request("").header("Sec-WebSocket-Protocol", offered);
        request.path = "/ws/n".to_owned();
        let response = server.send(&request).await;
        assert_eq!(response.status, 101, "{offered}");
        assert_eq!(response.header("sec-websocket-protocol"), confirmed, "{offered}");
    }
}

#[tokio::test]
async fn a_quiet_client_stays_connected_by_its_pongs_and_one_without_pongs_is_closed() {
    let server = TestServer::start("ping: {interval: 200ms, timeout: 300ms}\n/n: {protocol: plain}").await;
    let mut client = Client::connect(&server, "/n").await;
    client.call(json!({"join": "r"})).await;
    let mut request = handshake_request("");
    request.path = "/ws/n".to_owned();
    let mut stream = server.dial().await;
    tokio::io::AsyncWriteExt::write_all(&mut stream, &request.encode(&server.address)).await.unwrap();
    let mut raw = Raw::after_handshake(stream).await;
    let silent = tokio::spawn(async move { raw.ended().await });
    // The library answers pings while it reads.
    while !silent.is_finished() {
        assert_eq!(client.next().await, json!({"heartbeat": 200}));
    }
    assert_eq!(silent.await.unwrap(), End::Closed(Some(1008), "ping timeout".to_owned()));
    server.metric_is("nodevent_disconnects_total{reason=\"ping_timeout\"}", 1).await;
}

#[tokio::test]
async fn a_client_that_joins_no_room_is_closed_with_a_reason() {
    let server = TestServer::start("limits: {connect_timeout: 200ms}\n/n: {protocol: plain}").await;
    let (code, reason) = Client::connect(&server, "/n").await.ended().await.expect("a close frame");
    assert_eq!((code, reason.as_str()), (1008, "no namespace or room joined in time"));
}

#[tokio::test]
async fn the_server_announces_when_to_reconnect_before_it_stops() {
    let server = TestServer::start("drain_timeout: 0s\n/n: {protocol: plain}").await;
    let mut client = Client::connect(&server, "/n").await;
    client.call(json!({"join": "r"})).await;
    let stopping = tokio::spawn(server.stop());
    let line = client.next().await;
    assert_eq!(line["closing"], "server shutting down");
    assert!(line["reconnect_after"].as_u64().is_some_and(|after| (500..1_500).contains(&after)), "{line}");
    assert_eq!(client.ended().await, Some((1001, "server shutting down".to_owned())));
    stopping.await.unwrap();
}

#[tokio::test]
async fn binary_messages_and_floods_close_the_connection_with_a_reason() {
    let server = TestServer::start("limits: {packets_per_second: 10}\n/n: {protocol: plain, history: off}").await;
    let mut client = Client::connect(&server, "/n").await;
    let flood = "{\"ping\":1}\n".repeat(100);
    client.0.send(&[&flood]).await;
    assert_eq!(client.ended().await, Some((1008, "too many packets".to_owned())));
    server.metric_is("nodevent_disconnects_total{reason=\"packet_rate\"}", 1).await;
    assert_eq!(server.send(&Request::get("/healthz")).await.status, 200);
}
