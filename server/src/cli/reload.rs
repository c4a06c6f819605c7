//! `nodevent reload`: makes a running server read its configuration again, through its admin listener.

use super::http::{self, Request};
use super::{CommandResult, Failure, Source, output, url_of};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent reload /etc/nodevent.yml
  nodevent reload --url http://localhost:8081

Exit status: 0 the server uses the file; 64 the file is wrong, so nothing was changed; 69 the server did not reload")]
pub(super) struct Reload {
    #[command(flatten)]
    source: Source,
    /// URL of the admin listener [default: the configured one on localhost].
    #[arg(long)]
    url: Option<String>,
}

// === impl Reload ===

impl Reload {
    pub(super) fn run(self) -> CommandResult {
        let (loaded, _) = self.source.load()?;
        let admin = loaded.config.admin.as_ref();
        let configured = admin.map(|admin| url_of(&admin.listen));
        let Some(url) = self.url.or(configured) else {
            return Err(Failure::usage(
                "there is no admin listener; write `admin: {port: 8081}` and restart the server, or send it SIGHUP and read the log",
            ));
        };
        let mut request = Request::new(&url, "/reload").map_err(Failure::usage)?;
        request.body = "{}".to_owned();
        let key = admin.and_then(|admin| admin.key.as_ref());
        request.bearer = key.and_then(|key| String::from_utf8(key.as_bytes().to_vec()).ok());
        http::run(async {
            let response = http::with_timeout(http::send(&request)).await?;
            let status = response.status();
            let body: Value =
                serde_json::from_str(&http::with_timeout(http::text(response)).await?).unwrap_or_default();
            let part = |name: &str| output::external(body[name].as_str().unwrap_or_default());
            match status.as_u16() {
                200 => output::line(&part("message")),
                422 => return Err(Failure::usage(format!("nothing was changed: {}", part("error")))),
                _ => {
                    let message = format!("{url} rejected it ({status}): {}; {}", part("error"), part("hint"));
                    return Err(Failure::unavailable(message));
                }
            }
            Ok(())
        })
    }
}
