//! Page views that never connect leave nothing behind, in the server and in Redis.

use crate::process::Process;
use crate::support::http::Io;
use crate::support::page::{PAGES_SECRET, Visitor};
use crate::support::wait::{in_time, until};
use crate::support::{RedisServer, Request, Site, is_full_run};
use serde_json::json;
use std::ops::Range;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

/// Connections of the application.
const CONNECTIONS: usize = 8;
/// Requests that it sends before it reads responses.
const AT_A_TIME: usize = 50;

fn change(site: &Site, number: usize, name: &str, channels: &[&str]) -> Vec<u8> {
    let mut body = json!({"page": Visitor::of('a', number).digest()});
    body[name] = json!(channels);
    Request::post("/api/live/pages", body.to_string()).encode(&site.address)
}

/// Reads so many responses of a connection, which are all JSON.
async fn responses(stream: &mut impl Io, count: usize) -> Vec<serde_json::Value> {
    let (mut bytes, mut bodies) = (Vec::new(), Vec::new());
    while bodies.len() < count {
        let read = in_time("responses", stream.read_buf(&mut bytes)).await.expect("a connection");
        assert!(read > 0, "the connection ended");
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            let all = end + 4 + length.parse::<usize>().expect("a length");
            if bytes.len() < all {
                break;
            }
            let body = String::from_utf8_lossy(&bytes[end + 4..all]).into_owned();
            assert!(head.starts_with("http/1.1 200"), "{head}: {body}");
            bodies.push(serde_json::from_str(&body).expect("JSON"));
            bytes.drain(..all);
        }
    }
    bodies
}

/// Subscribes pages, as an application does that renders them.
async fn view(site: &Site, pages: Range<usize>) {
    let mut connections = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let site = site.clone();
        let own: Vec<usize> = pages.clone().filter(|number| number % CONNECTIONS == connection).collect();
        connections.spawn(async move {
            let mut stream = site.dial().await;
            for numbers in own.chunks(AT_A_TIME) {
                let subscribe =
                    |number: &usize| change(&site, *number, "subscribe", &["all", &format!("page-{number}")]);
                let requests: Vec<u8> = numbers.iter().flat_map(subscribe).collect();
                in_time("requests", stream.write_all(&requests)).await.expect("a connection");
                let subscribed = responses(&mut stream, numbers.len()).await;
                assert!(subscribed.iter().all(|body| body["channels"] == 2), "{subscribed:?}");
            }
        });
    }
    while let Some(connection) = connections.join_next().await {
        connection.expect("it does not panic");
    }
}

/// Waits until a page is forgotten. A change that only unsubscribes does not prolong its time.
async fn is_forgotten(site: &Site, number: usize) {
    until("the page is forgotten", async || {
        let mut stream = site.dial().await;
        let request = change(site, number, "unsubscribe", &["none"]);
        in_time("a request", stream.write_all(&request)).await.expect("a connection");
        responses(&mut stream, 1).await[0]["channels"] == 0
    })
    .await;
}

/// 100,000 page views in the full run, on each engine.
#[tokio::test]
async fn page_views_that_never_connect_leave_nothing_behind() {
    // P-30
    let (rounds, views) = if is_full_run() { (10, 10_000) } else { (3, 1_000) };
    let redis = RedisServer::start().await;
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        // There are never places for two rounds.
        let pages = format!("pages: {{secret: {PAGES_SECRET}, initial: 2s, max_pages: {views}}}");
        let process = Process::start(&format!("/live: {{protocol: pakyow, {pages}{engine}}}")).await;
        process.is_ready().await;
        let before = redis.call(&["DBSIZE"]).await;
        let mut resident = Vec::new();
        for round in 0..rounds {
            let last = (round + 1) * views - 1;
            view(&process.site, round * views..last).await;
            // The page that was subscribed last is forgotten last.
            view(&process.site, last..last + 1).await;
            is_forgotten(&process.site, last).await;
            until("nothing is left in Redis", async || redis.call(&["DBSIZE"]).await == before).await;
            resident.push(process.resident());
        }
        println!("resident after each round: {resident:?}");
        // Its memory goes up and down with what the allocator keeps. What pages leave behind would grow with each round.
        let third = rounds / 3;
        let (first, last) = (resident[..third].iter().max(), resident[rounds - third..].iter().min());
        assert!(last.unwrap() - first.unwrap().min(last.unwrap()) < 2 << 20, "{resident:?}");
    }
}
