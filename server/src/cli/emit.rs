//! `nodevent emit`: publishes one publication through a running server.

use super::http::{self, Request};
use super::{Done, Target, UNAVAILABLE, USAGE, local_url};
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent emit User_12 hello
  nodevent emit User_12 update '{\"unread\": 3}' --url https://push.example.com --publish-key \"$KEY\"")]
pub(super) struct Emit {
    /// The room.
    room: String,
    /// The event.
    event: String,
    /// The message, JSON; what is no JSON is taken as text.
    message: Option<String>,
    /// Where the server is; the port of the configuration on this machine where it is not named.
    #[arg(long)]
    url: Option<String>,
    /// The key for publishing; that of the configuration where it is not named.
    #[arg(long, env = "NODEVENT_PUBLISH_KEY", hide_env_values = true)]
    publish_key: Option<String>,
    #[command(flatten)]
    target: Target,
}

// === impl Emit ===

impl Emit {
    pub(super) fn run(self) -> Done {
        let (loaded, namespace) = self.target.load()?;
        let mut publication = json!({"room": self.room, "event": self.event});
        if let Some(message) = &self.message {
            let message = serde_json::from_str(message).unwrap_or_else(|_| Value::from(message.as_str()));
            publication["message"] = message;
        }
        let configured = namespace.publish_key.as_ref();
        let configured = configured.and_then(|key| String::from_utf8(key.as_bytes().to_vec()).ok());
        let url = self.url.unwrap_or_else(|| local_url(&loaded));
        let mut request =
            Request::new(&url, &format!("/api{}/emit", namespace.name)).map_err(|text| (USAGE, text))?;
        request.body = publication.to_string();
        request.bearer = self.publish_key.or(configured);
        http::run(async {
            let answer = http::send(&request).await?;
            let status = answer.status();
            let text = http::text(answer).await?;
            if status.is_success() {
                println!("{text}");
                return Ok(());
            }
            let said: Value = serde_json::from_str(&text).unwrap_or_default();
            let part = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
            Err((UNAVAILABLE, format!("{url} refused ({status}): {}; {}", part("error"), part("hint"))))
        })
    }
}
