//! `nodevent serve`: runs the server until it is asked to end.

use super::{Done, UNAVAILABLE, USAGE, load};
use anyhow::Context as _;
use nodevent_server::log;
use nodevent_server::server::Server;
use std::path::Path;

pub(super) fn run(file: Option<&Path>) -> Done {
    let loaded = load(file)?;
    let _log = log::start(&loaded.config.log, loaded.config.log_json).map_err(|error| (USAGE, error))?;
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
        .worker_threads(edge_threads())
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

/// Threads for HTTP, TLS and Redis: half as many as processors, for the shards have one each, and a handshake costs less
/// where it need not change from one thread to another.
fn edge_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2))
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
