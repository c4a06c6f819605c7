//! `nodevent serve`: runs the server until a signal stops or replaces it.

use super::systemd::{self, State};
use super::{CommandResult, Failure, Source, memory, upgrade};
use anyhow::Context as _;
use clap::Args;
use nodevent_server::config::changes::Changes;
use nodevent_server::http::{ListeningSocket, ReloadRequest, SocketOrigin};
use nodevent_server::log::{self, Log};
use nodevent_server::server::{Reloader, Server, Shutdown};
use std::os::fd::OwnedFd;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// How often the server looks whether its parent process still runs.
const PARENT_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long the end may wait for what still runs.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two reloads that the admin listener requests: without a key, every program on this machine may request them.
const RELOAD_PAUSE: Duration = Duration::from_millis(200);

/// What a reload needs.
struct Reload {
    source: Source,
    reloader: Reloader,
    log: Log,
    is_turted: bool,
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    source: Source,
    /// Stop when this process is not the parent any more, e.g. because it was killed.
    #[arg(long, value_name = "PID")]
    parent_pid: Option<u32>,
    /// Path of the Unix socket through which the application hands over connections, instead of `handover_socket` of the
    /// configuration.
    #[arg(long, value_name = "PATH")]
    handover_socket: Option<PathBuf>,
}

// === impl Serve ===

impl Serve {
    pub(super) fn with_file(file: Option<PathBuf>) -> Self {
        Self { source: Source { file, web_service: None }, parent_pid: None, handover_socket: None }
    }

    pub(super) fn run(&self) -> CommandResult {
        run(&self.source, self.parent_pid, self.handover_socket.as_deref())
    }
}

fn run(source: &Source, parent_pid: Option<u32>, handover_socket: Option<&Path>) -> CommandResult {
    let inherited = upgrade::inherited().map_err(|error| Failure::unavailable(error.to_string()))?;
    let (mut loaded, web_service) = source.load()?;
    if let Some(path) = handover_socket {
        loaded.config.handover_socket = Some(path.to_owned());
    }
    let config = &loaded.config;
    let is_turted = config.namespaces.iter().any(|one| one.turted.is_some());
    let level = log::turted_level().filter(|_| is_turted).unwrap_or(&config.log);
    let log = log::start(level, config.log_json, config.audit).map_err(Failure::usage)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let version = env!("CARGO_PKG_VERSION");
    let selected = &loaded.config.selected;
    let (environment, section) = (selected.environment_and_source(), selected.section.as_deref());
    match &loaded.file {
        _ if let Some(read) = &web_service => {
            let files = read.sources();
            tracing::info!(files, version, "nodevent starts with the configuration of SocketIO Web Service");
        }
        Some(file) => {
            let section = section.unwrap_or("none, so all of the file counts");
            tracing::info!(file = %file.display(), section, environment, version, "nodevent starts");
        }
        None => tracing::info!(environment, version, "nodevent starts without a configuration file"),
    }
    tracing::info!("who may join: {}", loaded.config.access());
    match loaded.config.is_open_to_local_publishers() {
        true => tracing::warn!("who may publish over HTTP: {}", loaded.config.publishing()),
        false => tracing::info!("who may publish over HTTP: {}", loaded.config.publishing()),
    }
    raise_file_limit(loaded.config.limits.max_connections);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(http_threads())
        .enable_all()
        .thread_name("http")
        .build()
        .map_err(|error| Failure::unavailable(format!("cannot start: {error}")))?;
    let replacement = runtime.block_on(async {
        // Before anything else: by default the signals would end the process.
        let hangups = hangup_signal().map_err(|error| Failure::unavailable(format!("{error:#}")))?;
        let upgrades = upgrade_signal().map_err(|error| Failure::unavailable(format!("{error:#}")))?;
        let server = Server::start_inheriting(loaded.config, inherited)
            .await
            .map_err(|error| Failure::unavailable(error.to_string()))?;
        let stop = stop_signal().map_err(|error| Failure::unavailable(format!("{error:#}")))?;
        let reloader = server.reloader();
        let requests = reloader.requests();
        let reload = Reload { source: source.clone(), reloader, log, is_turted };
        tokio::spawn(reload_on(hangups, requests, reload));
        let sockets = server.share_sockets();
        let sockets = sockets.map_err(|error| Failure::unavailable(format!("cannot start: {error}")))?;
        systemd::notify(State::Ready);
        tokio::spawn(memory::give_back(server.metrics()));
        let mut replacement = None;
        let shutdown = async {
            let stop = async {
                match parent_pid {
                    Some(pid) => either(stop, end_of_parent(pid)).await,
                    None => stop.await,
                }
            };
            tokio::select! {
                () = stop => {
                    systemd::notify(State::Stopping);
                    // Clients are refused from now on.
                    drop(sockets);
                    Shutdown::Stop
                }
                program = accepted_upgrade(upgrades, source) => {
                    systemd::notify(State::Reloading);
                    let sockets = sockets.into_iter().map(ListeningSocket::pass_on).collect();
                    replacement = Some(Replacement { program, sockets });
                    Shutdown::Replaced
                }
            }
        };
        server.run_until(shutdown).await;
        Ok(replacement)
    })?;
    // Writes what is left of the log.
    runtime.shutdown_timeout(RUNTIME_TIMEOUT);
    match replacement {
        Some(Replacement { program, sockets }) => {
            let error = program.execute(sockets);
            Err(Failure::unavailable(format!(
                "the server has stopped, and the new one cannot be executed: {error}"
            )))
        }
        None => Ok(()),
    }
}

/// The program that takes the place of this one, with the listening sockets.
struct Replacement {
    program: upgrade::Program,
    sockets: Vec<(OwnedFd, SocketOrigin)>,
}

/// Resolves at a SIGUSR2 if the program at the path of this one accepts the configuration.
async fn accepted_upgrade(mut upgrades: Signal, source: &Source) -> upgrade::Program {
    loop {
        if upgrades.recv().await.is_none() {
            return std::future::pending().await;
        }
        tracing::info!("SIGUSR2 received");
        let (program, source) = (upgrade::Program::current(), source.clone());
        let checked = tokio::task::spawn_blocking(move || program.check(&source).map(|()| program)).await;
        match checked.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(program) => return program,
            Err(reason) => tracing::error!("the server was not upgraded, and goes on: {reason}"),
        }
    }
}

/// Threads for HTTP, TLS and Redis: half the number of cores. The shards have one thread per core, and a handshake
/// costs less if it does not move between threads.
fn http_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2))
}

/// Resolves when the process receives SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot install the SIGTERM handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot install the SIGINT handler")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves when the process has another parent. There is no signal for this that every Unix has.
async fn end_of_parent(pid: u32) {
    let mut interval = tokio::time::interval(PARENT_CHECK_INTERVAL);
    while parent_id() == pid {
        interval.tick().await;
    }
    tracing::info!(pid, "the parent process has ended");
}

async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

fn hangup_signal() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("cannot install the SIGHUP handler")
}

fn upgrade_signal() -> anyhow::Result<Signal> {
    signal(SignalKind::user_defined2()).context("cannot install the SIGUSR2 handler")
}

/// Reads the configuration again at each SIGHUP, and when the admin listener asks for it.
async fn reload_on(mut hangups: Signal, mut requests: mpsc::Receiver<ReloadRequest>, reload: Reload) {
    loop {
        tokio::select! {
            hangup = hangups.recv() => {
                let Some(()) = hangup else { return };
                tracing::info!("SIGHUP received");
                let _ = tokio::task::block_in_place(|| reload.run());
            }
            Some(request) = requests.recv() => {
                let _ = request.send(tokio::task::block_in_place(|| reload.run()));
                tokio::time::sleep(RELOAD_PAUSE).await;
            }
        }
    }
}

// === impl Reload ===

impl Reload {
    /// Uses what the files say now. Logs the outcome.
    fn run(&self) -> Result<Changes, String> {
        systemd::notify(State::Reloading);
        let outcome = self.apply();
        match &outcome {
            Ok(changes) => tracing::info!("the configuration was read again; {changes}"),
            Err(reason) => tracing::error!("the reload changed nothing: {reason}"),
        }
        systemd::notify(State::Ready);
        outcome
    }

    fn apply(&self) -> Result<Changes, String> {
        let (loaded, _) = self.source.load().map_err(|failure| failure.message)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let level = log::turted_level().filter(|_| self.is_turted);
        self.reloader.reload(loaded.config, |configured| self.log.set_level(level.unwrap_or(configured)))
    }
}

/// Raises the limit of open files to the maximum, because every connection is an open file. Without enough of them,
/// connections would fail before `limits: max_connections` rejects them.
fn raise_file_limit(max_connections: usize) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < max_connections as u64 => tracing::warn!(
            limit,
            max_connections,
            "fewer open files are allowed than connections; raise LimitNOFILE or `ulimit -n`, or lower \
             `limits: max_connections`"
        ),
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}
