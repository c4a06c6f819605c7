//! The failures of `docs/troubleshooting.md`, each caused on a real server: what it logs and counts is what the guide says.
//! Those of proxies are in `server/tests/proxies/load_balancer.rs`.

use crate::harness::Member;
use crate::harness::proxy::{Mode, Proxy};
use crate::support::keys::{LATER, key};
use crate::support::program::{NODEVENT, clean};
use crate::support::raw::Raw;
use crate::support::server::metric;
use crate::support::wait::until;
use crate::support::wall_clock::WallClock;
use crate::support::{Browser, Program, RedisServer, Request, Site, Transport};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::process::Command;

const SECRET: &str = "a-secret-of-more-than-thirty-two-characters";
const KEY: &str = "a-key-of-more-than-sixteen";
const PUBLICATION: &str = r#"{"room":"r","event":"e","message":1}"#;

/// A row of the guide.
struct Row(Vec<String>);

/// A server that reads its configuration from `folder`.
struct Operated {
    program: Program,
    site: Site,
    admin: Site,
    _folder: TempDir,
}

// === impl Row ===

impl Row {
    /// The row of a failure.
    fn of(failure: &str) -> Self {
        let guide = include_str!("../../../docs/troubleshooting.md");
        let row = guide.lines().find(|line| line.strip_prefix("| ").is_some_and(|line| line.starts_with(failure)));
        let row = row.unwrap_or_else(|| panic!("the guide has no row `{failure}`"));
        Self(row.trim_matches('|').split(" | ").map(str::to_owned).collect())
    }

    fn says_ready(&self, status: u16) -> &Self {
        assert!(self.0[1].contains(&status.to_string()), "{:?}", self.0);
        self
    }

    fn names_series(&self, series: &str) -> &Self {
        assert!(self.0[2].contains(series), "{series} is not in {:?}", self.0);
        self
    }

    /// Each part of the guide's text is in the line of the log.
    fn quotes(&self, line: &str, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.0[3].contains(part), "{part} is not in {:?}", self.0);
            assert!(line.contains(part), "{part} is not in {line}");
        }
        self
    }
}

// === impl Operated ===

impl Operated {
    async fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::serve(folder.path(), &configuration(settings)).await;
        Self::of(program, folder).await
    }

    async fn of(program: Program, folder: TempDir) -> Self {
        let (site, admin) = (program.site().await, program.admin().await);
        Self { program, site, admin, _folder: folder }
    }

    async fn ready(&self, status: u16) {
        until("the status of /readyz", async || self.admin.get("/readyz").await.status == status).await;
    }

    /// Waits until a series has a value.
    async fn metric_is(&self, series: &str, value: i64) {
        until(series, async || self.metric(series).await == value).await;
    }

    async fn metric(&self, series: &str) -> i64 {
        metric(&self.admin, series).await
    }

    async fn publish(&self) -> u16 {
        let bearer = format!("Bearer {KEY}");
        let request = Request::post("/api/nodevent/emit", PUBLICATION).header("Authorization", &bearer);
        self.site.send(&request).await.status
    }

    /// Tries to join a room with a key that the application has signed now, and returns the error.
    async fn join(&self, secret: &str) -> serde_json::Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let mut browser = Browser::connect(&self.site, "/nodevent", Transport::WebSocket).await;
        browser.join_with("r", key("r", &(now + 3_600_000).to_string(), secret)).await
    }
}

fn configuration(settings: &str) -> String {
    format!(
        "bind: 127.0.0.1\nport: 0\nadmin: {{port: 0}}\n{}\n/nodevent:\n  secret: {SECRET}\n  publish_key: {KEY}\n{}\n",
        settings.lines().filter(|line| !line.starts_with(' ')).collect::<Vec<_>>().join("\n"),
        settings.lines().filter(|line| line.starts_with(' ')).collect::<Vec<_>>().join("\n"),
    )
}

#[tokio::test]
async fn operator_finds_different_secrets() {
    let server = Operated::start("").await;
    server.join("another-secret-of-more-than-thirty-two").await;
    let line = server.program.logs("join rejected").await;
    Row::of("The server and the application have different secrets")
        .says_ready(200)
        .names_series("nodevent_rejected_joins_total")
        .quotes(&line, &["join rejected", "reason=\"Bad key\""]);
    server.metric_is("nodevent_rejected_joins_total", 1).await;
    server.ready(200).await;
}

#[tokio::test]
async fn operator_finds_a_redis_that_is_full() {
    let redis = RedisServer::start().await;
    let server = Operated::start(&format!("  redis: \"{}\"", redis.url())).await;
    server.ready(200).await;
    assert_eq!(redis.call(&["CONFIG", "SET", "maxmemory", "1"]).await, "+OK");
    let line = server.program.logs("Redis is not processing messages").await;
    server.ready(503).await;
    assert_eq!(server.publish().await, 503);
    Row::of("Redis is full")
        .says_ready(503)
        .names_series("nodevent_engines_unavailable")
        .names_series("nodevent_failed_publishes_total")
        .quotes(&line, &["Redis is not processing messages although the connection is open", "OOM"]);
    server.metric_is("nodevent_engines_unavailable", 1).await;
    server.metric_is("nodevent_failed_publishes_total", 1).await;
    assert_eq!(redis.call(&["CONFIG", "SET", "maxmemory", "0"]).await, "+OK");
    server.ready(200).await;
}

#[tokio::test]
async fn operator_finds_a_limit_of_open_files_that_is_too_low() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\n/nodevent: {open: true, history: off}\n";
    std::fs::write(folder.path().join("nodevent.yml"), settings).unwrap();
    let mut limited = Command::new("sh");
    clean(&mut limited, folder.path());
    limited.args(["-c", "ulimit -n 64 && exec \"$0\" nodevent.yml", NODEVENT]);
    let server = Operated::of(Program::spawn(limited), folder).await;
    let row = Row::of("Too few open files are allowed");
    let line = server.program.logs("fewer open files are allowed than connections").await;
    row.quotes(&line, &["fewer open files are allowed than connections"]);
    let addresses = [server.site.address.clone()];
    let members: Vec<_> = (0..100).map(|_| Member::new(&addresses, "/nodevent", &["r"])).collect();
    let line = server.program.logs("cannot accept connections").await;
    row.says_ready(200).quotes(&line, &["cannot accept connections"]);
    assert!(line.contains("too many files are open") || line.contains("of the open files"), "{line}");
    row.names_series("nodevent_rejected_connections_total");
    until("a rejection is counted", async || server.metric("nodevent_rejected_connections_total").await > 0).await;
    assert!(server.metric("nodevent_connections").await < 64);
    drop(members);
}

#[tokio::test]
async fn operator_finds_a_clock_that_is_wrong() {
    let redis = RedisServer::start().await;
    let (clock, folder) = (WallClock::new(), tempfile::tempdir().unwrap());
    clock.set(7_200);
    let settings = configuration(&format!("  redis: \"{}\"", redis.url()));
    let program = Program::serve_with_clock(folder.path(), &settings, &clock).await;
    let server = Operated::of(program, folder).await;
    server.ready(200).await;
    server.join(SECRET).await;
    let row = Row::of("A clock is wrong");
    let line = server.program.logs("join rejected").await;
    row.says_ready(200)
        .names_series("nodevent_rejected_joins_total")
        .quotes(&line, &["reason=\"Time has passed\""]);
    let line = server.program.logs("the clock of this machine is").await;
    row.quotes(&line, &["the clock of this machine is", "s ahead of that of Redis"]);
    let skew: i64 =
        line.split("this machine is ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap();
    assert!((7_190..=7_210).contains(&skew), "{line}");
}

#[tokio::test]
async fn operator_finds_a_server_that_is_cut_off_from_redis() {
    let redis = RedisServer::start().await;
    let port = redis.url().rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse().ok()).unwrap();
    let link = Proxy::in_front_of(port).await;
    let (whole, cut) = (
        Operated::start(&format!("  redis: \"{}\"", redis.url())).await,
        Operated::start(&format!("  redis: \"redis://{}\"", link.address())).await,
    );
    for server in [&whole, &cut] {
        server.ready(200).await;
    }
    let mut browsers = Vec::new();
    for server in [&whole, &cut] {
        let mut browser = Browser::connect(&server.site, "/nodevent", Transport::WebSocket).await;
        assert_eq!(browser.join_with("r", key("r", LATER, SECRET)).await[1], true);
        browsers.push(browser);
    }
    link.set(Mode::BlackHole);
    let line = cut.program.logs("Redis is not processing messages").await;
    cut.ready(503).await;
    assert_eq!(whole.publish().await, 200);
    assert_eq!(browsers[0].next_event().await.message, 1);
    whole.ready(200).await;
    Row::of("One of several servers is cut off from Redis")
        .says_ready(503)
        .names_series("nodevent_engines_unavailable")
        .names_series("nodevent_deliveries_total")
        .quotes(&line, &["Redis is not processing messages"]);
    cut.metric_is("nodevent_engines_unavailable", 1).await;
    whole.metric_is("nodevent_engines_unavailable", 0).await;
    whole.metric_is("nodevent_deliveries_total", 1).await;
    cut.metric_is("nodevent_deliveries_total", 0).await;
    link.set(Mode::Forward);
    assert_eq!(browsers[1].next_event().await.message, 1);
    cut.ready(200).await;
}

#[tokio::test]
async fn operator_finds_a_client_that_reads_too_slowly() {
    let server = Operated::start("limits: {send_buffer: 64KB}").await;
    let mut slow = Raw::connected(&server.site, "/nodevent").await;
    let key = key("r", LATER, SECRET);
    slow.send_text(&format!("42/nodevent,1[\"join\",{{\"room\":\"r\",\"key\":\"{key}\"}}]")).await;
    let joined = slow.text().await;
    assert!(joined.starts_with("43/nodevent,1[null,true"), "{joined}");
    let message = "x".repeat(100_000);
    let body = format!(r#"{{"room":"r","event":"e","message":"{message}"}}"#);
    until("the slow client is closed", async || {
        let request = Request::post("/api/nodevent/emit", body.clone());
        let request = request.header("Authorization", &format!("Bearer {KEY}"));
        assert_eq!(server.site.send(&request).await.status, 200);
        server.metric("nodevent_disconnects_total{reason=\"send_buffer_full\"}").await == 1
    })
    .await;
    let line = server.program.logs("connection closed").await;
    Row::of("A client reads too slowly")
        .says_ready(200)
        .names_series("nodevent_disconnects_total{reason=\"send_buffer_full\"}")
        .quotes(&line, &["connection closed", "reason=\"send_buffer_full\""]);
    assert!(line.contains("client=127.0.0.1"), "{line}");
    drop(slow);
}
