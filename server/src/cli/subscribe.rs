//! `nodevent subscribe`: prints what is said in a room, a line of JSON each, until it is ended.

use super::http::{self, Request};
use super::{Done, Target, UNAVAILABLE, USAGE, local_url};
use clap::Args;
use http_body_util::BodyExt as _;
use nodevent_protocol::key;
use nodevent_server::admission;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// How long a key that this command signs for itself is valid. Milliseconds.
const KEY_LIFETIME: u64 = 60_000;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent subscribe User_12
  nodevent subscribe User_12 --url https://push.example.com --key \"$(nodevent key User_12)\"")]
pub(super) struct Subscribe {
    /// The room.
    room: String,
    /// A key for the room; signed with the secret of the configuration where it is not named.
    #[arg(long)]
    key: Option<String>,
    /// The position after which to begin.
    #[arg(long)]
    since: Option<String>,
    /// Where the server is; the port of the configuration on this machine where it is not named.
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    target: Target,
}

// === impl Subscribe ===

impl Subscribe {
    pub(super) fn run(self) -> Done {
        let (loaded, namespace) = self.target.load()?;
        let own = namespace.secrets.first();
        let own = own.and_then(|secret| key::sign(&self.room, admission::now_ms() + KEY_LIFETIME, secret).ok());
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut path = format!("/api{}/rooms/{}/events", namespace.name, encoded(&self.room));
        if let Some(since) = &self.since {
            path.push_str(&format!("?since={}", encoded(since)));
        }
        let url = self.url.unwrap_or_else(|| local_url(&loaded));
        let mut request = Request::new(&url, &path).map_err(|text| (USAGE, text))?;
        request.bearer = self.key.or(own);
        http::run(async {
            let answer = http::send(&request).await?;
            if !answer.status().is_success() {
                let (status, text) = (answer.status(), http::text(answer).await?);
                return Err((UNAVAILABLE, format!("{url} refused ({status}): {text}")));
            }
            let (mut body, mut waiting) = (answer.into_body(), Vec::new());
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| (UNAVAILABLE, format!("{url} broke off: {error}")))?;
                waiting.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
                while let Some(end) = waiting.windows(2).position(|pair| pair == b"\n\n") {
                    let event: Vec<u8> = waiting.drain(..end + 2).collect();
                    print(&String::from_utf8_lossy(&event));
                }
            }
            Err((UNAVAILABLE, format!("{url} ended")))
        })
    }
}

/// Prints a publication to standard output, and whatever else is told to standard error.
fn print(event: &str) {
    let field = |name: &'static str| event.lines().filter_map(move |line| line.strip_prefix(name));
    let data: Vec<&str> = field("data: ").collect();
    match field("event: ").next() {
        _ if data.is_empty() => {}
        None => println!("{}", data.join(" ")),
        Some(name) => eprintln!("{name}: {}", data.join(" ")),
    }
}
