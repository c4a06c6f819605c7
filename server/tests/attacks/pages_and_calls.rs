//! Attacks with pages and calls: floods of subscriptions, of pushes with patterns, and of calls to a slow application.
//!
//! The first two come from a program that may publish, such as an application of which visitors make very many requests.

use crate::attacker::{self, PollingClient, enter, open_from};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::application::{Application, Behaviour};
use crate::support::page::{PAGES_SECRET, Visitor};
use crate::support::raw::Raw;
use crate::support::{RedisServer, Request};
use futures_util::future::join_all;
use serde_json::json;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;

const NS: &str = "/live";
/// Connections of a flood. Each sends a request as soon as it has the response to the last one.
const CONNECTIONS: usize = 4;
/// Responses without which a flood is none. A push takes long itself.
const MIN_CHANGES: usize = 50;
const MIN_PUSHES: usize = 8;
/// Pages that have a place.
const PAGES: usize = 300;
/// Channels that one request subscribes.
const CHANNELS: usize = 30;
/// Pages and their channels, of which a pattern matches all.
const PUSHED: (usize, usize) = (10, 90);
/// Connections of one page, and its channels.
const CONNECTED: (usize, usize) = (2_000, 95);
/// Patterns of one request, as many as it may have.
const PATTERNS: usize = 8;
/// Connections that call, each with as many calls at a time as one may have.
const CALLERS: usize = 100;
const CALLS: usize = 8;
/// How long the application needs for a call.
const SLOW: Duration = Duration::from_millis(300);
const VICTIM: [u8; 4] = [127, 0, 0, 3];

/// A server on the memory engine or on Redis.
async fn start(redis: Option<&RedisServer>) -> Process {
    let engine = redis.map(|redis| format!(", redis: \"{}\"", redis.url())).unwrap_or_default();
    let pages = format!("protocol: pakyow, pages: {{secret: {PAGES_SECRET}, max_pages: {PAGES}}}");
    let configuration = format!("/nodevent: {{open: true{engine}}}\n{NS}: {{{pages}{engine}}}\n");
    let process = Process::start(&configuration).await;
    process.is_ready().await;
    process
}

/// Floods the server with the requests of these numbers. Returns how many responses there were of each status.
async fn flood(process: &Process, request: impl Fn(usize) -> Request) -> BTreeMap<u16, usize> {
    let (next, statuses) = (Cell::new(0), std::cell::RefCell::new(BTreeMap::new()));
    let senders = (0..CONNECTIONS).map(async |_| {
        let mut client = PollingClient::connect(&process.site).await;
        attacker::repeat(async || {
            let number = next.replace(next.get() + 1);
            let response = client.send(&request(number)).await.expect("the server keeps the connection");
            *statuses.borrow_mut().entry(response.status).or_insert(0) += 1;
        })
        .await;
    });
    join_all(senders).await;
    statuses.into_inner()
}

fn assert_flooded(statuses: &BTreeMap<u16, usize>, expected: &[u16], min: usize) {
    println!("responses: {statuses:?}");
    assert!(statuses.keys().all(|status| expected.contains(status)), "{statuses:?}");
    assert!(statuses.get(&200).is_some_and(|count| *count >= min), "not a flood: {statuses:?}");
}

#[test]
fn flood_of_subscriptions_of_pages_delays_no_other_client() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        for redis in [None, Some(&redis)] {
            let process = start(redis).await;
            assert_unnoticed(&process.site.address, async || {
                let names = |round: usize| (0..CHANNELS).map(|one| format!("{round}-{one}")).collect::<Vec<_>>();
                let statuses = flood(&process, |number| {
                    // Some pages have no place. The others change all their channels.
                    let (page, round) = (number % (PAGES + 30), number / (PAGES + 30));
                    let mut change = json!({"page": Visitor::of('a', page).digest(), "subscribe": names(round)});
                    if round > 0 {
                        change["unsubscribe"] = json!(names(round - 1));
                    }
                    Request::post("/api/live/pages", change.to_string())
                });
                assert_flooded(&statuses.await, &[200, 507], MIN_CHANGES);
            })
            .await;
        }
    });
}

#[test]
fn flood_of_pushes_with_patterns_delays_no_other_client() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        for redis in [None, Some(&redis)] {
            let process = start(redis).await;
            let mut pages = JoinSet::new();
            for number in 0..PUSHED.0 {
                let (visitor, site) = (Visitor::of('a', number), process.site.clone());
                let channels: Vec<String> = (0..PUSHED.1).map(|one| format!("{number}-{one:0>40}")).collect();
                let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
                visitor.subscribe(&site, NS, &channels).await;
                let mut page = visitor.connect(&site, NS).await;
                page.is_active(&site, NS, &visitor).await;
                pages.spawn(async move { while page.0.next().await.is_some() {} });
            }
            assert_unnoticed(&process.site.address, async || {
                let statuses = flood(&process, |number| {
                    // Patterns that match everything, or that take long and match nothing.
                    let channels = match number % 8 {
                        0 => vec!["*".to_owned()],
                        _ => (0..PATTERNS).map(|one| format!("*0*0*0*0*0*{one}x*")).collect(),
                    };
                    Request::post("/api/live/push", json!({"channels": channels, "message": number}).to_string())
                });
                assert_flooded(&statuses.await, &[200], MIN_PUSHES);
            })
            .await;
            pages.abort_all();
        }
    });
}

/// A visitor connects one page very often, and the application changes what the page is subscribed to, as it does when a
/// visitor acts.
#[test]
fn changes_of_a_page_with_very_many_connections_delay_no_other_client() {
    attacker::run(async {
        let pages = format!("protocol: pakyow, pages: {{secret: {PAGES_SECRET}}}");
        let process = Process::start(&format!("shards: 1\n/nodevent: {{open: true}}\n{NS}: {{{pages}}}\n")).await;
        let (site, visitor) = (&process.site, Visitor::of('a', 1));
        let channels: Vec<String> = (0..CONNECTED.1).map(|one| format!("{one:0>40}")).collect();
        visitor.subscribe(site, NS, &channels.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut open = Vec::new();
        for _ in 0..CONNECTED.0 {
            open.push(visitor.connect(site, NS).await);
        }
        process.metric_is("nodevent_connections", CONNECTED.0 as i64).await;
        let mut changes = 0;
        assert_unnoticed(&site.address, async || {
            attacker::repeat(async || {
                visitor.subscribe(site, NS, &["another"]).await;
                visitor.unsubscribe(site, NS, &["another"]).await;
                changes += 2;
                tokio::time::sleep(Duration::from_millis(50)).await;
            })
            .await;
        })
        .await;
        println!("{changes} changes");
    });
}

/// A program with a key for some rooms pushes with patterns that match nothing, while there are very many channels.
#[test]
fn patterns_and_very_many_channels_delay_no_other_client() {
    attacker::run(async {
        let pages = format!("protocol: pakyow, pages: {{secret: {PAGES_SECRET}}}");
        let process = Process::start(&format!("shards: 1\n/nodevent: {{open: true}}\n{NS}: {{{pages}}}\n")).await;
        let mut client = PollingClient::connect(&process.site).await;
        for page in 0..1_000 {
            let names: Vec<String> = (0..100).map(|one| format!("{page}-{one:0>20}")).collect();
            let change = json!({"page": Visitor::of('a', page).digest(), "subscribe": names}).to_string();
            let response = client.send(&Request::post("/api/live/pages", change)).await.unwrap();
            assert_eq!(response.status, 200, "{}", response.text());
        }
        let mut pages = Vec::new();
        assert_unnoticed(&process.site.address, async || {
            let statuses = flood(&process, |number| {
                let channels: Vec<String> = (0..PATTERNS).map(|one| format!("*0*0*0*0*0*{one}x*")).collect();
                Request::post("/api/live/push", json!({"channels": channels, "message": number}).to_string())
            });
            let connects = attacker::repeat(async || {
                let visitor = Visitor::of('a', pages.len() % 1_000);
                pages.push(visitor.connect(&process.site, NS).await);
            });
            let (statuses, ()) = futures_util::future::join(statuses, connects).await;
            // Each looks at eight times as many names as there are channels.
            assert_flooded(&statuses, &[200], CONNECTIONS);
        })
        .await;
    });
}

/// The calls of one address take all places of the application, and those of others have their turns.
#[test]
fn flood_of_calls_to_a_slow_application_delays_no_other_client() {
    attacker::run(async {
        let application = Application::start(Behaviour::Slowly(SLOW, "{}".to_owned())).await;
        let url = application.url.split("/live").next().unwrap();
        let calls = format!("url: \"{url}\", secret: a-secret-for-calls-of-more-than-32-bytes, concurrency: 4");
        let process = Process::start(&format!("/nodevent: {{open: true, calls: {{{calls}, queue: 200}}}}\n")).await;
        let call = |id: usize| format!("42/nodevent,{id}[\"call\",{{\"method\":\"GET\",\"path\":\"/slow\"}}]");
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let mut raw = Raw::connected(&process.site, "/nodevent").await;
            callers.spawn(async move {
                loop {
                    for id in 1..=CALLS {
                        raw.send_text(&call(id)).await;
                    }
                    for _ in 0..CALLS {
                        let reply = raw.text().await;
                        assert!(reply.starts_with("43/nodevent,"), "{reply}");
                    }
                    // Within the limit of packets.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
        application.received(4).await;
        assert_unnoticed(&process.site.address, async || {
            let mut victim = open_from(&process.site, VICTIM).await;
            let reply = enter(&mut victim, "/nodevent", "").await;
            assert!(reply.starts_with("40/nodevent,"), "{reply}");
            attacker::repeat(async || {
                victim.send_text(&call(1)).await;
                let reply = victim.text().await;
                assert!(reply.starts_with("43/nodevent,1[null,{\"status\":200"), "the victim is kept out: {reply}");
            })
            .await;
        })
        .await;
        assert!(callers.try_join_next().is_none(), "the flood goes on");
        callers.abort_all();
        let rejected = process.metric("nodevent_calls_total{reason=\"busy\"}").await;
        assert!(rejected > 0, "the callers fill the queue");
    });
}
