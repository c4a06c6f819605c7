//! `nodevent hooks`: the events that were not delivered to the application, through a running server.

use super::http::{self, Request};
use super::publish_key::PublishKeyArguments;
use super::{CommandResult, Failure, Target, local_url};
use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent hooks list                print the dead letters, with the reason of each
  nodevent hooks resend --all        put all of them at the end of the journal
  nodevent hooks delete 1798761600000-0

Exit status: 0 success; 69 no server responds, or it rejects the request")]
pub(super) struct Hooks {
    #[command(subcommand)]
    command: HooksCommand,
    /// Server URL [default: the configured port on localhost].
    #[arg(long, global = true)]
    url: Option<String>,
    #[command(flatten)]
    key: PublishKeyArguments,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum HooksCommand {
    /// Print dead letters, oldest first: up to 100.
    List {
        /// Id of the dead letter after which to begin.
        #[arg(long)]
        after: Option<String>,
    },
    /// Send dead letters again: up to 1,000.
    Resend(Chosen),
    /// Delete dead letters: up to 1,000.
    Delete(Chosen),
}

#[derive(Debug, Args)]
struct Chosen {
    /// Ids, as `list` prints them.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// The oldest ones, whatever their ids.
    #[arg(long)]
    all: bool,
}

// === impl Hooks ===

impl Hooks {
    pub(super) fn run(self) -> CommandResult {
        let given = self.key.given(false)?;
        let (loaded, namespace) = self.target.load()?;
        let configured = namespace.publish_keys.iter().find(|one| one.limit.is_none()).map(|one| &one.key);
        let configured = configured.and_then(|key| String::from_utf8(key.as_bytes().to_vec()).ok());
        let url = self.url.unwrap_or_else(|| local_url(&loaded));
        let mut path = format!("/api{}/hooks/dead-letters", namespace.name);
        let body = match self.command {
            HooksCommand::List { after } => {
                if let Some(after) = after {
                    path = format!("{path}?after={}", utf8_percent_encode(&after, NON_ALPHANUMERIC));
                }
                String::new()
            }
            HooksCommand::Resend(chosen) => chosen.body("resend"),
            HooksCommand::Delete(chosen) => chosen.body("delete"),
        };
        let mut request = Request::new(&url, &path).map_err(Failure::usage)?;
        request.body = body;
        request.bearer = PublishKeyArguments::choose(given, configured, &loaded, &url);
        http::request_json(&request, &url)
    }
}

// === impl Chosen ===

impl Chosen {
    fn body(&self, action: &str) -> String {
        match self.all {
            true => json!({"action": action, "all": true}).to_string(),
            false => json!({"action": action, "ids": self.ids}).to_string(),
        }
    }
}
