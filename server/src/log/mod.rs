//! The log: structured lines on standard error, as text or JSON. Set up once at start.
//!
//! Nothing that a browser or a publisher sent stands in it, and whoever makes the server say the same over and over
//! cannot flood it; see [`bounded`]. Whoever does not read it holds nobody up; see [`lines`].

mod bounded;
mod lines;

pub use lines::{Log, dropped};

use bounded::Bounded;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{self, JsonFields};

/// What the Redis client says of itself is said better by the engine.
const QUIET: &str = "fred=off";

/// Starts the log. `level` is a level or a filter in the syntax of `tracing`; `NODEVENT_LOG` wins over it.
///
/// # Errors
/// The filter cannot be read, or the operating system refuses a thread; the text says which.
pub fn start(level: &str, json: bool) -> Result<Log, String> {
    let filter = std::env::var("NODEVENT_LOG").unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::builder()
        .parse(format!("{QUIET},{filter}"))
        .map_err(|error| format!("`{filter}` is no log level: {error}; write error, warn, info, debug or trace"))?;
    let (writer, log) = lines::start().map_err(|error| format!("the log cannot start: {error}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    let format = format::format().with_target(false).with_ansi(false);
    if json {
        let format = format.json().flatten_event(true);
        lines.fmt_fields(JsonFields::new()).event_format(Bounded::new(format)).init();
    } else {
        lines.event_format(Bounded::new(format)).init();
    }
    Ok(log)
}
