//! The publish key of a command: from the command line, the environment or the configuration.

use super::secret;
use super::{CommandResult, Failure, is_configured, output};
use clap::Args;
use nodevent_server::config::Loaded;
use std::path::PathBuf;

/// The environment variable with a publish key.
const PUBLISH_KEY: &str = "NODEVENT_PUBLISH_KEY";

#[derive(Debug, Args)]
pub(super) struct PublishKeyArguments {
    /// File that contains the publish key, or `-` for standard input [default: the variable NODEVENT_PUBLISH_KEY, or the
    /// configured key for servers of the configuration].
    #[arg(long, global = true)]
    publish_key_file: Option<PathBuf>,
    /// Publish key. Every user of the machine can see it: use --publish-key-file.
    #[arg(long, global = true, conflicts_with = "publish_key_file")]
    publish_key: Option<String>,
}

// === impl PublishKeyArguments ===

impl PublishKeyArguments {
    /// The publish key of the command line or the environment. `reads_stdin`: standard input is the command's message.
    pub(super) fn given(&self, reads_stdin: bool) -> CommandResult<Option<String>> {
        if let Some(file) = &self.publish_key_file {
            if secret::is_stdin(file) && reads_stdin {
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

    /// The key to send to `url`. The configured one is sent to servers of the configuration only.
    pub(super) fn choose(
        given: Option<String>,
        configured: Option<String>,
        loaded: &Loaded,
        url: &str,
    ) -> Option<String> {
        match (given, configured) {
            (Some(given), _) => Some(given),
            (None, Some(_)) if !is_configured(loaded, url) => {
                output::warning(&format!(
                    "warning: the configured publish key is not sent to {url}, which is not in the configuration; \
                     pass it by --publish-key-file"
                ));
                None
            }
            (None, configured) => configured,
        }
    }
}
