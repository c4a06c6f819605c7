//! `nodevent emit`: emits one event through a running server.

use super::http::{self, Request};
use super::{CommandResult, Failure, Target, local_url};
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent emit User_12 hello
  nodevent emit User_12 update '{\"unread\": 3}' --url https://push.example.com --publish-key \"$KEY\"")]
pub(super) struct Emit {
    /// Room.
    room: String,
    /// Event.
    event: String,
    /// Message as JSON (anything else is sent as a string).
    message: Option<String>,
    /// Server URL [default: the configured port on localhost].
    #[arg(long)]
    url: Option<String>,
    /// Publish key [default: the configured one].
    #[arg(long, env = "NODEVENT_PUBLISH_KEY", hide_env_values = true)]
    publish_key: Option<String>,
    #[command(flatten)]
    target: Target,
}

// === impl Emit ===

impl Emit {
    pub(super) fn run(self) -> CommandResult {
        let (loaded, namespace) = self.target.load()?;
        let mut publication = json!({"room": &self.room, "event": self.event});
        if let Some(message) = &self.message {
            let message = serde_json::from_str(message).unwrap_or_else(|_| Value::from(message.as_str()));
            publication["message"] = message;
        }
        let configured = namespace.publish_key(&self.room);
        let configured = configured.and_then(|key| String::from_utf8(key.as_bytes().to_vec()).ok());
        let url = self.url.unwrap_or_else(|| local_url(&loaded));
        let mut request = Request::new(&url, &format!("/api{}/emit", namespace.name)).map_err(Failure::usage)?;
        request.body = publication.to_string();
        request.bearer = self.publish_key.or(configured);
        http::run(async {
            let response = http::send(&request).await?;
            let status = response.status();
            let text = http::text(response).await?;
            if status.is_success() {
                println!("{text}");
                return Ok(());
            }
            let body: Value = serde_json::from_str(&text).unwrap_or_default();
            let part = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            let message = format!("{url} rejected it ({status}): {}; {}", part("error"), part("hint"));
            Err(Failure::unavailable(message))
        })
    }
}
