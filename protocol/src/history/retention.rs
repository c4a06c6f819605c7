//! The retention of a room's history: its size and age.

use serde::Deserialize;
use std::time::Duration;

/// The retention of one room.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Maximum number of publications.
    pub size: usize,
    /// Memory engine: time for which a publication is stored. Redis: time for which the log is stored after its last
    /// publication.
    pub age: Duration,
}

/// The retention of all rooms of a namespace.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RetentionPolicy {
    /// Retention of rooms without a prefix in `prefixes`. `None`: no history.
    pub default: Option<Retention>,
    /// Retention of rooms by the beginning of their names. The longest prefix wins.
    pub prefixes: Vec<(String, Option<Retention>)>,
}

/// Minimum time for which a room's position is stored after its last publication, in Redis also after its
/// last read for a member: one day.
pub const MIN_POSITION_TTL: Duration = Duration::from_secs(86_400);
/// A position is stored longer than its log by this factor. Clients that return after the log has expired can then still
/// learn that they missed nothing.
const POSITION_TTL_FACTOR: u32 = 10;

impl Default for Retention {
    /// 100 publications, five minutes.
    fn default() -> Self {
        Self { size: 100, age: Duration::from_secs(300) }
    }
}

impl Default for RetentionPolicy {
    /// The default [`Retention`] for every room.
    fn default() -> Self {
        Self { default: Some(Retention::default()), prefixes: Vec::new() }
    }
}

// === impl Retention ===

impl Retention {
    /// Time for which a room's position is stored after its last publication, in Redis also after its last read
    /// for a member.
    #[must_use]
    pub fn position_ttl(&self) -> Duration {
        (self.age * POSITION_TTL_FACTOR).max(MIN_POSITION_TTL)
    }
}

// === impl RetentionPolicy ===

impl RetentionPolicy {
    /// Returns the retention of a room. `None`: it has no history.
    #[must_use]
    pub fn of(&self, room: &str) -> Option<Retention> {
        let matching = self.prefixes.iter().filter(|(prefix, _)| room.starts_with(prefix.as_str()));
        matching.max_by_key(|(prefix, _)| prefix.len()).map_or(self.default, |(_, retention)| *retention)
    }

    /// Returns whether any room has a history.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.default.is_some() || self.prefixes.iter().any(|(_, retention)| retention.is_some())
    }
}
