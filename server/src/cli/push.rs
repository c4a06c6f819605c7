//! `nodevent push`: pushes one event as a backend of TURTED does.

use super::http::{self, Request};
use super::secret::{self, STDIN};
use super::{CommandResult, Failure, Target, is_configured, local_url, output, url_of};
use clap::Args;
use nodevent_server::config::turted::Push as Settings;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The environment variable with the password.
const PASSWORD: &str = "TURTED_PUSH_PASSWORD";
/// The path of pushes without a configuration.
const PATH: &str = "/push/";
/// The maximum size of a payload on standard input. Bytes.
const MAX_PAYLOAD: u64 = 64 * 1024 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent push --user xosofox MESSAGE:NEW '{\"msg\": \"hello\"}'
  nodevent push --channel chat --channel chatlog MESSAGE:NEW - <message.json
  nodevent push --broadcast maintenance --url http://push.example.com:7117 --password-file /run/secrets/push

Each connection receives the event once, whichever of the targets reach it.")]
pub(super) struct Push {
    /// Name of the event.
    event: String,
    /// JSON (anything else becomes `{\"data\": …}`); `-` reads it from standard input.
    payload: Option<String>,
    /// User who receives the event. May be repeated.
    #[arg(short, long = "user", value_name = "NAME")]
    users: Vec<String>,
    /// Channel that receives the event. May be repeated.
    #[arg(short, long = "channel", value_name = "NAME")]
    channels: Vec<String>,
    /// All connections receive the event.
    #[arg(long)]
    broadcast: bool,
    /// URL of the server, without the path [default: the configured port on localhost].
    #[arg(long)]
    url: Option<String>,
    /// File that contains the password, or `-` for standard input [default: the variable TURTED_PUSH_PASSWORD, or the
    /// configured password for servers of the configuration].
    #[arg(long)]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

// === impl Push ===

impl Push {
    pub(super) fn run(self) -> CommandResult {
        if self.users.is_empty() && self.channels.is_empty() && !self.broadcast {
            return Err(Failure::usage("a target is missing; write --user, --channel or --broadcast"));
        }
        let password = self.given_password()?;
        let (loaded, namespace) = self.target.load()?;
        let settings = namespace.turted.as_ref().and_then(|turted| turted.push.as_ref());
        let local = || match settings.and_then(|push| push.listen.as_ref()) {
            Some(listen) => url_of(listen),
            None => local_url(&loaded),
        };
        let url = self.url.clone().unwrap_or_else(local);
        let is_known = self.url.is_none() || is_configured(&loaded, &url);
        let password = password.or_else(|| settings.filter(|_| is_known).and_then(password_of));
        let Some(password) = password else {
            return Err(Failure::usage(format!("no password for {url}; write --password-file, or set {PASSWORD}")));
        };
        let path = settings.map_or(PATH, |push| &push.path);
        let mut targets = json!({});
        for (name, list) in [("users", &self.users), ("channels", &self.channels)] {
            if !list.is_empty() {
                targets[name] = json!(list);
            }
        }
        if self.broadcast {
            targets["broadcast"] = json!(true);
        }
        let mut body = json!({"event": self.event, "targets": targets, "auth": {"password": password}});
        if let Some(payload) = self.payload()? {
            body["payload"] = payload;
        }
        let mut request = Request::new(&url, path).map_err(Failure::usage)?;
        request.body = body.to_string();
        send(&request, &url)
    }

    fn given_password(&self) -> CommandResult<Option<String>> {
        if let Some(file) = &self.password_file {
            if secret::is_stdin(file) && self.payload.as_deref() == Some(STDIN) {
                return Err(Failure::usage("the payload and the password cannot both be standard input"));
            }
            return secret::read(file).map(Some);
        }
        Ok(std::env::var(PASSWORD).ok().filter(|password| !password.is_empty()))
    }

    fn payload(&self) -> CommandResult<Option<Value>> {
        let text = match self.payload.as_deref() {
            Some(STDIN) => secret::read_stdin(MAX_PAYLOAD)
                .map_err(|error| Failure::usage(format!("standard input {error}")))?,
            Some(text) => text.to_owned(),
            None => return Ok(None),
        };
        Ok(Some(serde_json::from_str(&text).unwrap_or_else(|_| json!({"data": text}))))
    }
}

fn password_of(settings: &Settings) -> Option<String> {
    String::from_utf8(settings.password.as_bytes().to_vec()).ok()
}

/// Sends a push. The response is a plain text.
fn send(request: &Request, url: &str) -> CommandResult {
    http::run(async {
        let response = http::with_timeout(http::send(request)).await?;
        let status = response.status();
        let text = http::with_timeout(http::text(response)).await?;
        if status.is_success() && text == "OK" {
            output::line("OK");
            return Ok(());
        }
        let shown = output::external(&text);
        Err(Failure::unavailable(format!("{url} rejected it ({status}): {shown}; is this the URL of pushes?")))
    })
}
