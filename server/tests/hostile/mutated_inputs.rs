//! Inputs that a generator mutates: request lines with their queries, and configuration files. The generator is seeded,
//! so a failure can be repeated. `NODEVENT_FUZZ_SECONDS` runs more seeds, until the time is over; `rake fuzz` sets it.

use crate::process::Process;
use crate::support::is_full_run;
use crate::support::wait::in_time;
use nodevent_server::config::Config;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Paths and queries that the server understands, to be mutated.
const TARGETS: [&str; 10] = [
    "/socket.io/?EIO=4&transport=polling",
    "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "/socket.io/?EIO=4&transport=websocket&t=abc",
    "/api/nodevent/rooms/a%20room/history?since=0000000000000001:7&key=abc:1",
    "/api/nodevent/rooms/r/events?since=%30",
    "/api/nodevent/rooms//history?key=%ff%fe",
    "/api/nodevent?x=1",
    "/ws/nodevent?x=%00",
    "/healthz?&&=&",
    "/readyz",
];
/// Pieces that a mutation inserts.
const PIECES: [&str; 16] =
    ["%", "%0", "%00", "%ff", "%2e%2e", "&", "&&", "=", "?", "#", "/", "//", "..", "+", "since=", "\u{e9}"];

/// A configuration with most keys, to be mutated.
const CONFIGURATION: &str = "shared: &all\n  listen:\n    - {port: 8080, bind: 127.0.0.1}\n  limits:\n    send_buffer: 1MB\n    \
    joins_per_second: 50\n  ping: {interval: 25s, timeout: 20s}\n  origins: [\"https://example.com\"]\n  /nodevent:\n    secret: \
    \"a-secret-of-more-than-16\"\n    history: {size: 100, age: 1h, rooms: {\"a*\": {size: 5}}}\n    redis: \
    {url: \"redis://127.0.0.1:6379/0\"}\ndevelopment:\n  <<: *all\ntest: {}\n";

fn mutate(random: &mut StdRng, text: &str, pieces: &[&str]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..random.random_range(1..6_u32) {
        let at = random.random_range(0..=chars.len());
        match random.random_range(0..4_u32) {
            0 if at < chars.len() => drop(chars.remove(at)),
            1 => {
                let piece = pieces[random.random_range(0..pieces.len())];
                chars.splice(at..at, piece.chars());
            }
            2 => {
                let end = random.random_range(at..=chars.len());
                let copied: Vec<char> = chars[at..end].to_vec();
                chars.extend(copied);
            }
            _ => chars.insert(at, char::from(random.random_range(0x21..0x7f_u8))),
        }
    }
    chars.into_iter().collect()
}

/// The seeds of a test: so many, more in the long form, or as many as fit into `NODEVENT_FUZZ_SECONDS`.
fn seeds(count: u64, long: u64) -> impl Iterator<Item = u64> {
    let count = if is_full_run() { long } else { count };
    let seconds = std::env::var("NODEVENT_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    (0..).take_while(move |seed| until.map_or(*seed < count, |until| Instant::now() < until))
}

/// Every request gets a response with a status, or the end of the connection, and the server remains healthy.
#[tokio::test]
async fn mutated_request_targets_are_answered() {
    let process = Process::start("/nodevent: {}").await;
    for seed in seeds(2_000, 50_000) {
        let mut random = StdRng::seed_from_u64(seed);
        let target = mutate(&mut random, TARGETS[seed as usize % TARGETS.len()], &PIECES);
        let target: String = target.chars().filter(|one| !one.is_whitespace()).collect();
        let mut stream = process.site.dial().await;
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", process.site.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        let read = in_time("a response", stream.read_exact(&mut head)).await;
        assert!(read.is_err() || head.starts_with(b"HTTP/1.1 "), "seed {seed}: {target}: {head:?}");
        assert!(!head.starts_with(b"HTTP/1.1 500"), "seed {seed}: {target}");
    }
    assert_eq!(process.site.get("/healthz").await.status, 200);
}

/// Every text is a configuration, or is refused with a report that names a place. It never panics.
#[test]
fn mutated_configurations_are_read_or_refused_with_a_place() {
    let pieces = [
        "&a ",
        "*all",
        "<<: ",
        "!!binary ",
        "|\n",
        ">-\n",
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "\t",
        "\"",
        "'",
        "#",
        "${A}",
    ];
    for seed in seeds(5_000, 200_000) {
        let mut random = StdRng::seed_from_u64(seed);
        let text = mutate(&mut random, CONFIGURATION, &pieces);
        if let Err(report) = Config::from_yaml(&text) {
            assert!(report.to_string().contains("configuration"), "seed {seed}: {report}: {text}");
        }
    }
}
