//! `nodevent subscribe`: prints the events of a room, one line of JSON each, until it is stopped.

use super::http::{self, Request};
use super::{CommandResult, Failure, Target, local_url};
use clap::Args;
use http_body_util::BodyExt as _;
use nodevent_server::clock;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::Duration;

/// Lifetime of a key that this command signs for itself. Milliseconds.
const KEY_LIFETIME: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent subscribe User_12
  nodevent subscribe User_12 --url https://push.example.com --key \"$(nodevent key User_12)\"")]
pub(super) struct Subscribe {
    /// Room.
    room: String,
    /// Key for the room [default: signed with the configured secret].
    #[arg(long)]
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
        request.bearer = self.key.or(own);
        http::run(async {
            let response = http::send(&request).await?;
            if !response.status().is_success() {
                let (status, text) = (response.status(), http::text(response).await?);
                return Err(Failure::unavailable(format!("{url} rejected it ({status}): {text}")));
            }
            let (mut body, mut buffer) = (response.into_body(), Vec::new());
            while let Some(frame) = body.frame().await {
                let frame = frame
                    .map_err(|error| Failure::unavailable(format!("the response of {url} ended early: {error}")))?;
                buffer.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
                while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                    let event: Vec<u8> = buffer.drain(..end + 2).collect();
                    print(&String::from_utf8_lossy(&event));
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
        None => println!("{}", data.join(" ")),
        Some(name) => eprintln!("{name}: {}", data.join(" ")),
    }
}
