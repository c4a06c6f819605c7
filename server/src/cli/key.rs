//! `nodevent key`: prints a key with which a browser may join a room.

use super::{CommandResult, Failure, Target, output, secret};
use clap::Args;
use nodevent_protocol::key::Secret;
use nodevent_protocol::room;
use nodevent_server::{clock, config};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent key User_12 --expires-in 1h --config config/nodevent.yml
  nodevent key User_12 --secret-file /run/secrets/nodevent")]
pub(super) struct Key {
    /// Room.
    room: String,
    /// Lifetime of the key, like 30s, 5m or 1h.
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    expires_in: Duration,
    /// File that contains the secret, or `-` for standard input [default: the configured secret].
    #[arg(long)]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

// === impl Key ===

impl Key {
    pub(super) fn run(self) -> CommandResult {
        let (loaded, namespace) = self.target.load()?;
        // A key for a room that no client can join would be rejected only later.
        room::check(&self.room, loaded.config.limits.max_room_name)
            .map_err(|bad| Failure::usage(bad.to_string()))?;
        let secret = match &self.secret_file {
            Some(file) => {
                let is_invalid =
                    |_| Failure::usage(format!("{} is empty; write the secret into it", file.display()));
                Some(Secret::new(secret::read(file)?).map_err(is_invalid)?)
            }
            None => namespace.secrets.first().cloned(),
        };
        let secret = secret.ok_or_else(|| {
            let name = &namespace.name;
            if !namespace.is_open() {
                return Failure::usage(format!(
                    "{name} has no secret for keys: only tokens open its rooms; sign one with `room` in the application"
                ));
            }
            Failure::usage(format!("{name} has no secret, so its rooms need no key; set `secret:` to secure it"))
        })?;
        let key =
            namespace.sign_key(&self.room, self.expires_in, clock::now_ms(), &secret).map_err(Failure::usage)?;
        output::line(&key);
        Ok(())
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text).ok_or_else(|| "write a duration with its unit, like 30s, 5m or 1h".to_owned())
}
