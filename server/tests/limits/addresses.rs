//! The limits of one address: handshakes, connections, requests for rooms, wrong keys. A client on another address, and
//! a right key on any address, are not affected.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::http::Io;
use crate::support::keys::{LATER, key};
use crate::support::raw::{End, Raw, handshake, handshake_request};
use crate::support::wait::until;
use crate::support::{Request, Response, Site};
use nodevent_protocol::action_cable::signed_name;
use nodevent_protocol::key::Secret;
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const HISTORY: &str = "/api/nodevent/rooms/r/history";
const SECRET: &str = "a-secret-of-more-than-sixteen";

/// Opens a connection from another address of this machine.
pub(crate) async fn dial_from(site: &Site, address: [u8; 4]) -> Box<dyn Io> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((address, 0))).unwrap();
    Box::new(socket.connect(site.address.parse().unwrap()).await.unwrap())
}

async fn send_from(server: &ServerWithBystander, address: [u8; 4], request: &Request) -> Response {
    let mut stream = dial_from(server, address).await;
    request.exchange(&mut stream, &server.address).await.unwrap()
}

/// Checks a refusal: the response names the limit, a metric counts it, and the log has the address.
async fn assert_refused(server: &ServerWithBystander, response: &Response, reason: &str, limit: &str) {
    assert_eq!((response.status, response.header("retry-after")), (429, Some("1")), "{}", response.text());
    let hint = response.json()["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains(limit) && hint.contains("trusted_proxies"), "{hint}");
    let series = format!("nodevent_address_limit_rejections_total{{reason=\"{reason}\"}}");
    until(&format!("{series} counts it"), async || server.metric(&series).await > 0).await;
    let line = server.logs("request refused: a limit of its address is reached").await;
    assert!(line.contains("client=127.0.0.1") && line.contains(limit), "{line}");
}

#[tokio::test]
async fn handshakes_beyond_the_rate_of_an_address_are_refused_on_every_transport() {
    let limits = "limits: {handshakes_per_second_per_address: 1}\n/nodevent: {protocol: [socket_io, plain]}";
    let mut server = ServerWithBystander::start(limits).await;
    let upgrade = |path: &str| Request { path: path.to_owned(), ..handshake_request("") };
    let requests = [
        Request::get(POLLING),
        handshake_request(""),
        upgrade("/ws/nodevent"),
        Request::get("/api/nodevent/rooms/r/events"),
        Request::get(HISTORY),
    ];
    while server.get(POLLING).await.status == 200 {}
    for request in &requests {
        let response = server.send(request).await;
        assert_refused(&server, &response, "handshakes", "handshakes_per_second_per_address").await;
    }
    assert_eq!(send_from(&server, [127, 0, 0, 2], &requests[0]).await.status, 200, "another address");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn connections_of_an_address_have_a_limit_and_others_connect() {
    let limits = "limits: {max_connections_per_address: 4}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(limits).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(Raw::connected(&server.site, "/nodevent").await);
    }
    for request in [Request::get(POLLING), handshake_request("")] {
        let response = server.send(&request).await;
        assert_refused(&server, &response, "connections", "max_connections_per_address").await;
    }
    let mut stream = dial_from(&server, [127, 0, 0, 2]).await;
    stream.write_all(&handshake(&server.address, "")).await.unwrap();
    let mut other = Raw::after_handshake(stream).await;
    assert!(other.text().await.starts_with('0'), "another address connects");
    drop(open.pop());
    until("there is room again", async || server.get(POLLING).await.status == 200).await;
    server.bystander_is_unaffected().await;
}

/// Without a limit of their own, connections are shared: an address that has nearly all of them leaves some to others.
#[tokio::test]
async fn address_that_opens_all_connections_leaves_some_to_others() {
    let limits =
        "shards: 1\nlimits: {max_connections: 200, max_roomless_per_address: 200}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(limits).await;
    let mut members = Vec::new();
    loop {
        let mut stream = server.dial().await;
        stream.write_all(&handshake(&server.address, "")).await.unwrap();
        let Some(mut raw) = Raw::try_after_handshake(stream).await else { break };
        assert!(raw.text().await.starts_with('0'));
        raw.send_text("40/nodevent,").await;
        assert!(raw.text().await.starts_with("40/nodevent,"));
        raw.send_text("42/nodevent,1[\"join\",{\"room\":\"r\"}]").await;
        assert_eq!(raw.text().await, "43/nodevent,1[null,true]");
        members.push(raw);
        assert!(members.len() < 200, "one address has all connections");
    }
    let response = server.get(POLLING).await;
    assert_refused(&server, &response, "connections", "max_connections_per_address").await;
    assert!(members.len() > 150, "{}", members.len());
    for host in 2..6 {
        assert_eq!(send_from(&server, [127, 0, 0, host], &Request::get(POLLING)).await.status, 200);
    }
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn requests_for_rooms_beyond_the_rate_of_an_address_are_refused() {
    let mut server =
        ServerWithBystander::start("limits: {room_requests_per_second_per_address: 1}\n/nodevent: {}").await;
    while server.get(HISTORY).await.status == 200 {}
    for path in [HISTORY, "/api/nodevent/rooms/r/events"] {
        let response = server.get(path).await;
        assert_refused(&server, &response, "room_requests", "room_requests_per_second_per_address").await;
    }
    assert_eq!(send_from(&server, [127, 0, 0, 2], &Request::get(HISTORY)).await.status, 200, "another address");
    assert_eq!(server.get(POLLING).await.status, 200, "a handshake is not a request for a room");
    server.bystander_is_unaffected().await;
}

/// A server with a secured namespace, and an address that has sent as many wrong keys as allowed.
async fn after_wrong_keys() -> ServerWithBystander {
    let settings = format!(
        "limits: {{wrong_keys_per_second_per_address: 1}}\n/nodevent: {{open: true}}\n/secured: {{secret: {SECRET}, \
         history: off, publish_key: the-key-of-the-application}}"
    );
    let server = ServerWithBystander::start(&settings).await;
    let wrong = format!("/api/secured/rooms/r/events?key={}", key("other", LATER, SECRET));
    until("the rate is reached", async || server.get(&wrong).await.status == 429).await;
    let response = server.get(&wrong).await;
    assert_refused(&server, &response, "wrong_keys", "wrong_keys_per_second_per_address").await;
    server
}

#[tokio::test]
async fn forged_names_of_event_streams_are_wrong_keys() {
    let settings = "log: {audit: true}\nlimits: {wrong_keys_per_second_per_address: 1}\n/nodevent: {open: true}\n\
        /cable: {protocol: action_cable, action_cable: {signed_stream_key: a-key-of-more-than-sixteen-bytes}}\n";
    let mut server = ServerWithBystander::start(settings).await;
    let forged = signed_name::sign("posts", &Secret::new("another key").unwrap());
    let get = |name: &str| {
        Request::get(&format!("/cable?signed_stream_name={name}")).header("Accept", "text/event-stream")
    };
    assert_eq!(server.send(&get(&forged)).await.status, 403);
    let line = server.logs("audit: key rejected").await;
    assert!(line.contains("client=127.0.0.1") && line.contains("Bad key"), "{line}");
    until("the rate is reached", async || server.send(&get(&forged)).await.status == 429).await;
    let response = server.send(&get(&forged)).await;
    assert_refused(&server, &response, "wrong_keys", "wrong_keys_per_second_per_address").await;
    assert_eq!(send_from(&server, [127, 0, 0, 2], &get(&forged)).await.status, 403, "another address");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn wrong_publish_keys_in_handshakes_of_action_cable_are_wrong_keys() {
    let settings = "log: {audit: true}\nlimits: {wrong_keys_per_second_per_address: 1}\n/nodevent: {open: true}\n\
        /cable: {protocol: action_cable, publish_key: the-key-of-the-application, \
        action_cable: {signed_stream_key: a-key-of-more-than-sixteen-bytes}}\n";
    let mut server = ServerWithBystander::start(settings).await;
    let with = |key: &str| {
        let request = Request { path: "/cable".to_owned(), ..handshake_request("") };
        request.header("Authorization", &format!("Bearer {key}"))
    };
    let open = async |address: [u8; 4], key: &str| send_from(&server, address, &with(key)).await;
    let guess = "the-key-of-the-applicatioN";
    assert_eq!(open([127, 0, 0, 1], guess).await.status, 101, "a client without a right key");
    let line = server.logs("audit: key rejected").await;
    assert!(line.contains("client=127.0.0.1") && line.contains("the publish key is missing or wrong"), "{line}");
    until("the rate is reached", async || open([127, 0, 0, 1], guess).await.status == 429).await;
    assert_refused(&server, &open([127, 0, 0, 1], guess).await, "wrong_keys", "wrong_keys_per_second_per_address")
        .await;
    assert_eq!(open([127, 0, 0, 1], "the-key-of-the-application").await.status, 101, "the right key");
    assert_eq!(open([127, 0, 0, 2], guess).await.status, 101, "another address");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn right_keys_are_accepted_from_an_address_that_sends_wrong_ones() {
    let mut server = after_wrong_keys().await;
    // The same address: users behind the same proxy.
    let mut raw = Raw::connected(&server.site, "/secured").await;
    let good = key("r", LATER, SECRET);
    raw.send_text(&format!("42/secured,1[\"join\",{{\"room\":\"r\",\"key\":\"{good}\"}}]")).await;
    assert_eq!(raw.text().await, "43/secured,1[null,true]");
    let publication = json!({"room": "r", "event": "e"}).to_string();
    let publish = |key: &str| {
        Request::post("/api/secured/emit", publication.as_str()).header("Authorization", &format!("Bearer {key}"))
    };
    for _ in 0..5 {
        assert_eq!(server.send(&publish("a-wrong-key-of-a-publisher")).await.status, 429);
        assert_eq!(server.send(&publish("the-key-of-the-application")).await.status, 200);
    }
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn connection_with_many_wrong_keys_is_closed_and_one_with_few_is_not() {
    let mut server = after_wrong_keys().await;
    let (wrong, expired) = (key("other", LATER, SECRET), key("r", "1700000000000", SECRET));
    let join = |id: u32, key: &str| format!("42/secured,{id}[\"join\",{{\"room\":\"r\",\"key\":\"{key}\"}}]");
    let mut page = Raw::connected(&server.site, "/secured").await;
    for id in 0..20 {
        page.send_text(&join(id, &wrong)).await;
        assert_eq!(page.text().await, format!("43/secured,{id}[\"Bad key\",false]"), "a page with old keys");
    }
    // Keys that have expired are not wrong: pages send them that were open for long.
    for id in 20..60 {
        page.send_text(&join(id, &expired)).await;
        assert_eq!(page.text().await, format!("43/secured,{id}[\"Time has passed\",false]"));
    }
    page.send_text(&join(60, &wrong)).await;
    assert_eq!(page.ended().await, End::Closed(Some(1008), "too many wrong keys".to_owned()));
    server.metric_is("nodevent_disconnects_total{reason=\"wrong_keys\"}", 1).await;
    let line = server.logs("connection closed reason=\"wrong_keys\"").await;
    assert!(line.contains("client=127.0.0.1"), "{line}");
    server.bystander_is_unaffected().await;
}
