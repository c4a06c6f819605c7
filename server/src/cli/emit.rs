//! `nodevent emit`: emits one event through a running server.

use super::http::{self, Request};
use super::publish_key::PublishKeyArguments;
use super::secret::{self, STDIN};
use super::{CommandResult, Failure, Target, local_url};
use clap::Args;
use nodevent_protocol::topic::Topic;
use serde_json::{Value, json};

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
    #[command(flatten)]
    key: PublishKeyArguments,
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
        let given = self.key.given(words.message.as_deref() == Some(STDIN))?;
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
        request.bearer = PublishKeyArguments::choose(given, configured, &loaded, &url);
        http::request_json(&request, &url)
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
