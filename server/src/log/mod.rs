//! The log: structured lines on standard error, as text or JSON.
//!
//! Owns the format, which is set once at start, and the filter, which a reload may change. [`rate_limited`] keeps one kind of line from flooding
//! the log; [`writer`] keeps a slow reader of the log from blocking the server. Nothing that a client or a publisher
//! sent is logged; the call sites ensure that, not this module.

mod rate_limited;
mod writer;

/// The target of the audit log. Its lines are written at every configured level, without a rate limit.
pub const AUDIT: &str = "nodevent::audit";

pub use writer::dropped;

use rate_limited::RateLimited;
use std::fmt;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{self, JsonFields};
use tracing_subscriber::reload;
use writer::LogGuard;

/// Filter for dependencies: the engine reports the state of the Redis client in its own words.
const DEPENDENCY_FILTER: &str = "fred=off";

/// The level that `TURTED_LOGLEVEL` names, for servers with the dialect `turted`. As in TURTED it is `error` unless the
/// variable has the name of another one. `None`: the variable is not set.
pub fn turted_level() -> Option<&'static str> {
    let name = std::env::var_os("TURTED_LOGLEVEL")?;
    let levels = ["debug", "info", "warn"];
    Some(levels.into_iter().find(|level| name == *level).unwrap_or("error"))
}

/// The log of the process. Its last lines are written on drop.
pub struct Log {
    audit: bool,
    /// Replaces the filter of the running log.
    replace: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
    _guard: LogGuard,
}

// === impl Log ===

impl Log {
    /// Changes the level or the filter. The variable `NODEVENT_LOG` takes precedence, as at start.
    ///
    /// # Errors
    /// Returns a message if the filter is invalid.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        let filter = filter(level, self.audit)?;
        (self.replace)(filter).map_err(|error| format!("the level of the log cannot be changed: {error}"))
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

/// Starts the log. `level` is a level or a filter in the syntax of `tracing`; the environment variable `NODEVENT_LOG`
/// takes precedence. `audit`: lines of the audit log are written.
///
/// # Errors
/// Returns a message if the filter is invalid or the operating system cannot start a thread.
pub fn start(level: &str, json: bool, audit: bool) -> Result<Log, String> {
    let filter = filter(level, audit)?;
    let (writer, guard) = writer::start().map_err(|error| format!("the log cannot start: {error}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    let format = format::format().with_target(false).with_ansi(false);
    let replace: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync> = if json {
        let format = format.json().flatten_event(true);
        let lines =
            lines.fmt_fields(JsonFields::new()).event_format(RateLimited::new(format)).with_filter_reloading();
        let handle = lines.reload_handle();
        lines.init();
        Box::new(move |filter| handle.reload(filter))
    } else {
        let lines = lines.event_format(RateLimited::new(format)).with_filter_reloading();
        let handle = lines.reload_handle();
        lines.init();
        Box::new(move |filter| handle.reload(filter))
    };
    Ok(Log { audit, replace, _guard: guard })
}

fn filter(level: &str, audit: bool) -> Result<EnvFilter, String> {
    let filter = std::env::var("NODEVENT_LOG").unwrap_or_else(|_| level.to_owned());
    EnvFilter::builder()
        .parse(format!("{DEPENDENCY_FILTER},{filter},{AUDIT}={}", if audit { "info" } else { "off" }))
        .map_err(|error| format!("`{filter}` is not a log level: {error}; write error, warn, info, debug or trace"))
}
