//! The command line: what may be typed, and with which status it ends.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use nodevent_protocol::key;
use nodevent_server::config::{self, Loaded};
use nodevent_server::server::Server;
use nodevent_server::{admission, log};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The configuration or the command line is wrong (sysexits: EX_USAGE).
const USAGE: u8 = 64;
/// Something that is needed is not to be had, e.g. a port (sysexits: EX_UNAVAILABLE).
const UNAVAILABLE: u8 = 69;

/// Delivers what happens in an application to every browser in the room.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Examples:\n  nodevent                        config/nodevent.yml, /etc/nodevent.json, or defaults\n  nodevent serve nodevent.yml     this configuration\n  nodevent check nodevent.yml     what is wrong with it\n  nodevent key User_12 --for 1h   a key with which a browser may join the room"
)]
struct Arguments {
    /// The configuration, YAML or JSON.
    file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default).
    #[command(after_help = "Example:\n  nodevent serve /etc/nodevent.yml")]
    Serve {
        /// The configuration, YAML or JSON.
        file: Option<PathBuf>,
    },
    /// Read a configuration, tell what is wrong with it, and end.
    #[command(after_help = "Example:\n  nodevent check config/nodevent.yml && systemctl reload nodevent")]
    Check {
        /// The configuration, YAML or JSON.
        file: Option<PathBuf>,
    },
    /// Print a key with which a browser may join a room.
    #[command(after_help = "Example:\n  nodevent key User_12 --for 1h --config config/nodevent.yml")]
    Key {
        /// The room.
        room: String,
        /// How long the key is valid, like 30s, 5m or 1h.
        #[arg(long = "for", default_value = "1h", value_parser = parse_duration)]
        lifetime: Duration,
        /// The namespace; the first of the configuration where none is named.
        #[arg(long)]
        namespace: Option<String>,
        /// The configuration with the secret.
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let status = if error.use_stderr() { USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let done = match arguments.command {
        None => serve(arguments.file.as_deref()),
        Some(Command::Serve { file }) => serve(file.as_deref()),
        Some(Command::Check { file }) => check(file.as_deref()),
        Some(Command::Key { room, lifetime, namespace, config }) => {
            print_key(&room, lifetime, namespace.as_deref(), config.as_deref())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, text)) => {
            eprintln!("{text}");
            ExitCode::from(status)
        }
    }
}

type Done = Result<(), (u8, String)>;

fn load(file: Option<&Path>) -> Result<Loaded, (u8, String)> {
    config::load(file).map_err(|report| (USAGE, report.to_string()))
}

fn serve(file: Option<&Path>) -> Done {
    let loaded = load(file)?;
    log::start(&loaded.config.log, loaded.config.log_json).map_err(|error| (USAGE, error))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match &loaded.file {
        Some(file) => {
            tracing::info!(file = %file.display(), version = env!("CARGO_PKG_VERSION"), "nodevent starts")
        }
        None => tracing::info!(version = env!("CARGO_PKG_VERSION"), "nodevent starts without a configuration file"),
    }
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("edge")
        .build()
        .map_err(|error| (UNAVAILABLE, format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let server = Server::start(loaded.config).await.map_err(|error| (UNAVAILABLE, error.to_string()))?;
        let stop = stop_signal().map_err(|error| (UNAVAILABLE, format!("{error:#}")))?;
        server.run(stop).await;
        Ok(())
    })
}

/// Done when the process is asked to end.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot hear SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot hear SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Every connection is an open file: take as many as the system lets us.
fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

fn check(file: Option<&Path>) -> Done {
    let loaded = load(file)?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    match &loaded.file {
        Some(file) => println!("{}: fine", file.display()),
        None => println!("no configuration file was found; the defaults are fine"),
    }
    for namespace in &loaded.config.namespaces {
        let engine = namespace.redis.as_ref().map_or("memory".to_owned(), |redis| format!("redis at {redis}"));
        let secured = if namespace.secrets.is_empty() { "open to everybody" } else { "secured" };
        println!("  {}: {engine}, {secured}", namespace.name);
    }
    Ok(())
}

fn print_key(room: &str, lifetime: Duration, namespace: Option<&str>, file: Option<&Path>) -> Done {
    let loaded = load(file)?;
    let all = &loaded.config.namespaces;
    let namespace = match namespace {
        None => &all[0],
        Some(name) => {
            let name = format!("/{}", name.trim_start_matches('/'));
            all.iter().find(|one| one.name == name).ok_or_else(|| {
                let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
                (USAGE, format!("there is no namespace {name}; there are: {}", names.join(", ")))
            })?
        }
    };
    let secret = namespace.secrets.first().ok_or_else(|| {
        (USAGE, format!("{} has no secret, so its rooms need no key; set `secret:` to secure it", namespace.name))
    })?;
    let expires = admission::now_ms() + lifetime.as_millis() as u64;
    let key = key::sign(room, expires, secret).map_err(|error| (USAGE, error.to_string()))?;
    println!("{key}");
    Ok(())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text).ok_or_else(|| "write a duration with its unit, like 30s, 5m or 1h".to_owned())
}
