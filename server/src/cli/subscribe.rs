//! `nodevent subscribe`: prints the events of a room, one line of JSON each, until it is stopped.

use super::http::{self, Request};
use super::{CommandResult, Failure, Target, is_configured, local_url, output, secret};
use clap::Args;
use http_body_util::BodyExt as _;
use nodevent_server::clock;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::path::PathBuf;
use std::time::Duration;

/// Lifetime of a key that this command signs for itself. Milliseconds.
const KEY_LIFETIME: Duration = Duration::from_secs(60);
/// The minimum of the limit for one event. Bytes.
const MIN_EVENT_LIMIT: usize = 16 * 1024 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent subscribe User_12
  nodevent key User_12 | nodevent subscribe User_12 --url https://push.example.com --key-file -")]
pub(super) struct Subscribe {
    /// Room.
    room: String,
    /// File that contains a key for the room, or `-` for standard input [default: signed with the configured secret for
    /// servers of the configuration].
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// Key for the room. Every user of the machine can see it: use --key-file.
    #[arg(long, conflicts_with = "key_file")]
    key: Option<String>,
    /// Position after which to start.
    #[arg(long)]
    since: Option<String>,
    /// Server URL [default: the configured port on localhost].
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    target: Target,
}

// === impl Subscribe ===

impl Subscribe {
    pub(super) fn run(self) -> CommandResult {
        let (loaded, namespace) = self.target.load()?;
        let own = namespace.secrets.first();
        let own =
            own.and_then(|secret| namespace.sign_short_key(&self.room, KEY_LIFETIME, clock::now_ms(), secret).ok());
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut path = format!("/api{}/rooms/{}/events", namespace.name, encoded(&self.room));
        if let Some(since) = &self.since {
            path.push_str(&format!("?since={}", encoded(since)));
        }
        let url = self.url.unwrap_or_else(|| local_url(&loaded));
        let mut request = Request::new(&url, &path).map_err(Failure::usage)?;
        request.bearer = match (&self.key_file, self.key) {
            (Some(file), _) => Some(secret::read(file)?),
            (None, Some(key)) => {
                secret::warn_of_argument("--key", "write it into a file, or pipe it, and pass --key-file");
                Some(key)
            }
            (None, None) if !is_configured(&loaded, &url) => None,
            (None, None) => own,
        };
        // An event has the publication, and its position twice.
        let max_event = MIN_EVENT_LIMIT.max(2 * loaded.config.limits.max_publish_size);
        http::run(async {
            let response = http::with_timeout(http::send(&request)).await?;
            if !response.status().is_success() {
                let (status, text) = (response.status(), http::with_timeout(http::text(response)).await?);
                let text = output::external(&text);
                return Err(Failure::unavailable(format!("{url} rejected it ({status}): {text}")));
            }
            let (mut body, mut buffer) = (response.into_body(), Vec::new());
            while let Some(frame) = body.frame().await {
                let frame = frame
                    .map_err(|error| Failure::unavailable(format!("the response of {url} ended early: {error}")))?;
                // The end of an event may have arrived in two parts.
                let searched = buffer.len().saturating_sub(1);
                buffer.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
                let end = print_complete(&buffer, searched, |event| print(&String::from_utf8_lossy(event)));
                buffer.drain(..end);
                if buffer.len() > max_event {
                    let message = format!("{url} sent an event of more than {max_event} bytes");
                    return Err(Failure::unavailable(message));
                }
            }
            Err(Failure::unavailable(format!("{url} closed the connection")))
        })
    }
}

/// Passes each complete event in `buffer` to `print`. There is no end of one before `searched`. Returns where the last one
/// ends. What follows stays: it is moved once for all events of a part, however many there are.
fn print_complete(buffer: &[u8], searched: usize, mut print: impl FnMut(&[u8])) -> usize {
    let (mut begin, mut from) = (0, searched);
    while let Some(end) = memchr::memmem::find(&buffer[from..], b"\n\n") {
        let end = from + end + 2;
        print(&buffer[begin..end]);
        (begin, from) = (end, end);
    }
    begin
}

/// Prints a publication to standard output, and other notices, such as gaps, to standard error.
fn print(event: &str) {
    let field = |name: &'static str| event.lines().filter_map(move |line| line.strip_prefix(name));
    let data: Vec<&str> = field("data: ").collect();
    match field("event: ").next() {
        _ if data.is_empty() => {}
        None => output::json(&data.join(" ")),
        Some(name) => output::warning(&format!("{}: {}", output::external(name), data.join(" "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Splits a stream that arrives in parts of this size.
    fn split(stream: &[u8], part: usize) -> Vec<String> {
        let (mut buffer, mut events) = (Vec::new(), Vec::new());
        for part in stream.chunks(part) {
            let searched = buffer.len().saturating_sub(1);
            buffer.extend_from_slice(part);
            let end = print_complete(&buffer, searched, |event| events.push(String::from_utf8_lossy(event).into()));
            buffer.drain(..end);
        }
        events
    }

    #[test]
    fn events_are_found_however_they_arrive() {
        let stream = b"data: 1\n\n: comment\n\ndata: 2\ndata: 3\n\n\n\ndata: half";
        for part in 1..=stream.len() {
            assert_eq!(split(stream, part), ["data: 1\n\n", ": comment\n\n", "data: 2\ndata: 3\n\n", "\n\n"]);
        }
    }

    #[test]
    fn the_time_is_proportional_to_what_arrives() {
        let time = |events: usize| {
            let stream = b"a\n\n".repeat(events);
            let began = Instant::now();
            assert_eq!(split(&stream, stream.len()).len(), events);
            began.elapsed()
        };
        let least = |events| (0..3).map(|_| time(events)).min().unwrap();
        let (few, many) = (least(100_000), least(1_600_000));
        assert!(many < 60 * few, "{few:?}, and {many:?} for sixteen times as much");
    }
}
