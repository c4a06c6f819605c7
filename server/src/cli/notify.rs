//! `nodevent notify`: stores a message in the mailboxes of users, through a running server or straight in Redis.

use super::http::{self, Request};
use super::publish_key::PublishKeyArguments;
use super::secret::{self, STDIN};
use super::{CommandResult, Failure, Target, local_url, output};
use clap::Args;
use nodevent_protocol::notification::Notification;
use nodevent_protocol::topic::Topic;
use nodevent_server::config::Config;
use nodevent_server::config::namespace::Namespace;
use nodevent_server::engine::redis::NotifyError;
use nodevent_server::{engine, server};
use serde_json::{Value, json};

/// The maximum size of a message on standard input. Bytes.
const MAX_MESSAGE: u64 = 64 * 1024 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent notify --user 7 mention '{\"title\": \"Lunch?\"}'
  nodevent notify --user 7 --user 8 invitation --ttl 86400 --key invitation-12
  nodevent notify --user 7 mention - <message.json
  nodevent notify --redis --user 7 mention       no server needs to run

It prints the id of the message for each user; null: the user is not known, and nothing was stored.

Exit status: 0 the engine has the message; 69 it does not")]
pub(super) struct Notify {
    /// Event and message. The message is JSON (anything else is sent as a string); `-` reads it from standard input.
    #[arg(value_name = "EVENT [MESSAGE]", required = true, num_args = 1..=2)]
    words: Vec<String>,
    /// User, by id. May be repeated.
    #[arg(long = "user", value_name = "ID", required = true)]
    users: Vec<String>,
    /// How long the message is worth reading. Seconds.
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<f64>,
    /// The same key stores the message once for each user.
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// Store the message straight in the namespace's Redis.
    #[arg(long, conflicts_with = "url")]
    redis: bool,
    /// Server URL [default: the configured port on localhost].
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    publish_key: PublishKeyArguments,
    #[command(flatten)]
    target: Target,
}

// === impl Notify ===

impl Notify {
    pub(super) fn run(self) -> CommandResult {
        let message = self.words.get(1).map(String::as_str);
        let given = self.publish_key.given(message == Some(STDIN))?;
        let (loaded, namespace) = self.target.load()?;
        let body = self.body(message)?;
        if self.redis {
            return store(&body, &namespace, &loaded.config);
        }
        let topics: Vec<Topic<'_>> = self.users.iter().map(|user| Topic::User(user)).collect();
        let configured = namespace.publish_key(&topics);
        let configured = configured.and_then(|key| String::from_utf8(key.as_bytes().to_vec()).ok());
        let url = self.url.unwrap_or_else(|| local_url(&loaded));
        let mut request = Request::new(&url, &format!("/api{}/notify", namespace.name)).map_err(Failure::usage)?;
        request.body = body;
        request.bearer = PublishKeyArguments::choose(given, configured, &loaded, &url);
        http::request_json(&request, &url)
    }

    /// The notification.
    fn body(&self, message: Option<&str>) -> CommandResult<String> {
        let mut body = json!({"users": self.users, "event": self.words[0]});
        let message = match message {
            Some(STDIN) => {
                let text = secret::read_stdin(MAX_MESSAGE);
                Some(text.map_err(|error| Failure::usage(format!("standard input {error}")))?)
            }
            message => message.map(str::to_owned),
        };
        if let Some(message) = message {
            body["message"] = serde_json::from_str(&message).unwrap_or_else(|_| Value::from(message.as_str()));
        }
        if let Some(ttl) = self.ttl {
            body["ttl"] = json!(ttl);
        }
        if let Some(key) = &self.key {
            body["key"] = json!(key);
        }
        Ok(body.to_string())
    }
}

/// Stores a notification in the Redis of a namespace.
fn store(body: &str, namespace: &Namespace, config: &Config) -> CommandResult {
    let Some(settings) = server::mailbox_settings(namespace, &config.limits) else {
        let name = &namespace.name;
        return Err(Failure::usage(format!("{name} has no mailboxes; write `mailbox: on` below it")));
    };
    let Some(redis) = &namespace.redis else {
        let name = &namespace.name;
        return Err(Failure::usage(format!("{name} has no Redis; leave out --redis to ask a running server")));
    };
    let notification = Notification::parse(body.as_bytes(), config.limits.max_notified_users)
        .map_err(|invalid| Failure::usage(format!("{}; {}", invalid.error, invalid.hint)))?;
    http::run(async {
        let stored = engine::redis::notify(redis, &namespace.name, settings, &notification).await;
        let ids = stored.map_err(|error| match error {
            NotifyError::TooLarge(_) => Failure::usage(error.to_string()),
            error => Failure::unavailable(format!("{redis}: {}", output::external(&error.to_string()))),
        })?;
        let accepted = ids.iter().flatten().count();
        output::json(&json!({"accepted": accepted, "ids": ids}).to_string());
        Ok(())
    })
}
