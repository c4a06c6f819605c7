//! The load generator of the benchmarks: one scenario against one server that runs already, measured from outside.
//!
//! In reading order: `scenario` (what is asked for), `run` (the order of things), `generator` (the event loop) with
//! `connection`, `frames` and `speaks`, `publisher`, then what is measured: `stamp`, `tally`, `process`, `report`.
#![forbid(unsafe_code)]

mod client_protocol;
mod clock;
mod connection;
mod frames;
mod generator;
mod process;
mod publisher;
mod report;
mod run;
mod scenario;
mod stamp;
mod tally;

use anyhow::Context as _;
use clap::Parser;
use client_protocol::Speaks;
use generator::Settings;
use nodevent_protocol::key::{self, Secret};
use process::Processes;
use publisher::{Plan, Route};
use run::Run;
use scenario::Name;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Puts load on a server and prints what it measured as one line of JSON.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example:\n  nodevent-load steady --speaks socket-io --address 127.0.0.1:8080 \\\n    --publish http://127.0.0.1:8080/api/nodevent/emit --pid $(pidof nodevent)"
)]
struct Arguments {
    /// What to do.
    scenario: Name,
    /// The protocol of the server.
    #[arg(long)]
    speaks: Speaks,
    /// Where connections go.
    #[arg(long)]
    address: SocketAddr,
    /// Where publications go: http://…, redis://…, redis-rooms://…, nchan://… or lines://…
    #[arg(long)]
    publish: Route,
    /// The server's process, whose CPU time and memory are read; its children are counted too.
    #[arg(long, required = true)]
    pid: Vec<u32>,
    /// A process beside the server, whose CPU time is shown apart: its Redis.
    #[arg(long)]
    beside: Vec<u32>,
    /// The Socket.IO namespace.
    #[arg(long, default_value = "/nodevent")]
    namespace: String,
    /// The secret that room keys are signed with, where the server asks for keys.
    #[arg(long)]
    secret: Option<String>,
    /// Instead of the scenario's own number of connections.
    #[arg(long)]
    connections: Option<usize>,
    /// Instead of the scenario's own publications a second.
    #[arg(long)]
    rate: Option<u32>,
    /// Instead of the scenario's own length. Seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// How long what was published is waited for. Seconds.
    #[arg(long)]
    patience: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    rlimit::increase_nofile_limit(u64::MAX).context("the limit of open files could not be raised")?;
    // Sleeps of the publisher end when they should, not up to 50 µs later.
    std::fs::write("/proc/self/timerslack_ns", "1").context("the timer slack could not be set")?;
    let name = arguments.scenario;
    let mut scenario = name.scenario();
    scenario.connections = arguments.connections.unwrap_or(scenario.connections);
    for plan in &mut scenario.plans {
        if let Plan::Rate { per_second, seconds } = plan {
            *per_second = arguments.rate.unwrap_or(*per_second);
            *seconds = arguments.seconds.unwrap_or(*seconds);
        }
    }
    if let Some(patience) = arguments.patience {
        scenario.patience = Duration::from_secs(patience);
    }
    let rooms: Vec<String> = (0..scenario.rooms).map(|number| format!("Room_{number}")).collect();
    let keys = match &arguments.secret {
        Some(secret) => sign_all(&rooms, secret)?,
        None => Vec::new(),
    };
    let storm = name == Name::Storm;
    let settings = Settings {
        speaks: arguments.speaks,
        address: arguments.address,
        namespace: arguments.namespace,
        rooms,
        keys,
        connections: scenario.connections,
        slow: scenario.slow,
        at_once: scenario.at_once,
        returns: storm,
    };
    let run = Run {
        name: format!("{name:?}").to_lowercase(),
        scenario,
        settings,
        route: arguments.publish,
        server: Processes::of(&arguments.pid),
        beside: Processes::of(&arguments.beside),
        storm,
    };
    println!("{}", serde_json::to_string(&run.carry_out()?)?);
    Ok(())
}

/// A key for each room, good for an hour.
fn sign_all(rooms: &[String], secret: &str) -> anyhow::Result<Vec<String>> {
    let secret = Secret::new(secret).context("the secret cannot be used")?;
    let expires = SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(3600);
    let sign = |room: &String| key::sign(room, expires.as_millis() as u64, &secret).context("no key can be signed");
    rooms.iter().map(sign).collect()
}
