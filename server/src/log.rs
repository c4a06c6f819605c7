//! The log: structured lines on standard error, as text or JSON. Set up once at start.

use tracing_subscriber::EnvFilter;

/// What the Redis client says of itself is said better by the engine.
const QUIET: &str = "fred=off";

/// Starts the log. `level` is a level or a filter in the syntax of `tracing`; `NODEVENT_LOG` wins over it.
///
/// # Errors
/// The filter cannot be read; the text says where.
pub fn start(level: &str, json: bool) -> Result<(), String> {
    let filter = std::env::var("NODEVENT_LOG").unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::builder()
        .parse(format!("{QUIET},{filter}"))
        .map_err(|error| format!("`{filter}` is no log level: {error}; write error, warn, info, debug or trace"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json {
        lines.json().flatten_event(true).init();
    } else {
        lines.with_ansi(false).init();
    }
    Ok(())
}
