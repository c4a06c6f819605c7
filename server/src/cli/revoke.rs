//! `nodevent revoke`: ends connections of a user, or memberships, through a running server.

use super::http::{self, Request};
use super::publish_key::PublishKeyArguments;
use super::{CommandResult, Failure, Target, local_url};
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent revoke --user 7                 end all connections of a user; tokens issued before now count no longer
  nodevent revoke --room Chat_7            end all memberships of a room
  nodevent revoke --user 7 --room Chat_7   end the memberships of a user in a room
  nodevent revoke --user 7 --before 1798761600

Exit status: 0 the engine has the revocation; 69 it does not")]
pub(super) struct Revoke {
    /// User, as in the claim `sub` of tokens.
    #[arg(long, required_unless_present = "room")]
    user: Option<String>,
    /// Room.
    #[arg(long)]
    room: Option<String>,
    /// Time in seconds since 1970: tokens that were issued before count no longer [default: now].
    #[arg(long)]
    before: Option<f64>,
    /// Server URL [default: the configured port on localhost].
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    key: PublishKeyArguments,
    #[command(flatten)]
    target: Target,
}

// === impl Revoke ===

impl Revoke {
    pub(super) fn run(self) -> CommandResult {
        let given = self.key.given(false)?;
        let (loaded, namespace) = self.target.load()?;
        let configured = namespace.publish_keys.iter().find(|one| one.may_revoke).map(|one| &one.key);
        let configured = configured.and_then(|key| String::from_utf8(key.as_bytes().to_vec()).ok());
        let url = self.url.unwrap_or_else(|| local_url(&loaded));
        let mut request = Request::new(&url, &format!("/api{}/revoke", namespace.name)).map_err(Failure::usage)?;
        let mut body = json!({});
        for (name, value) in [("user", &self.user), ("room", &self.room)] {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        if let Some(before) = self.before {
            body["before"] = json!(before);
        }
        request.body = body.to_string();
        request.bearer = PublishKeyArguments::choose(given, configured, &loaded, &url);
        http::request_json(&request, &url)
    }
}
