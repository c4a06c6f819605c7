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
                let mut searched = buffer.len().saturating_sub(1);
                buffer.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
                while let Some(end) = buffer[searched..].windows(2).position(|pair| pair == b"\n\n") {
                    let event: Vec<u8> = buffer.drain(..searched + end + 2).collect();
                    print(&String::from_utf8_lossy(&event));
                    searched = 0;
                }
                if buffer.len() > max_event {
                    let message = format!("{url} sent an event of more than {max_event} bytes");
                    return Err(Failure::unavailable(message));
                }
            }
            Err(Failure::unavailable(format!("{url} closed the connection")))
        })
    }
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
