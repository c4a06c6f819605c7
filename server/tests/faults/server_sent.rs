//! Server-Sent Events recover as WebSocket members do.

use crate::harness::{Node, Publishers, Redis, sites, traffic};
use crate::support::site::Site;
use crate::support::wait::in_time;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;

/// A response of Server-Sent Events, read line by line. Each event arrives in its own HTTP chunk, so chunk sizes are
/// lines too, and are ignored.
struct EventStream {
    lines: Lines<BufReader<TcpStream>>,
    /// The last `id`, which a browser sends back as `Last-Event-ID`.
    last: Option<String>,
}

// === impl EventStream ===

impl EventStream {
    async fn open(site: &Site, room: &str, last: Option<String>) -> Self {
        let mut link = TcpStream::connect(&site.address).await.expect("the server listens");
        let header = last.as_ref().map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
        let request = format!(
            "GET /api/nodevent/rooms/{room}/events HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{header}\r\n",
            site.address
        );
        link.write_all(request.as_bytes()).await.expect("the server accepts it");
        Self { lines: BufReader::new(link).lines(), last }
    }

    /// Returns the name (if any) and the data of the next event, or `None` if the response ended.
    async fn next(&mut self) -> Option<(Option<String>, Value)> {
        let mut name = None;
        loop {
            let line = in_time("a line", self.lines.next_line()).await.ok().flatten()?;
            match line.split_once(": ") {
                Some(("id", id)) => self.last = Some(id.to_owned()),
                Some(("event", event)) => name = Some(event.to_owned()),
                Some(("data", data)) => return Some((name, serde_json::from_str(data).expect("JSON"))),
                _ => {}
            }
        }
    }
}

/// A client reads the event stream of one of two servers. When that server is killed, the client continues at the other
/// one with the last id that it received. It receives every publication, in order and without a duplicate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_stream_of_a_killed_server_resumes_at_another_without_a_gap() {
    let redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let mut stream = EventStream::open(&nodes[0].site, "a", None).await;
    let (name, joined) = stream.next().await.expect("a first event");
    assert_eq!((name.as_deref(), &joined["recovered"]), (Some("joined"), &Value::Bool(true)), "{joined}");
    let publishers = Publishers::start(&sites(&nodes[1..]), "/nodevent", &["a"]);
    let (mut received, mut reconnects) = (Vec::new(), 0);
    while received.len() < 100 {
        if received.len() == 30 && reconnects == 0 {
            nodes[0].kill().await;
            // The client first reads what is in flight; then the response ends, and more is published meanwhile.
            while let Some((_, publication)) = stream.next().await {
                received.push(publication["message"]["number"].as_u64().expect("a number"));
            }
            traffic(&publishers, 20).await;
            stream = EventStream::open(&nodes[1].site, "a", stream.last).await;
            reconnects += 1;
        }
        let (name, data) = stream.next().await.expect("an event");
        match name.as_deref() {
            None => received.push(data["message"]["number"].as_u64().expect("a number")),
            Some("joined") => assert_eq!(data["recovered"], true, "{data}"),
            Some(other) => panic!("an unexpected event: {other} {data}"),
        }
    }
    assert_eq!((received, reconnects), ((1..=100).collect(), 1));
    publishers.finish().await;
    drop(stream);
    let closed = async || nodes[1].metric("nodevent_connections").await == 0;
    crate::support::wait::until("the server has closed the stream", closed).await;
}
