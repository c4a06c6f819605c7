//! `nodevent emit`: emits one event through a running server.

use super::http::{self, Request};
use super::secret::{self, STDIN};
use super::{CommandResult, Failure, Target, is_configured, local_url, output};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The environment variable with a publish key.
const PUBLISH_KEY: &str = "NODEVENT_PUBLISH_KEY";
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
    /// File that contains the publish key, or `-` for standard input [default: the variable NODEVENT_PUBLISH_KEY, or the
    /// configured key for servers of the configuration].
    #[arg(long)]
    publish_key_file: Option<PathBuf>,
    /// Publish key. Every user of the machine can see it: use --publish-key-file.
    #[arg(long, conflicts_with = "publish_key_file")]
    publish_key: Option<String>,
    #[command(flatten)]
    target: Target,
}

// === impl Emit ===

impl Emit {
    pub(super) fn run(self) -> CommandResult {
        let given = self.given_key()?;
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
        request.bearer = match (given, configured) {
            (Some(given), _) => Some(given),
            (None, Some(_)) if !is_configured(&loaded, &url) => {
                output::warning(&format!(
                    "warning: the configured publish key is not sent to {url}, which is not in the configuration; \
                     pass it by --publish-key-file"
                ));
                None
            }
            (None, configured) => configured,
        };
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

    /// The publish key of the command line or the environment.
    fn given_key(&self) -> CommandResult<Option<String>> {
        if let Some(file) = &self.publish_key_file {
            if secret::is_stdin(file) && self.message.as_deref() == Some(STDIN) {
                let text =
                    "the message and the publish key cannot both be standard input; write the key into a file";
                return Err(Failure::usage(text));
            }
            return secret::read(file).map(Some);
        }
        if self.publish_key.is_some() {
            let better = "write it into a file and pass --publish-key-file, or set NODEVENT_PUBLISH_KEY";
            secret::warn_of_argument("--publish-key", better);
            return Ok(self.publish_key.clone());
        }
        Ok(std::env::var(PUBLISH_KEY).ok().filter(|key| !key.is_empty()))
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
