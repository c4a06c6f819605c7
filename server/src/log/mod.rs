//! The log: structured lines on standard error, as text or JSON.
//!
//! Owns the format and the filter, which are set once at start. [`rate_limited`] keeps one kind of line from flooding
//! the log; [`writer`] keeps a slow reader of the log from blocking the server. Nothing that a client or a publisher
//! sent is logged; the call sites ensure that, not this module.

mod rate_limited;
mod writer;

/// The target of the audit log. Its lines are written at every configured level, without a rate limit.
pub const AUDIT: &str = "nodevent::audit";

pub use writer::{LogGuard, dropped};

use rate_limited::RateLimited;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{self, JsonFields};

/// Filter for dependencies: the engine reports the state of the Redis client in its own words.
const DEPENDENCY_FILTER: &str = "fred=off";

/// The level that `TURTED_LOGLEVEL` names, for servers with the dialect `turted`. As in TURTED it is `error` unless the
/// variable has the name of another one. `None`: the variable is not set.
pub fn turted_level() -> Option<&'static str> {
    let name = std::env::var_os("TURTED_LOGLEVEL")?;
    let levels = ["debug", "info", "warn"];
    Some(levels.into_iter().find(|level| name == *level).unwrap_or("error"))
}

/// Starts the log. `level` is a level or a filter in the syntax of `tracing`; the environment variable `NODEVENT_LOG`
/// takes precedence. `audit`: lines of the audit log are written.
///
/// # Errors
/// Returns a message if the filter is invalid or the operating system cannot start a thread.
pub fn start(level: &str, json: bool, audit: bool) -> Result<LogGuard, String> {
    let filter = std::env::var("NODEVENT_LOG").unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::builder()
        .parse(format!("{DEPENDENCY_FILTER},{filter},{AUDIT}={}", if audit { "info" } else { "off" }))
        .map_err(|error| {
            format!("`{filter}` is not a log level: {error}; write error, warn, info, debug or trace")
        })?;
    let (writer, guard) = writer::start().map_err(|error| format!("the log cannot start: {error}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    let format = format::format().with_target(false).with_ansi(false);
    if json {
        let format = format.json().flatten_event(true);
        lines.fmt_fields(JsonFields::new()).event_format(RateLimited::new(format)).init();
    } else {
        lines.event_format(RateLimited::new(format)).init();
    }
    Ok(guard)
}
