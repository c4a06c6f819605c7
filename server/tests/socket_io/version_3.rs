//! Version 3 of Engine.IO next to version 4, and revision 4 of Socket.IO above it: what clients of Socket.IO 1 and 2 send
//! and receive. X-02

use crate::session::{closed, engine_echo_3, error, socket_echo};
use crate::support::raw::{BINARY, End, Frame, Raw, TEXT, last};
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::{Browser, Request, Response, Site, TestServer, Transport};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const POLLING: &str = "/socket.io/?EIO=3&transport=polling";
const BYTES: &str = "application/octet-stream";
const TEXT_TYPE: &str = "text/plain; charset=UTF-8";

/// A long-polling session by hand.
struct Session {
    site: Site,
    sid: String,
    /// The packets that came with the open packet.
    first: String,
}

impl Session {
    /// Opens a session with further query parameters.
    async fn open(site: &Site, query: &str) -> Self {
        let response = site.get(&format!("{POLLING}{query}")).await;
        assert_eq!(
            (response.status, response.header("content-type")),
            (200, Some(TEXT_TYPE)),
            "{}",
            response.text()
        );
        let text = response.text();
        let (length, rest) = text.split_once(':').expect("a length");
        let (open, first) = rest.split_at(length.parse().expect("a number"));
        let handshake: Value = serde_json::from_str(open.strip_prefix('0').expect("an open packet")).expect("JSON");
        let sid = handshake["sid"].as_str().expect("a sid").to_owned();
        Self { site: site.clone(), sid, first: first.to_owned() }
    }

    fn path(&self) -> String {
        format!("{POLLING}&sid={}", self.sid)
    }

    async fn get(&self) -> Response {
        self.site.get(&self.path()).await
    }

    async fn text(&self) -> (u16, String) {
        let response = self.get().await;
        (response.status, response.text())
    }

    async fn post(&self, body: impl Into<Vec<u8>>) -> (u16, String) {
        let response = self.site.send(&Request::post(&self.path(), body)).await;
        (response.status, response.text())
    }

    async fn send(&self, body: impl Into<Vec<u8>>) {
        assert_eq!(self.post(body).await, (200, "ok".to_owned()));
    }
}

fn upgrade_request(query: &str) -> Request {
    Request::get(&format!("/socket.io/?EIO=3&transport=websocket{query}"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// Opens a WebSocket with further query parameters.
async fn websocket(site: &Site, query: &str) -> Raw {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = site.dial().await;
    stream.write_all(&upgrade_request(query).encode(&site.address)).await.expect("the handshake is sent");
    Raw::after_handshake(stream).await
}

/// Opens a connection and reads the open packet.
async fn opened(site: &Site) -> Raw {
    let mut raw = websocket(site, "").await;
    let open = text(&mut raw).await;
    assert!(open.starts_with("0{"), "{open}");
    raw
}

/// The next frame, which must be text. Version 3 has no pings of the server.
async fn text(raw: &mut Raw) -> String {
    let frame = raw.frame().await.expect("the connection is open");
    assert_eq!(frame.opcode, TEXT, "{frame:?}");
    String::from_utf8(frame.payload).expect("text is UTF-8")
}

/// A payload of text.
fn payload(packets: &[&str]) -> String {
    packets.iter().map(|packet| format!("{}:{packet}", packet.encode_utf16().count())).collect()
}

/// One part of a payload of bytes.
fn part(kind: u8, packet: &[u8]) -> Vec<u8> {
    let length = packet.len().to_string().into_bytes().into_iter().map(|digit| digit - b'0').collect();
    [vec![kind], length, vec![255], packet.to_vec()].concat()
}

#[tokio::test]
async fn open_packet_carries_the_session_parameters() {
    let server = engine_echo_3("ping: {interval: 300ms, timeout: 200ms}").await;
    let response = server.get(POLLING).await.text();
    let handshake: Value = serde_json::from_str(response.split_once(":0").unwrap().1).unwrap();
    assert_eq!((&handshake["pingInterval"], &handshake["pingTimeout"]), (&json!(300), &json!(200)));
    assert_eq!(handshake["upgrades"], json!(["websocket"]));
    let open = text(&mut websocket(&server, "").await).await;
    let handshake: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    assert_eq!(handshake["upgrades"], json!([]));
}

#[tokio::test]
async fn messages_come_back_as_they_were_sent_on_both_transports() {
    let server = engine_echo_3("").await;
    let session = Session::open(&server, "").await;
    for packets in [&["4hello"][..], &["4a", "4b", "4c"], &["4"]] {
        session.send(payload(packets)).await;
        assert_eq!(session.text().await, (200, payload(packets)));
    }
    let mut raw = opened(&server).await;
    for packet in ["4hello", "4", "4ünï☃😀"] {
        raw.send_text(packet).await;
        assert_eq!(text(&mut raw).await, packet);
    }
    raw.send(last(BINARY, [4, 1, 2, 3])).await;
    assert_eq!(raw.frame().await, Some(Frame { opcode: BINARY, payload: vec![4, 1, 2, 3] }));
    raw.send_text("b4AQID").await;
    assert_eq!(raw.frame().await, Some(Frame { opcode: BINARY, payload: vec![4, 1, 2, 3] }));
}

#[tokio::test]
async fn client_that_reads_bytes_receives_text_outside_ascii_and_binary_messages_as_bytes() {
    let server = engine_echo_3("").await;
    let session = Session::open(&server, "").await;
    let snow = "4ünï☃😀";
    let bytes = [part(0, snow.as_bytes()), part(1, &[4, 0, 255, 1])].concat();
    for body in [bytes.clone(), payload(&[snow, "b4AP8B"]).into_bytes()] {
        session.send(body).await;
        let response = session.get().await;
        assert_eq!(response.header("content-type"), Some(BYTES));
        assert_eq!(response.body, bytes);
    }
}

/// The echo application is not JSON, so text stays as it is; `socket.io` above it writes ASCII.
#[tokio::test]
async fn client_that_reads_only_text_receives_binary_messages_as_base64() {
    let server = engine_echo_3("").await;
    let session = Session::open(&server, "&b64=1").await;
    session.send(payload(&["4☃", "b4AP8B"])).await;
    let response = session.get().await;
    assert_eq!(response.header("content-type"), Some(TEXT_TYPE));
    assert_eq!(response.text(), payload(&["4☃", "b4AP8B"]));
    let mut raw = websocket(&server, "&b64=1").await;
    text(&mut raw).await;
    raw.send_text("b4AP8B").await;
    assert_eq!(text(&mut raw).await, "b4AP8B");
}

#[tokio::test]
async fn text_of_socket_io_1_that_was_encoded_twice_is_decoded_and_json_is_sent_in_ascii_or_as_bytes() {
    let server = socket_echo("").await;
    let twice: String = r#"42["message","ü☃😀"]"#.bytes().map(char::from).collect();
    let session = Session::open(&server, "&b64=1").await;
    assert_eq!(session.first, payload(&["40", r#"42["auth",{}]"#]));
    session.send(payload(&[&twice])).await;
    assert_eq!(session.text().await.1, payload(&[r#"42["message-back","\u00fc\u2603\ud83d\ude00"]"#]));
    session.send(payload(&[r#"42["message","ü☃"]"#])).await;
    assert_eq!(session.text().await.1, payload(&[r#"42["message-back","\u00fc\u2603"]"#]));
    // Browsers do so without `b64=1`, and can read bytes.
    let session = Session::open(&server, "").await;
    session.send(payload(&[&twice])).await;
    assert_eq!(session.get().await.body, part(0, r#"42["message-back","ü☃😀"]"#.as_bytes()));
}

#[tokio::test]
async fn client_pings_and_the_server_answers_with_the_same_text() {
    let server = engine_echo_3("ping: {interval: 300ms, timeout: 200ms}").await;
    let mut raw = opened(&server).await;
    let session = Session::open(&server, "").await;
    let began = Instant::now();
    // Longer than the server waits without a ping.
    while began.elapsed() < Duration::from_millis(1_200) {
        raw.send_text("2").await;
        assert_eq!(text(&mut raw).await, "3");
        session.send(payload(&["2x"])).await;
        assert_eq!(session.text().await, (200, payload(&["3x"])));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn client_that_does_not_ping_is_closed_after_interval_and_timeout() {
    let server = engine_echo_3("ping: {interval: 300ms, timeout: 200ms}").await;
    let began = Instant::now();
    let mut raw = opened(&server).await;
    let session = Session::open(&server, "").await;
    assert_eq!(
        session.text().await,
        (200, payload(&["1"])),
        "the waiting GET receives a close packet, and no ping"
    );
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "ping timeout".to_owned()));
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    server.metric_is("nodevent_disconnects_total{reason=\"ping_timeout\"}", 2).await;
}

#[tokio::test]
async fn upgrade_releases_the_poll_and_moves_what_was_queued() {
    let server = engine_echo_3("").await;
    let session = Session::open(&server, "").await;
    let mut raw = websocket(&server, &format!("&sid={}", session.sid)).await;
    raw.send_text("2probe").await;
    assert_eq!(text(&mut raw).await, "3probe");
    assert_eq!(session.text().await, (200, payload(&["6"])));
    session.send(payload(&["4one", "b4AQ=="])).await;
    raw.send_text("5").await;
    assert_eq!(text(&mut raw).await, "4one");
    assert_eq!(raw.frame().await, Some(Frame { opcode: BINARY, payload: vec![4, 1] }));
    raw.send_text("4two").await;
    assert_eq!(text(&mut raw).await, "4two");
    assert_eq!(session.text().await, (400, error(3, "Bad request")));
}

#[tokio::test]
async fn close_packet_closes_the_session() {
    let server = engine_echo_3("").await;
    let mut raw = opened(&server).await;
    raw.send_text("1").await;
    assert_eq!(raw.ended().await, End::Closed(Some(1000), String::new()));
    let session = Session::open(&server, "").await;
    session.send(payload(&["1"])).await;
    assert_eq!(session.text().await, (400, error(1, "Session ID unknown")));
}

#[tokio::test]
async fn session_of_one_version_does_not_exist_for_the_other() {
    let server = engine_echo_3("").await;
    let three = Session::open(&server, "").await;
    let four = crate::session::Session::open(&server).await;
    let path = |version: u8, transport: &str, sid: &str| {
        format!("/socket.io/?EIO={version}&transport={transport}&sid={sid}")
    };
    for (version, sid) in [(4, &three.sid), (3, &four.sid)] {
        let upgrade = Request { path: path(version, "websocket", sid), ..upgrade_request("") };
        let polling = path(version, "polling", sid);
        for request in [Request::get(&polling), Request::post(&polling, "4x"), upgrade] {
            let response = server.send(&request).await;
            assert_eq!((response.status, response.text()), (400, error(3, "Bad request")), "{request:?}");
        }
    }
    three.send(payload(&["4still here"])).await;
    assert_eq!(three.text().await, (200, payload(&["4still here"])));
    assert_eq!(four.post("4still here").await, (200, "ok".to_owned()));
    assert_eq!(four.get().await, (200, "4still here".to_owned()));
}

#[tokio::test]
async fn malformed_body_closes_its_session_and_nothing_else() {
    // X-03
    let server = engine_echo_3("").await;
    let bystander = Session::open(&server, "").await;
    let huge = [vec![1], vec![9; 10], vec![255, 4]].concat();
    for body in [
        &b""[..],
        b"4hello",
        b"2:4",
        b"9999999999:4",
        b"99999999999999999999:4",
        b"1:9",
        b"2:b2",
        b"\x00\x01",
        b"\x00\xff4",
        b"\x01\x01\xff\x02",
        b"\x00\x02\xff4\xff",
        b"\xff",
        &huge,
        "2:4😀".as_bytes(),
    ] {
        let session = Session::open(&server, "").await;
        assert_eq!(session.post(body).await, (400, closed("malformed packet")), "{body:?}");
        assert_eq!(session.text().await, (400, error(1, "Session ID unknown")));
    }
    for frame in [last(TEXT, ""), last(TEXT, "9"), last(TEXT, "b4*"), last(BINARY, ""), last(BINARY, [2])] {
        let mut raw = opened(&server).await;
        raw.send(frame).await;
        assert_eq!(raw.ended().await, End::Closed(Some(1008), "malformed packet".to_owned()));
    }
    bystander.send(payload(&["4still here"])).await;
    assert_eq!(bystander.text().await, (200, payload(&["4still here"])));
}

#[tokio::test]
async fn limits_of_sizes_and_rates_apply() {
    let server = engine_echo_3("limits: {max_message_size: 1KB, packets_per_second: 10}").await;
    let session = Session::open(&server, "").await;
    let (status, text) = session.post(payload(&[&format!("4{}", "x".repeat(2_000))])).await;
    assert_eq!(status, 413, "{text}");
    assert_eq!(session.post(payload(&["4"; 100])).await.0, 400);
    server.metric_is("nodevent_disconnects_total{reason=\"packet_rate\"}", 1).await;
}

#[tokio::test]
async fn jsonp_is_rejected_with_the_alternative() {
    let server = engine_echo_3("").await;
    let response = server.get(&format!("{POLLING}&j=0")).await;
    assert_eq!((response.status, response.header("content-type")), (400, Some("application/json")));
    assert!(response.text().contains("JSONP is not supported, use the transport websocket"), "{}", response.text());
    // Version 4 never had it: the parameter means nothing there.
    assert_eq!(server.get("/socket.io/?EIO=4&transport=polling&j=0").await.status, 200);
}

#[tokio::test]
async fn server_connects_the_client_to_the_main_namespace_and_others_on_request() {
    let server = socket_echo("").await;
    let mut raw = opened(&server).await;
    assert_eq!(text(&mut raw).await, "40");
    assert_eq!(text(&mut raw).await, r#"42["auth",{}]"#);
    // Before it is connected, and twice: both were allowed.
    raw.send_text(r#"42/custom,["message","early"]"#).await;
    for connect in ["40/custom", "40/custom,", "40/custom?a=b"] {
        raw.send_text(connect).await;
        assert_eq!(text(&mut raw).await, "40/custom,");
        if connect == "40/custom" {
            assert_eq!(text(&mut raw).await, r#"42/custom,["auth",{}]"#);
        }
    }
    raw.send_text(r#"42/custom,7["message-with-ack",1,"ü"]"#).await;
    assert_eq!(text(&mut raw).await, r#"43/custom,7[1,"ü"]"#);
    raw.send_text(r#"451-/custom,8["message-with-ack",{"_placeholder":true,"num":0}]"#).await;
    raw.send(last(BINARY, [4, 7])).await;
    assert_eq!(text(&mut raw).await, r#"461-/custom,8[{"_placeholder":true,"num":0}]"#);
    assert_eq!(raw.frame().await, Some(Frame { opcode: BINARY, payload: vec![4, 7] }));
    raw.send_text("41/custom").await;
    raw.send_text(r#"42/custom,["message","late"]"#).await;
    raw.send_text("40/nowhere").await;
    assert_eq!(text(&mut raw).await, r#"44/nowhere,"Invalid namespace""#);
    raw.send_text(r#"42["message","main"]"#).await;
    assert_eq!(text(&mut raw).await, r#"42["message-back","main"]"#);
}

/// Clients wait for the connection to `/` before they enter other namespaces, even if they do not use it.
#[tokio::test]
async fn main_namespace_that_is_not_served_is_confirmed_and_its_events_are_errors() {
    let server = TestServer::start("/nodevent: {history: off}").await;
    let mut raw = opened(&server).await;
    assert_eq!(text(&mut raw).await, "40");
    raw.send_text(r#"42["join",{"room":"r"}]"#).await;
    assert_eq!(text(&mut raw).await, r#"44"Invalid namespace""#);
    raw.send_text("40/nodevent").await;
    assert_eq!(text(&mut raw).await, "40/nodevent,");
}

#[tokio::test]
async fn confirmed_main_namespace_that_is_not_served_does_not_end_the_connect_timeout() {
    let server = TestServer::start("limits: {connect_timeout: 300ms}\n/nodevent: {}").await;
    let mut raw = opened(&server).await;
    assert_eq!(text(&mut raw).await, "40");
    assert!(matches!(raw.ended().await, End::Closed(..)));
    server.metric_is("nodevent_disconnects_total{reason=\"connect_timeout\"}", 1).await;
}

#[tokio::test]
async fn members_of_both_versions_and_all_transports_receive_a_publication() {
    let server = TestServer::start("/nodevent: {history: off}").await;
    let mut four = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    four.join("r").await;
    let mut three = opened(&server).await;
    let (bytes, text_only) = (Session::open(&server, "").await, Session::open(&server, "&b64=1").await);
    let join = r#"42/nodevent,0["join",{"room":"r"}]"#;
    three.send_text("40/nodevent").await;
    three.send_text(join).await;
    for expected in ["40", "40/nodevent,", "43/nodevent,0[null,true]"] {
        assert_eq!(text(&mut three).await, expected);
    }
    for session in [&bytes, &text_only] {
        assert_eq!(session.first, payload(&["40"]));
        session.send(payload(&["40/nodevent", join])).await;
        assert_eq!(session.text().await.1, payload(&["40/nodevent,", "43/nodevent,0[null,true]"]));
    }
    server.emit("/nodevent", "r", "e", "ü").await;
    assert_eq!(four.next_publication().await.message, json!("ü"));
    let packet = r#"42/nodevent,["event",{"room":"r","event":"e","message":"ü"}]"#;
    assert_eq!(sorted(&text(&mut three).await), sorted(packet));
    let response = bytes.get().await;
    assert_eq!(response.header("content-type"), Some(BYTES));
    assert_eq!(sorted(str::from_utf8(&response.body[4..]).unwrap()), sorted(packet));
    let (_, body) = text_only.text().await;
    assert!(body.is_ascii() && body.contains(r"\u00fc"), "{body}");
    assert_eq!(sorted(body.split_once(':').unwrap().1), sorted(packet));
}

/// The JSON of a packet, whatever the order of its members.
fn sorted(packet: &str) -> Value {
    serde_json::from_str(packet.split_once(',').expect("a namespace").1).expect("JSON")
}

#[tokio::test]
async fn token_comes_with_the_query_of_the_connection_or_of_the_namespace() {
    let settings = |name: &str| {
        format!("{name}:\n  history: off\n  token: {{secret: {TOKEN_SECRET}, query: token, required: true}}\n")
    };
    let server = TestServer::start(&format!("{}{}", settings("/a"), settings("/b"))).await;
    let [one, other] = ["1", "2"].map(|user| token(json!({"sub": user})));
    let user = |packet: &str| -> Value { sorted(packet)[1]["user"].clone() };
    let mut raw = websocket(&server, &format!("&token={one}")).await;
    text(&mut raw).await;
    assert_eq!(text(&mut raw).await, "40");
    raw.send_text("40/a").await;
    assert_eq!(text(&mut raw).await, "40/a,");
    assert_eq!(user(&text(&mut raw).await), "1");
    // Two namespaces of one connection: each has its own token. W-09
    raw.send_text(&format!("40/b?token={other}")).await;
    assert_eq!(text(&mut raw).await, "40/b,");
    assert_eq!(user(&text(&mut raw).await), "2");
    let mut raw = opened(&server).await;
    assert_eq!(text(&mut raw).await, "40");
    for (connect, error) in [
        ("40/a", "Must provide token"),
        ("40/a?token=x.y", "Malformed token"),
        ("40/a?other=1", "Must provide token"),
    ] {
        raw.send_text(connect).await;
        assert_eq!(text(&mut raw).await, format!(r#"44/a,"{error}""#));
    }
}

/// Whatever the core has for a connection reaches clients of version 3 as well: publications to its user and to all, its
/// mailbox, lists of members, revocations, and the timeout of attachments.
#[tokio::test]
async fn clients_receive_what_the_core_has_for_a_connection() {
    let settings = format!(
        "limits: {{request_timeout: 500ms}}\n/a:\n  open: true\n  history: off\n  presence: true\n  mailbox: on\n  \
         token: {{secret: {TOKEN_SECRET}, query: token}}\n"
    );
    let server = TestServer::start(&settings).await;
    let token = token(json!({"sub": "7"}));
    let connect = async || {
        let mut raw = websocket(&server, &format!("&token={token}")).await;
        text(&mut raw).await;
        assert_eq!(text(&mut raw).await, "40");
        raw.send_text("40/a").await;
        assert_eq!(text(&mut raw).await, "40/a,");
        assert!(text(&mut raw).await.starts_with("42/a,[\"identified\""));
        raw
    };
    let publish = async |path: &str, body: Value| {
        let response = server.send(&Request::post(path, body.to_string())).await;
        assert_eq!(response.status, 200, "{}", response.text());
    };
    let mut raw = connect().await;
    for target in [json!({"users": "7"}), json!({"broadcast": true})] {
        let mut publication = target.clone();
        publication["event"] = "e".into();
        publish("/api/a/emit", publication).await;
        let packet = sorted(&text(&mut raw).await);
        assert_eq!((&packet[0], &packet[1]["event"]), (&json!("event"), &json!("e")), "{target}");
    }
    raw.send_text("42/a,1[\"join\",{\"room\":\"r\"}]").await;
    assert_eq!(text(&mut raw).await, "43/a,1[null,true]");
    assert_eq!(sorted(&text(&mut raw).await)[1]["event"], "nodevent:enter");
    raw.send_text("42/a,2[\"presence\",{\"room\":\"r\"}]").await;
    assert!(text(&mut raw).await.starts_with("43/a,2[null,{"));
    raw.send_text("42/a,3[\"mailbox\"]").await;
    assert_eq!(text(&mut raw).await, "43/a,3[null,true]");
    assert_eq!(sorted(&text(&mut raw).await)[0], "mailbox");
    publish("/api/a/notify", json!({"user": "7", "event": "n"})).await;
    assert_eq!(sorted(&text(&mut raw).await)[1]["messages"][0]["event"], "n");
    raw.send_text("451-/a,[\"x\",{\"_placeholder\":true,\"num\":0}]").await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "attachments timeout".to_owned()));
    let mut raw = connect().await;
    publish("/api/a/revoke", json!({"user": "7"})).await;
    assert_eq!(text(&mut raw).await, "42/a,[\"revoked\",{}]");
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "revoked".to_owned()));
}

#[tokio::test]
async fn namespace_can_be_closed_to_version_3() {
    let server = TestServer::start("/old: {history: off}\n/new: {history: off, allow_eio3: false}").await;
    let mut raw = opened(&server).await;
    assert_eq!(text(&mut raw).await, "40");
    raw.send_text("40/new").await;
    assert_eq!(text(&mut raw).await, r#"44/new,"Unsupported protocol version""#);
    raw.send_text("40/old").await;
    assert_eq!(text(&mut raw).await, "40/old,");
    drop(Browser::connect(&server, "/new", Transport::WebSocket).await);
    let server = TestServer::start("/new: {allow_eio3: false}").await;
    let response = server.get(POLLING).await;
    assert_eq!((response.status, response.text()), (400, error(5, "Unsupported protocol version")));
}

#[tokio::test]
async fn polling_follows_the_origin_policy_with_credentials() {
    let server = TestServer::start("origins: [\"https://page.example\"]\n/nodevent: {}").await;
    let from = |origin: &str| Request::get(POLLING).header("Origin", origin);
    let response = server.send(&from("https://page.example")).await;
    assert_eq!(response.header("access-control-allow-origin"), Some("https://page.example"));
    assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(server.send(&from("https://other.example")).await.status, 403);
}
