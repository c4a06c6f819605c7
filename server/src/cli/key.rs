//! `nodevent key`: prints a key with which a browser may join a room.

use super::{Done, Target, USAGE};
use clap::Args;
use nodevent_protocol::{key, room};
use nodevent_server::{admission, config};
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nodevent key User_12 --expires-in 1h --config config/nodevent.yml")]
pub(super) struct Key {
    /// The room.
    room: String,
    /// How long the key is valid, like 30s, 5m or 1h.
    #[arg(long = "expires-in", default_value = "1h", value_parser = parse_duration)]
    lifetime: Duration,
    #[command(flatten)]
    target: Target,
}

// === impl Key ===

impl Key {
    pub(super) fn run(self) -> Done {
        let (loaded, namespace) = self.target.load()?;
        // A key for a room that nobody can join would only be refused later.
        room::check(&self.room, loaded.config.limits.max_room_name).map_err(|bad| (USAGE, bad.to_string()))?;
        let secret = namespace.secrets.first().ok_or_else(|| {
            let text =
                format!("{} has no secret, so its rooms need no key; set `secret:` to secure it", namespace.name);
            (USAGE, text)
        })?;
        let expires = admission::now_ms() + self.lifetime.as_millis() as u64;
        let key = key::sign(&self.room, expires, secret).map_err(|error| (USAGE, error.to_string()))?;
        println!("{key}");
        Ok(())
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text).ok_or_else(|| "write a duration with its unit, like 30s, 5m or 1h".to_owned())
}
