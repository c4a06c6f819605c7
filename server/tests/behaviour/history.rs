//! The history of a room over HTTP and through a join: exactly the missed publications, or `recovered: false`.

use crate::support::http::Io;
use crate::support::wait::in_time;
use crate::support::{Browser, RedisServer, Request, TestServer, Transport};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Starts a server for each engine, with a namespace that keeps five publications per room and one without history.
async fn servers() -> (RedisServer, Vec<TestServer>) {
    let redis = RedisServer::start().await;
    let mut servers = Vec::new();
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let written = format!("/nodevent: {{history: {{size: 5}}{engine}}}\n/off: {{history: off}}\n");
        let server = TestServer::start(&written).await;
        server.ready().await;
        servers.push(server);
    }
    (redis, servers)
}

async fn history(server: &TestServer, query: &str) -> Value {
    let response = server.get(&format!("/api/nodevent/rooms/r/history{query}")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

fn messages(history: &Value) -> Vec<&Value> {
    history["publications"].as_array().unwrap().iter().map(|publication| &publication["message"]).collect()
}

/// Opens a stream of Server-Sent Events, and reads until the `joined` event.
pub(crate) async fn open_stream(server: &TestServer, request: Request) -> (Box<dyn Io>, String) {
    let mut stream = server.dial().await;
    stream.write_all(&request.encode(&server.address)).await.unwrap();
    let mut bytes = Vec::new();
    in_time("the first event", async {
        while !String::from_utf8_lossy(&bytes).split("event: joined").nth(1).is_some_and(|end| end.contains("\n\n"))
        {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the stream has ended");
        }
    })
    .await;
    (stream, String::from_utf8(bytes).unwrap())
}

#[tokio::test]
async fn history_returns_the_publications_after_a_position() {
    let (_redis, servers) = servers().await;
    for server in servers {
        assert_eq!(messages(&history(&server, "").await), Vec::<&Value>::new());
        for message in 1..=3 {
            server.emit("/nodevent", "r", "e", message).await;
        }
        let all = history(&server, "").await;
        assert_eq!((messages(&all), &all["recovered"]), (vec![&json!(1), &json!(2), &json!(3)], &json!(true)));
        let position = |index: usize| all["publications"][index]["position"].as_str().unwrap().to_owned();
        assert_eq!(all["position"], position(2));
        let later = history(&server, &format!("?since={}", position(0))).await;
        assert_eq!((messages(&later), &later["recovered"]), (vec![&json!(2), &json!(3)], &json!(true)));
        let none = history(&server, &format!("?since={}", position(2))).await;
        assert_eq!((messages(&none), &none["recovered"]), (vec![], &json!(true)), "nothing was missed");
        for message in 4..=9 {
            server.emit("/nodevent", "r", "e", message).await;
        }
        for since in [position(0), "nonsense".to_owned(), position(2).replace(':', "f:")] {
            let gone = history(&server, &format!("?since={since}")).await;
            assert_eq!(
                (messages(&gone), &gone["recovered"]),
                (vec![], &json!(false)),
                "{since} is not in the history"
            );
        }
        let kept = history(&server, "").await;
        assert_eq!(messages(&kept).len(), 5, "the last five");
        let off = server.get("/api/off/rooms/r/history").await;
        assert_eq!(off.status, 404);
        assert_eq!(off.json()["error"], "this room has no history");
        assert!(off.json()["hint"].as_str().unwrap().contains("history:"));
    }
}

#[tokio::test]
async fn event_stream_begins_with_the_missed_publications_or_a_gap() {
    let (_redis, servers) = servers().await;
    for server in servers {
        for message in 1..=3 {
            server.emit("/nodevent", "r", "e", message).await;
        }
        let first = history(&server, "").await["publications"][0]["position"].as_str().unwrap().to_owned();
        let path = "/api/nodevent/rooms/r/events";
        for request in
            [Request::get(path).header("Last-Event-ID", &first), Request::get(&format!("{path}?since={first}"))]
        {
            let (_stream, text) = open_stream(&server, request).await;
            let received: Vec<&str> = text.lines().filter(|line| line.contains("\"message\":")).collect();
            assert_eq!(received.len(), 2, "{text}");
            assert!(received[0].contains("\"message\":2") && received[1].contains("\"message\":3"), "{text}");
            assert!(text.contains("\"recovered\":true"), "{text}");
        }
        for message in 4..=9 {
            server.emit("/nodevent", "r", "e", message).await;
        }
        let (mut stream, text) = open_stream(&server, Request::get(path).header("Last-Event-ID", &first)).await;
        assert!(text.contains("\"recovered\":false") && !text.contains("\"message\":"), "{text}");
        server.emit("/nodevent", "r", "e", "live").await;
        let mut bytes = Vec::new();
        in_time("the live publication", async {
            while !String::from_utf8_lossy(&bytes).contains("\"message\":\"live\"") {
                assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the stream has ended");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn recovery_that_exceeds_the_send_buffer_is_not_sent_in_part() {
    let server = TestServer::start("limits: {send_buffer: 10KB}\n/nodevent: {history: {size: 100}}\n").await;
    for message in 0..50 {
        server.emit("/nodevent", "r", "e", json!([message, "x".repeat(1000)])).await;
    }
    let all = history(&server, "").await;
    let position = |index: usize| all["publications"][index]["position"].clone();
    for (failed, transport) in (1..).zip(Transport::BOTH) {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        let ack = browser.call("join", &[json!({"room": "r", "since": position(0)})]).await;
        assert_eq!((&ack[0], &ack[1], &ack[2]["recovered"]), (&json!(null), &json!(true), &json!(false)));
        assert_eq!(ack[2]["position"], history(&server, "").await["position"], "the position to continue from");
        server.emit("/nodevent", "r", "e", "live").await;
        assert_eq!(browser.next_event().await.message, "live", "nothing comes before it");
        let mut near = Browser::connect(&server, "/nodevent", transport).await;
        let ack = near.call("join", &[json!({"room": "r", "since": position(47)})]).await;
        assert_eq!(ack[2]["recovered"], true, "a recovery within the limit is replayed");
        assert_eq!(near.next_event().await.message[0], 48);
        assert_eq!(server.metric("nodevent_failed_recoveries_total").await, failed);
        assert_eq!(server.metric("nodevent_gaps_total").await, 0, "no member was connected");
    }
}
