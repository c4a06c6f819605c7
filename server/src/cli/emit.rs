//! `nodevent emit`: emits one event through a running server.

use super::http::{self, Request};
use super::publish_key::PublishKeyArguments;
use super::secret::{self, STDIN};
use super::{CommandResult, Failure, Target, local_url, output};
use clap::Args;
use serde_json::{Value, json};

/// The maximum size of a message on standard input. Bytes.
const MAX_MESSAGE: u64 = 64 * 1024 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent emit User_12 hello
  nodevent emit User_12 update '{\"unread\": 3}' --url https://push.example.com --publish-key-file /run/secrets/publish
  nodevent emit User_12 update - <message.json

Every user of the machine sees the arguments of a program. Pass a confidential message on standard input.")]
pub(super) struct Emit {
    /// Room.
    room: String,
    /// Event.
    event: String,
    /// Message as JSON (anything else is sent as a string); `-` reads it from standard input.
    message: Option<String>,
    /// Server URL [default: the configured port on localhost].
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    key: PublishKeyArguments,
    #[command(flatten)]
    target: Target,
}

// === impl Emit ===

impl Emit {
    pub(super) fn run(self) -> CommandResult {
        let given = self.key.given(self.message.as_deref() == Some(STDIN))?;
        let (loaded, namespace) = self.target.load()?;
        let mut publication = json!({"room": &self.room, "event": &self.event});
        if let Some(message) = self.message()? {
            let message = serde_json::from_str(&message).unwrap_or_else(|_| Value::from(message.as_str()));
            publication["message"] = message;
        }
        let configured = namespace.publish_key(&self.room);
        let configured = configured.and_then(|key| String::from_utf8(key.as_bytes().to_vec()).ok());
        let url = self.url.unwrap_or_else(|| local_url(&loaded));
        let mut request = Request::new(&url, &format!("/api{}/emit", namespace.name)).map_err(Failure::usage)?;
        request.body = publication.to_string();
        request.bearer = PublishKeyArguments::choose(given, configured, &loaded, &url);
        http::run(async {
            let response = http::with_timeout(http::send(&request)).await?;
            let status = response.status();
            let text = http::with_timeout(http::text(response)).await?;
            if status.is_success() {
                output::json(&text);
                return Ok(());
            }
            let body: Value = serde_json::from_str(&text).unwrap_or_default();
            let part = |name: &str| output::external(body[name].as_str().unwrap_or_default());
            let message = format!("{url} rejected it ({status}): {}; {}", part("error"), part("hint"));
            Err(Failure::unavailable(message))
        })
    }

    fn message(&self) -> CommandResult<Option<String>> {
        match self.message.as_deref() {
            Some(STDIN) => {
                let text = secret::read_stdin(MAX_MESSAGE);
                text.map(Some).map_err(|error| Failure::usage(format!("standard input {error}")))
            }
            message => Ok(message.map(str::to_owned)),
        }
    }
}
