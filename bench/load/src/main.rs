//! The load generator of the benchmarks: it runs one scenario against a running server and measures from outside.
//!
//! In reading order: `scenario` (the load), `run` (the sequence), `generator` (the event loop) with `connection`,
//! `frames` and `client_protocol`, `publisher`, then the measurements: `stamp`, `tally`, `presence`, `mailbox`, `process`,
//! `redis_counters`, `servers`, `report`.
#![forbid(unsafe_code)]

mod client_protocol;
mod clock;
mod connection;
mod frames;
mod generator;
mod mailbox;
mod presence;
mod process;
mod publisher;
mod redis_counters;
mod report;
mod run;
mod scenario;
mod servers;
mod stamp;
mod tally;
mod token;

use anyhow::Context as _;
use clap::Parser;
use client_protocol::ClientProtocol;
use generator::Settings;
use nodevent_protocol::action_cable::signed_name;
use nodevent_protocol::key::{self, Secret};
use process::Processes;
use publisher::{Plan, Route};
use run::Run;
use scenario::Name;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Puts load on a server and prints the measurements as one line of JSON.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example:\n  nodevent-load steady --protocol socket-io --address 127.0.0.1:8080 \\\n    --publish http://127.0.0.1:8080/api/nodevent/emit --pid $(pidof nodevent)"
)]
struct Arguments {
    /// The scenario.
    scenario: Name,
    /// The protocol of the server.
    #[arg(long)]
    protocol: ClientProtocol,
    /// The address for connections. Several: connections are spread over them.
    #[arg(long, required = true)]
    address: Vec<SocketAddr>,
    /// The route of publications: http://…, notify://… (to mailboxes), redis://…, redis-rooms://…, redis-history://…,
    /// nchan://… or lines://…. A Redis Cluster is redis-history://address,address,…/namespace.
    #[arg(long)]
    publish: Route,
    /// Publish each room to a channel of its own, which is sharded on a cluster. Only for redis-history.
    #[arg(long)]
    channel_per_room: bool,
    /// The server's process, whose CPU time and memory are measured, with its children.
    #[arg(long, required = true)]
    pid: Vec<u32>,
    /// The process of the server's Redis, whose CPU time is reported separately.
    #[arg(long)]
    redis_pid: Vec<u32>,
    /// The Socket.IO namespace.
    #[arg(long, default_value = "/nodevent")]
    namespace: String,
    /// The secret of the room keys, if the server requires keys.
    #[arg(long)]
    secret: Option<String>,
    /// The secret of the tokens that the connections send, each for a user of its own, if the server identifies users.
    #[arg(long)]
    token_secret: Option<String>,
    /// Overrides the number of connections.
    #[arg(long)]
    connections: Option<usize>,
    /// Overrides the number of rooms.
    #[arg(long)]
    rooms: Option<usize>,
    /// How many publications are due at a time. More than one go over HTTP as one array.
    #[arg(long, default_value_t = 1)]
    together: u32,
    /// Publications that are due at a time go over HTTP as requests of their own, pipelined in one write.
    #[arg(long)]
    pipelined: bool,
    /// Overrides the size of a publication. Bytes.
    #[arg(long)]
    size: Option<usize>,
    /// Overrides the publications per second.
    #[arg(long)]
    rate: Option<u32>,
    /// Overrides the length of the scenario. Seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// Overrides the time to wait for deliveries after the last publication. Seconds.
    #[arg(long)]
    timeout: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    rlimit::increase_nofile_limit(u64::MAX).context("the limit of open files could not be raised")?;
    // The publisher's sleeps end on time instead of up to 50 µs late.
    std::fs::write("/proc/self/timerslack_ns", "1").context("the timer slack could not be set")?;
    let name = arguments.scenario;
    let mut scenario = name.scenario();
    anyhow::ensure!(arguments.together > 0, "--together is at least 1");
    scenario.connections = arguments.connections.unwrap_or(scenario.connections);
    scenario.rooms = arguments.rooms.unwrap_or(scenario.rooms);
    scenario.size = arguments.size.unwrap_or(scenario.size);
    for plan in &mut scenario.plans {
        if let Plan::Rate { per_second, seconds, together, in_arrays } = plan {
            *per_second = arguments.rate.unwrap_or(*per_second);
            *seconds = arguments.seconds.unwrap_or(*seconds);
            *together = arguments.together;
            *in_arrays = arguments.together > 1 && !arguments.pipelined;
        }
    }
    if let Some(timeout) = arguments.timeout {
        scenario.timeout = Duration::from_secs(timeout);
    }
    if scenario.mailboxes {
        // One per user.
        scenario.rooms = scenario.connections;
    }
    if let Some(changes) = arguments.rate.filter(|_| scenario.changes_per_second > 0) {
        scenario.changes_per_second = changes;
    }
    anyhow::ensure!(
        scenario.changes_per_second == 0 || scenario.connections >= 2 * scenario.rooms,
        "one of two connections in each of the {} rooms changes; raise --connections",
        scenario.rooms
    );
    let rooms: Vec<String> = (0..scenario.rooms).map(|number| format!("Room_{number}")).collect();
    let keys = match &arguments.secret {
        Some(secret) if arguments.protocol == ClientProtocol::Turbo => sign_names(&rooms, secret)?,
        Some(secret) => sign_all(&rooms, secret)?,
        None => Vec::new(),
    };
    let tokens = match &arguments.token_secret {
        Some(secret) => token::sign_all(scenario.connections, secret)?,
        None => Vec::new(),
    };
    let storm = name == Name::Storm;
    let settings = Settings {
        protocol: arguments.protocol,
        addresses: arguments.address,
        namespace: arguments.namespace,
        rooms,
        keys,
        tokens,
        connections: scenario.connections,
        identifiers: scenario.identifiers,
        slow: scenario.slow,
        concurrency: scenario.concurrency,
        reconnects: storm,
        mailboxes: scenario.mailboxes,
    };
    let run = Run {
        name: format!("{name:?}").to_lowercase(),
        scenario,
        settings,
        route: arguments.publish.with_channel_per_room(arguments.channel_per_room),
        server: Processes::of(&arguments.pid),
        redis: Processes::of(&arguments.redis_pid),
        storm,
    };
    println!("{}", serde_json::to_string(&run.run()?)?);
    Ok(())
}

/// Signs the name of each room, as an application does for Turbo.
fn sign_names(rooms: &[String], secret: &str) -> anyhow::Result<Vec<String>> {
    let secret = Secret::new(secret).context("the secret cannot be used")?;
    Ok(rooms.iter().map(|room| signed_name::sign(room, &secret)).collect())
}

/// Signs a key for each room, valid for an hour.
fn sign_all(rooms: &[String], secret: &str) -> anyhow::Result<Vec<String>> {
    let secret = Secret::new(secret).context("the secret cannot be used")?;
    let expires = SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(3600);
    let sign = |room: &String| key::sign(room, expires.as_millis() as u64, &secret).context("no key can be signed");
    rooms.iter().map(sign).collect()
}
