//! permessage-deflate (RFC 7692): publications are compressed once, for those that accept it. `server/tests/rfc6455/deflate.rs`
//! has what clients may send.

use crate::support::raw::{DEFLATED, End, Raw, TEXT, frame};
use crate::support::{Request, Site, TestServer};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};

const OFFER: &str = "permessage-deflate; client_max_window_bits";
const ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Without pings during a test.
const SETTINGS: &str = "deflate: true\ndeflate_min_size: 200\nping: {interval: 1h}\n";

/// A client that offers compression, or does not.
struct Client(Raw);

fn upgrade(path: &str) -> Request {
    Request::get(path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

fn deflate(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1000);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    out.strip_suffix(&TAIL).unwrap().to_vec()
}

/// Inflates a message that refers to no earlier one.
fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    let mut decompress = Decompress::new(false);
    decompress.decompress_vec(&[payload, &TAIL].concat(), &mut out, FlushDecompress::Sync).unwrap();
    out
}

// === impl Client ===

impl Client {
    async fn open(site: &Site, path: &str) -> Self {
        let request = upgrade(path).header("Sec-WebSocket-Extensions", OFFER);
        let (response, raw) = Raw::respond(site, &request).await;
        assert_eq!(response.header("sec-websocket-extensions"), Some(ACCEPTED));
        Self(raw)
    }

    async fn open_plain(site: &Site, path: &str) -> Self {
        Self(Raw::respond(site, &upgrade(path)).await.1)
    }

    /// The next message, and whether it was compressed.
    async fn next(&mut self) -> (bool, String) {
        let (is_deflated, frame) = self.0.deflated_frame().await;
        assert_eq!(frame.opcode, TEXT);
        let bytes = if is_deflated { inflate(&frame.payload) } else { frame.payload };
        (is_deflated, String::from_utf8(bytes).unwrap())
    }

    /// Sends a line of `plain`, and returns the reply, which is for this connection alone.
    async fn call(&mut self, line: Value) -> Value {
        self.0.send_text(&line.to_string()).await;
        let (is_deflated, reply) = self.next().await;
        assert!(!is_deflated, "{reply}");
        serde_json::from_str(&reply).unwrap()
    }

    /// Reads the first line of `plain`, and joins a room.
    async fn join(&mut self, room: &str) -> Value {
        self.next().await;
        self.call(json!({"join": room})).await
    }

    async fn send_deflated(&mut self, message: &str) {
        self.0.send(frame(0x80 | DEFLATED | TEXT, &deflate(message.as_bytes()))).await;
    }
}

/// A message that compresses well.
fn long(number: u64) -> Value {
    json!([number, "news of the day, ".repeat(200)])
}

/// Large batches for many members are sent from shared pages, and what a socket does not accept follows from its send buffer.
#[tokio::test]
async fn members_that_do_not_read_receive_large_batches_completely_and_in_order() {
    let server =
        TestServer::start("shards: 1\nlimits: {send_buffer: 8MB}\nping: {interval: 1h}\n/n: {protocol: plain}\n")
            .await;
    let mut members = Vec::new();
    for _ in 0..10 {
        let mut member = Client::open_plain(&server, "/ws/n").await;
        member.join("r").await;
        members.push(member);
    }
    let message = |number: u64| json!([number, "x".repeat(60_000)]);
    for number in 1..=40 {
        server.emit("/n", "r", "e", message(number)).await;
    }
    for member in &mut members {
        for number in 1..=40 {
            let publication: Value = serde_json::from_str(&member.next().await.1).unwrap();
            assert_eq!(publication["message"], message(number));
        }
    }
}

#[tokio::test]
async fn a_publication_is_compressed_once_for_all_members_that_accept_it() {
    let server = TestServer::start(&format!("shards: 2\n{SETTINGS}/n: {{protocol: plain}}\n")).await;
    let mut members = Vec::new();
    for _ in 0..5 {
        let mut member = Client::open(&server, "/ws/n").await;
        member.join("r").await;
        members.push(member);
    }
    let mut other = Client::open_plain(&server, "/ws/n").await;
    other.join("r").await;
    let (mut input, mut positions) = (0, Vec::new());
    for number in 1..=3 {
        server.emit("/n", "r", "e", long(number)).await;
        let (is_deflated, expected) = other.next().await;
        assert!(!is_deflated, "it has not offered it");
        for member in &mut members {
            assert_eq!(member.next().await, (true, expected.clone()));
        }
        input += expected.len() as i64;
        let publication: Value = serde_json::from_str(&expected).unwrap();
        positions.push(publication["position"].clone());
        assert_eq!(server.metric("nodevent_deflate_input_bytes_total").await, input, "once, whatever the members");
    }
    let output = server.metric("nodevent_deflate_output_bytes_total").await;
    assert!((1..input / 10).contains(&output), "{output} of {input}");

    server.emit("/n", "r", "e", "short").await;
    let (_, short) = other.next().await;
    for member in &mut members {
        assert_eq!(member.next().await, (false, short.clone()), "below the minimum size");
    }
    // What was missed has been compressed already.
    let mut late = Client::open(&server, "/ws/n").await;
    late.next().await;
    late.0.send_text(&json!({"join": "r", "since": positions[0]}).to_string()).await;
    for number in 2..=3 {
        let (is_deflated, text) = late.next().await;
        let publication: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((is_deflated, &publication["message"]), (true, &long(number)));
    }
    assert_eq!(late.next().await, (false, short));
    let (_, joined) = late.next().await;
    assert!(joined.contains("\"recovered\":true"), "{joined}");
    assert_eq!(server.metric("nodevent_deflate_input_bytes_total").await, input);

    // It leaves, and joins again.
    assert_eq!(late.call(json!({"leave": "r"})).await["left"], "r");
    assert_eq!(late.call(json!({"join": "r"})).await["joined"], "r");
    assert_eq!(late.call(json!({"join": "r"})).await["joined"], "r", "once");
    server.emit("/n", "r", "e", long(4)).await;
    assert!(late.next().await.0);
    assert_eq!(late.call(json!({"ping": 1})).await, json!({"pong": 1}), "and once only");
}

#[tokio::test]
async fn several_publications_at_once_are_compressed_one_by_one() {
    let server = TestServer::start(&format!("{SETTINGS}/n: {{protocol: plain}}\n")).await;
    let mut member = Client::open(&server, "/ws/n").await;
    member.join("a").await;
    assert_eq!(member.call(json!({"join": "b"})).await["joined"], "b");
    let one = |room: &str, message: Value| json!({"room": room, "event": "e", "message": message});
    let all = json!([one("a", long(1)), one("b", json!(2)), one("a", long(3)), one("b", long(4))]);
    let response = server.publish("/n", all.to_string()).await;
    assert_eq!(response.json()["accepted"], 4, "{}", response.text());
    for (number, message) in [long(1), json!(2), long(3), long(4)].into_iter().enumerate() {
        let (is_deflated, text) = member.next().await;
        let publication: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((is_deflated, &publication["message"]), (number != 1, &message), "in order");
    }
}

#[tokio::test]
async fn what_is_published_to_all_connections_and_to_users_is_compressed() {
    let server = TestServer::start(&format!("{SETTINGS}/n: {{protocol: plain}}\n")).await;
    let mut member = Client::open(&server, "/ws/n").await;
    member.next().await;
    let mut other = Client::open_plain(&server, "/ws/n").await;
    other.next().await;
    server.publish("/n", json!({"broadcast": true, "event": "e", "message": long(1)}).to_string()).await;
    let (is_deflated, expected) = other.next().await;
    assert!(!is_deflated && expected.contains("news of the day"));
    assert_eq!(member.next().await, (true, expected));
}

#[tokio::test]
async fn rooms_that_were_joined_with_long_polling_are_compressed_after_the_upgrade() {
    let server = TestServer::start(&format!("{SETTINGS}/n: {{}}\n")).await;
    let open = server.get("/socket.io/?EIO=4&transport=polling").await.text();
    let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    let session = format!("&sid={}", open["sid"].as_str().unwrap());
    let polling = format!("/socket.io/?EIO=4&transport=polling{session}");
    for packet in ["40/n,", r#"42/n,1["join",{"room":"r"}]"#] {
        assert_eq!(server.send(&Request::post(&polling, packet)).await.text(), "ok");
        let reply = server.get(&polling).await.text();
        assert!(reply.starts_with("40/n,") || reply.starts_with("43/n,1["), "{reply}");
    }
    let mut client = Client::open(&server, &format!("/socket.io/?EIO=4&transport=websocket{session}")).await;
    client.0.send_text("2probe").await;
    assert_eq!(client.next().await, (false, "3probe".to_owned()));
    client.0.send_text("5").await;
    client.send_deflated(r#"42/n,2["join",{"room":"other"}]"#).await;
    let (is_deflated, reply) = client.next().await;
    assert!(!is_deflated && reply.starts_with("43/n,2["), "{reply}");
    for room in ["r", "other"] {
        server.emit("/n", room, "e", long(1)).await;
        let (is_deflated, text) = client.next().await;
        assert!(is_deflated && text.starts_with("42/n,[") && text.contains("news of the day"), "{room}: {text}");
    }
    client.0.send_text(r#"42/n,3["leave",{"room":"r"}]"#).await;
    let (_, left) = client.next().await;
    assert!(left.starts_with("43/n,3["), "{left}");
    server.emit("/n", "r", "e", long(2)).await;
    server.emit("/n", "other", "e", long(3)).await;
    let (_, text) = client.next().await;
    assert!(text.contains("\"room\":\"other\""), "it has left: {text}");
}

#[tokio::test]
async fn every_protocol_accepts_the_extension_if_it_is_on() {
    let namespaces = "/n: {}\n/plain: {protocol: plain}\n/cable: {protocol: action_cable, action_cable: {secret_key_base: \
                      a-secret-of-more-than-sixteen}}\n/live: {protocol: pakyow, pages: {secret: a-secret-of-more-than-sixteen}}\n";
    for (settings, expected) in [(SETTINGS, Some(ACCEPTED)), ("", None), ("deflate: false\n", None)] {
        let server = TestServer::start(&format!("{settings}{namespaces}")).await;
        for path in [
            "/socket.io/?EIO=4&transport=websocket",
            "/socket.io/?EIO=3&transport=websocket",
            "/ws/plain",
            "/cable",
        ] {
            let request =
                upgrade(path).header("Sec-WebSocket-Extensions", OFFER).header("Origin", &origin(&server));
            let (response, _raw) = Raw::respond(&server, &request).await;
            assert_eq!(response.header("sec-websocket-extensions"), expected, "{path}");
        }
    }
}

fn origin(server: &TestServer) -> String {
    format!("http://{}", server.address)
}

#[tokio::test]
async fn a_compressed_message_counts_as_what_it_inflates_to() {
    let limits = "limits: {bytes_per_second: 1KB, max_message_size: 64KB}\n";
    let server = TestServer::start(&format!("{SETTINGS}{limits}/n: {{protocol: plain}}\n")).await;
    let mut client = Client::open(&server, "/ws/n").await;
    client.join("r").await;
    client.send_deflated(&json!({"ping": 1}).to_string()).await;
    assert_eq!(client.next().await, (false, json!({"pong": 1}).to_string()));
    // 60 KB each, in a few hundred bytes: more than may be sent at once.
    let message = json!({"ping": "x".repeat(60_000)}).to_string();
    let sent = deflate(message.as_bytes());
    assert!(sent.len() < 500, "{}", sent.len());
    for _ in 0..20 {
        client.0.send(frame(0x80 | DEFLATED | TEXT, &sent)).await;
    }
    assert_eq!(client.0.ended().await, End::Closed(Some(1008), "too many bytes".to_owned()));
    server.metric_is("nodevent_disconnects_total{reason=\"byte_rate\"}", 1).await;
    let (input, output) = (
        server.metric("nodevent_inflate_input_bytes_total").await,
        server.metric("nodevent_inflate_output_bytes_total").await,
    );
    assert!(input < 20 * 500 && output > 60_000, "{input} {output}");
    assert!(output < 4 * 61_000, "it was closed before more was inflated: {output}");
}

/// A text after blocks without content, each with a code of its own: twelve bytes, which take as long to read as a text of a
/// thousand.
fn after_empty_blocks(count: usize, text: &str) -> Vec<u8> {
    let mut bits = Vec::new();
    let mut put = |value: u32, count: u32| bits.extend((0..count).map(|bit| value >> bit & 1 == 1));
    for _ in 0..count {
        // Not the last one, with codes of its own: for 257 symbols, one distance, and 18 lengths.
        put(0b100, 3);
        put(0, 10);
        put(14, 4);
        // The code of lengths, in the order of RFC 1951, has the symbols 18 (a run of zeros) and 1.
        for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1] {
            put(u32::from(symbol == 18 || symbol == 1), 3);
        }
        // 256 zeros, and a length of 1 for the end of the block and for the distance.
        for zeros in [138, 118] {
            put(1, 1);
            put(zeros - 11, 7);
        }
        put(0, 2);
        // The end of the block.
        put(0, 1);
    }
    // A block without compression begins at a byte.
    put(0, 3);
    let mut bytes: Vec<u8> =
        bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect();
    let length = text.len() as u16;
    bytes.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
    bytes.extend(text.as_bytes());
    // The beginning of the block whose length the server adds.
    bytes.push(0);
    bytes
}

#[tokio::test]
async fn blocks_that_take_long_to_inflate_count_as_bytes() {
    let server = TestServer::start(&format!("{SETTINGS}/n: {{protocol: plain}}\n")).await;
    let mut client = Client::open(&server, "/ws/n").await;
    client.join("r").await;
    let sent = after_empty_blocks(60, &json!({"ping": 1}).to_string());
    assert!(sent.len() < 800, "{}", sent.len());
    client.0.send(frame(0x80 | DEFLATED | TEXT, &sent)).await;
    assert_eq!(client.next().await, (false, json!({"pong": 1}).to_string()), "it is a message");
    // Together less than a second's bytes, and much less than may be sent at once.
    for _ in 0..100 {
        client.0.send(frame(0x80 | DEFLATED | TEXT, &sent)).await;
    }
    assert_eq!(client.0.ended().await, End::Closed(Some(1008), "too many bytes".to_owned()));
    server.metric_is("nodevent_disconnects_total{reason=\"byte_rate\"}", 1).await;
}
