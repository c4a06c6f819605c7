//! Publications with `except`: every member receives them but the page that they exclude, live and in a recovery.

use crate::support::{Browser, RedisServer, Request, Site, TestServer, Transport};
use nodevent_protocol::page::PageHash;
use serde_json::{Value, json};

const NAMESPACE: &str = "/nodevent";

/// Starts a server for each engine.
async fn servers() -> (RedisServer, Vec<TestServer>) {
    let redis = RedisServer::start().await;
    let mut servers = Vec::new();
    for engine in ["{}".to_owned(), format!("{{redis: \"{}\"}}", redis.url())] {
        let server = TestServer::start(&format!("{NAMESPACE}: {engine}\n")).await;
        server.ready().await;
        servers.push(server);
    }
    (redis, servers)
}

/// Connects a page that sends its id as our client does.
async fn page(site: &Site, id: &str, transport: Transport) -> Browser {
    let mut browser = Browser::open(site, transport).await;
    browser.enter_with(NAMESPACE, &json!({"pageId": id}).to_string()).await.unwrap();
    browser
}

fn publication(room: &str, message: impl Into<Value>, except: Option<&str>) -> Value {
    let mut publication = json!({"room": room, "event": "e", "message": message.into()});
    if let Some(id) = except {
        publication["except"] = json!(PageHash::of(id).unwrap().to_string());
    }
    publication
}

async fn publish(site: &Site, publications: impl Into<Value>) {
    let response = site.publish(NAMESPACE, publications.into().to_string()).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

async fn messages(browser: &mut Browser, count: usize) -> Vec<Value> {
    let mut messages = Vec::new();
    for _ in 0..count {
        messages.push(browser.next_event().await.message);
    }
    messages
}

#[tokio::test]
async fn excluded_page_receives_everything_else_in_order() {
    let (_redis, servers) = servers().await;
    for (server, transport) in servers.iter().flat_map(|server| Transport::BOTH.map(|one| (server, one))) {
        let room = format!("r-{transport:?}");
        let mut author = page(server, "author", transport).await;
        let mut other = page(server, "other", transport).await;
        let mut unnamed = Browser::connect(server, NAMESPACE, transport).await;
        for browser in [&mut author, &mut other, &mut unnamed] {
            browser.join(&room).await;
        }
        // In another room too, so that the author's share of both is merged.
        author.join("second").await;
        let burst: Vec<Value> = (0..40).map(|n| publication(&room, n, (n % 2 == 1).then_some("author"))).collect();
        publish(server, burst).await;
        let all: Vec<Value> = (0..40).map(Value::from).collect();
        let even: Vec<Value> = (0..20).map(|n| Value::from(2 * n)).collect();
        assert_eq!(messages(&mut other, 40).await, all);
        assert_eq!(messages(&mut unnamed, 40).await, all);
        assert_eq!(messages(&mut author, 20).await, even);
        // It is notified of the positions that it does not receive, so that it sees no gap.
        for _ in 0..20 {
            let skipped = author.next_notice().await;
            assert_eq!((&skipped[0], &skipped[1]["room"]), (&json!("skipped"), &json!(room)), "{skipped}");
        }
        publish(server, publication(&room, "alone", Some("author"))).await;
        assert_eq!(other.next_event().await.message, "alone");
        for browser in [&mut author, &mut other] {
            browser.receives_nothing_else(server).await;
        }
    }
}

#[tokio::test]
async fn excluded_page_does_not_recover_it_either() {
    let (_redis, servers) = servers().await;
    for (server, transport) in servers.iter().flat_map(|server| Transport::BOTH.map(|one| (server, one))) {
        let room = format!("r-{transport:?}");
        publish(server, publication(&room, 0, None)).await;
        let history = server.get(&format!("/api{NAMESPACE}/rooms/{room}/history")).await.json();
        let since = history["position"].as_str().unwrap().to_owned();
        let later: Vec<Value> =
            (1..6).map(|n| publication(&room, n, (n == 2 || n == 5).then_some("author"))).collect();
        publish(server, later).await;
        for (id, expected) in [("author", json!([1, 3, 4])), ("other", json!([1, 2, 3, 4, 5]))] {
            let mut browser = page(server, id, transport).await;
            let ack = browser.call("join", &[json!({"room": room, "since": since})]).await;
            assert_eq!(ack[2]["recovered"], true, "{ack}");
            let end = ack[2]["position"].as_str().unwrap().to_owned();
            let received = messages(&mut browser, expected.as_array().unwrap().len()).await;
            assert_eq!(Value::from(received), expected, "{id}");
            assert!(end.ends_with(":6"), "the position covers what was excluded: {end}");
            browser.receives_nothing_else(server).await;
        }
    }
}

#[tokio::test]
async fn other_protocols_name_the_page_in_the_query() {
    let (_redis, servers) = servers().await;
    for server in &servers {
        publish(server, publication("r", 1, None)).await;
        let history = server.get(&format!("/api{NAMESPACE}/rooms/r/history")).await.json();
        let first = history["position"].as_str().unwrap();
        publish(server, json!([publication("r", 2, Some("author")), publication("r", 3, None)])).await;
        for (id, expected) in [("author", vec!["3"]), ("other", vec!["2", "3"])] {
            let path = format!("/api{NAMESPACE}/rooms/r/events?since={first}&page={id}");
            let (_stream, text) = super::history::open_stream(server, Request::get(&path)).await;
            let received: Vec<&str> =
                text.split("\"message\":").skip(1).map(|rest| rest.split([',', '}']).next().unwrap()).collect();
            assert_eq!(received, expected, "{id}: {text}");
        }
    }
}

#[tokio::test]
async fn hash_of_no_page_is_rejected_and_never_excludes_anyone() {
    let (_redis, servers) = servers().await;
    for server in &servers {
        for except in [json!("author"), json!(1), json!([]), json!("BA7816BF8F01CFEA"), json!("")] {
            let mut publication = publication("r", 1, None);
            publication["except"] = except;
            let response = server.publish(NAMESPACE, publication.to_string()).await;
            assert_eq!(response.status, 400, "{publication}");
            assert!(response.text().contains("hash of a page id"), "{}", response.text());
        }
        // A page without a valid id is no page, not that of the empty hash.
        for auth in ["{}", r#"{"pageId":7}"#, r#"{"pageId":""}"#, r#"{"pageId":"a b"}"#] {
            let mut browser = Browser::open(server, Transport::WebSocket).await;
            browser.enter_with(NAMESPACE, auth).await.unwrap();
            browser.join("r").await;
            publish(server, publication("r", auth, Some("author"))).await;
            assert_eq!(browser.next_event().await.message, auth);
        }
    }
}
