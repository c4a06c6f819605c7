//! `nodevent emit`: emits one event through a running server.

use super::http::{self, Request};
use super::secret::{self, STDIN};
use super::{CommandResult, Failure, Target, is_configured, local_url, output};
use clap::Args;
use nodevent_protocol::topic::Topic;
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
  nodevent emit --user 42 --user 43 mention '{\"by\": \"Ann\"}'
  nodevent emit --room Discussion_1 --room Discussion_2 --user 42 update
  nodevent emit --broadcast maintenance '{\"in\": \"5 minutes\"}'

Each connection receives the event once, whichever of the targets reach it.

Every user of the machine sees the arguments of a program. Pass a confidential message on standard input.")]
pub(super) struct Emit {
    /// Room, event and message; without the room if there is --room, --user or --broadcast. The message is JSON (anything
    /// else is sent as a string); `-` reads it from standard input.
    #[arg(value_name = "[ROOM] EVENT [MESSAGE]", required = true, num_args = 1..=3)]
    words: Vec<String>,
    /// Room that receives the event. May be repeated.
    #[arg(long = "room", value_name = "ROOM")]
    rooms: Vec<String>,
    /// User who receives the event, by id. May be repeated.
    #[arg(long = "user", value_name = "ID")]
    users: Vec<String>,
    /// All connections of the namespace receive the event.
    #[arg(long)]
    broadcast: bool,
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

/// What the command emits.
struct Words {
    /// `None`: options name the targets.
    room: Option<String>,
    event: String,
    message: Option<String>,
}

// === impl Emit ===

impl Emit {
    pub(super) fn run(self) -> CommandResult {
        let words = self.words()?;
        let given = self.given_key(&words)?;
        let (loaded, namespace) = self.target.load()?;
        let mut publication = json!({"event": &words.event});
        for (name, list) in [("rooms", &self.rooms), ("users", &self.users)] {
            if !list.is_empty() {
                publication[name] = json!(list);
            }
        }
        if let Some(room) = &words.room {
            publication["room"] = json!(room);
        }
        if self.broadcast {
            publication["broadcast"] = json!(true);
        }
        if let Some(message) = words.read_message()? {
            let message = serde_json::from_str(&message).unwrap_or_else(|_| Value::from(message.as_str()));
            publication["message"] = message;
        }
        let configured = namespace.publish_key(&self.topics(&words));
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

    /// The words by their meaning.
    fn words(&self) -> CommandResult<Words> {
        let has_targets = self.broadcast || !self.rooms.is_empty() || !self.users.is_empty();
        let mut words = self.words.iter().cloned();
        let room = if has_targets { None } else { words.next() };
        match (words.next(), words.next(), words.next()) {
            (Some(event), message, None) => Ok(Words { room, event, message }),
            (None, ..) => {
                Err(Failure::usage("an event is missing; write `nodevent emit ROOM EVENT`, or `--user ID EVENT`"))
            }
            (Some(_), _, Some(_)) => Err(Failure::usage(
                "too many words; with --room, --user or --broadcast write only the event and the message",
            )),
        }
    }

    /// The targets.
    fn topics<'a>(&'a self, words: &'a Words) -> Vec<Topic<'a>> {
        let rooms = self.rooms.iter().chain(&words.room).map(|room| Topic::Room(room));
        let users = self.users.iter().map(|user| Topic::User(user));
        rooms.chain(users).chain(self.broadcast.then_some(Topic::All)).collect()
    }

    /// The publish key of the command line or the environment.
    fn given_key(&self, words: &Words) -> CommandResult<Option<String>> {
        if let Some(file) = &self.publish_key_file {
            if secret::is_stdin(file) && words.message.as_deref() == Some(STDIN) {
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
}

// === impl Words ===

impl Words {
    fn read_message(&self) -> CommandResult<Option<String>> {
        match self.message.as_deref() {
            Some(STDIN) => {
                let text = secret::read_stdin(MAX_MESSAGE);
                text.map(Some).map_err(|error| Failure::usage(format!("standard input {error}")))
            }
            message => Ok(message.map(str::to_owned)),
        }
    }
}
