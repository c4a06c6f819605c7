//! Whoever listens over plain HTTP (Server-Sent Events) recovers as a member does.

use crate::harness::{Node, Publishers, Redis, sites, traffic};
use crate::support::site::Site;
use crate::support::wait::in_time;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;

/// One answer of Server-Sent Events, read line by line. Each event comes in a chunk of its own, so that the chunks'
/// heads are lines too, which mean nothing.
struct Listener {
    lines: Lines<BufReader<TcpStream>>,
    /// The last `id`, as a browser remembers it.
    last: Option<String>,
}

// === impl Listener ===

impl Listener {
    async fn open(site: &Site, room: &str, last: Option<String>) -> Self {
        let mut link = TcpStream::connect(&site.address).await.expect("the server listens");
        let header = last.as_ref().map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
        let request = format!(
            "GET /api/nodevent/rooms/{room}/events HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{header}\r\n",
            site.address
        );
        link.write_all(request.as_bytes()).await.expect("the server reads");
        Self { lines: BufReader::new(link).lines(), last }
    }

    /// The next event: its name, if it has one, and its data. `None`: the answer has ended.
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

/// A listener hears the traffic of two servers; the one it is on is killed, and it goes on at the other with the last
/// id that it has seen. It hears every publication once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_server_is_killed_goes_on_at_another_without_a_gap() {
    let redis = Redis::start(&[]).await;
    let mut nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let mut listener = Listener::open(&nodes[0].site, "a", None).await;
    let (name, joined) = listener.next().await.expect("it is in");
    assert_eq!((name.as_deref(), &joined["recovered"]), (Some("joined"), &Value::Bool(true)), "{joined}");
    let publishers = Publishers::start(&sites(&nodes[1..]), "/nodevent", &["a"]);
    let (mut heard, mut comebacks) = (Vec::new(), 0);
    while heard.len() < 100 {
        if heard.len() == 30 && comebacks == 0 {
            nodes[0].kill().await;
            // What was on its way is read first; then the answer ends, and more is published meanwhile.
            while let Some((_, publication)) = listener.next().await {
                heard.push(publication["message"]["number"].as_u64().expect("a number"));
            }
            traffic(&publishers, 20).await;
            listener = Listener::open(&nodes[1].site, "a", listener.last).await;
            comebacks += 1;
        }
        let (name, data) = listener.next().await.expect("an event");
        match name.as_deref() {
            None => heard.push(data["message"]["number"].as_u64().expect("a number")),
            Some("joined") => assert_eq!(data["recovered"], true, "{data}"),
            Some(other) => panic!("an event that is not expected: {other} {data}"),
        }
    }
    assert_eq!((heard, comebacks), ((1..=100).collect(), 1));
    publishers.finish().await;
    drop(listener);
    let gone = async || nodes[1].metric("nodevent_connections").await == 0;
    crate::support::wait::until("the server has forgotten it", gone).await;
}
