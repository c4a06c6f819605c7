//! Where publications travel and are kept: in this process, or in Redis.
//!
//! An engine is asked to publish, pushes what arrives into the shards through its [`Fanout`], and keeps the rooms'
//! history. **Architecture Invariant:** only [`redis`] knows Redis.

mod fanout;
mod kept;
pub mod memory;
pub mod redis;

pub use fanout::Fanout;

use crate::frame::Frame;
use crate::shard::keeper::{RecoveryOutcome, RecoveryReply, RecoveryRequest, RoomHistory, Since};
use memory::Memory;
use nodevent_protocol::history::{OffsetJump, Position};
use nodevent_protocol::publication::PublicationRef;
use redis::Redis;

/// The engine of one namespace.
#[derive(Debug)]
pub enum Engine {
    /// Everything in this process.
    Memory(Memory),
    /// Everything in Redis, shared with other processes.
    Redis(Redis),
}

/// The engines of all namespaces, by the namespace's number.
#[derive(Debug)]
pub struct Engines(Vec<Engine>);

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Redis cannot be reached, refuses, or did not answer in time. The text is Redis's own, without secrets.
    #[error("redis did not do it: {0}")]
    Away(String),
}

/// A room's history, as far as somebody has missed it.
#[derive(Debug, Clone)]
pub struct Read {
    /// Where the room stands.
    pub position: Position,
    /// Whether `missed` is all that came after the position that was named.
    pub recovered: bool,
    /// What came after it, in order; empty unless `recovered`.
    pub missed: Vec<Frame>,
}

// === impl Engine ===

impl Engine {
    /// Publishes a publication. When it returns, the engine has it. `once` is an idempotency key: the same one within
    /// the history's age publishes once. The answer is the publication's position, if its room has a history.
    ///
    /// # Errors
    /// [`EngineError`]: the engine does not have it, as far as it can tell.
    pub async fn publish(
        &self,
        publication: &PublicationRef<'_>,
        once: Option<&str>,
    ) -> Result<Option<Position>, EngineError> {
        match self {
            Self::Memory(memory) => Ok(memory.publish(publication, once).await),
            Self::Redis(redis) => redis.publish(publication, once).await,
        }
    }

    /// Reads what came after a position. `None`: the room has no history.
    ///
    /// # Errors
    /// [`EngineError`]: the engine could not be asked.
    pub async fn read(&self, room: &str, since: Since) -> Result<Option<Read>, EngineError> {
        match self {
            Self::Memory(memory) => Ok(memory.read(room, since)),
            Self::Redis(redis) => redis.read(room, since).await,
        }
    }

    /// Whether publications get through now, as shown by a probe that has gone through the engine and back.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(redis) => redis.is_ready(),
        }
    }

    /// What it is, for logs and `/readyz`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Redis(_) => "redis",
        }
    }
}

// === impl Engines ===

impl Engines {
    /// The engines, in the order of their namespaces' numbers.
    pub fn new(list: Vec<Engine>) -> Self {
        Self(list)
    }

    /// The engine of the namespace of that number.
    pub fn get(&self, number: u16) -> &Engine {
        &self.0[usize::from(number)]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Engine> {
        self.0.iter()
    }
}

impl RoomHistory for Engines {
    fn ask(&self, ask: RecoveryRequest) -> RecoveryOutcome {
        match self.get(ask.namespace) {
            Engine::Memory(memory) => match memory.read(&ask.room, ask.since) {
                None => RecoveryOutcome::NoHistory,
                Some(read) => RecoveryOutcome::Ready(read.answer(ask)),
            },
            Engine::Redis(redis) => redis.ask(ask),
        }
    }

    fn keeps(&self, namespace: u16, room: &str) -> bool {
        match self.get(namespace) {
            Engine::Memory(memory) => memory.keeps(room),
            Engine::Redis(redis) => redis.keeps(room),
        }
    }

    fn rest(&self, shard: u8, namespace: u16, room: &str) {
        if let Engine::Redis(redis) = self.get(namespace) {
            redis.rest(shard, room);
        }
    }
}

// === impl Read ===

impl Read {
    /// Judges what was found against what somebody says to have heard. `found` must follow one another up to
    /// `position`, and hold everything after `since` that is still kept.
    fn judge(
        position: Position,
        jump: Option<OffsetJump>,
        since: Since,
        found: impl DoubleEndedIterator<Item = Frame> + ExactSizeIterator,
    ) -> Self {
        let wanted = match since {
            Since::FirstJoin => Some(0),
            Since::Beginning => Some(found.len() as u64),
            Since::Position(since) => position.count_since(since, jump),
            Since::Invalid => None,
        };
        match wanted.and_then(|wanted| usize::try_from(wanted).ok()) {
            Some(wanted) if wanted <= found.len() => {
                let mut missed: Vec<Frame> = found.rev().take(wanted).collect();
                missed.reverse();
                Self { position, recovered: true, missed }
            }
            _ => Self { position, recovered: false, missed: Vec::new() },
        }
    }

    fn answer(self, ask: RecoveryRequest) -> RecoveryReply {
        RecoveryReply {
            reply_to: ask.reply_to,
            namespace: ask.namespace,
            room: ask.room,
            position: Some(self.position),
            recovered: self.recovered,
            missed: self.missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(offset: u64, since: Since, kept: u64) -> (bool, Vec<String>) {
        let frames: Vec<Frame> = (offset - kept + 1..=offset).map(|one| Frame::text(&one.to_string())).collect();
        let read = Read::judge(Position { epoch: 1, offset }, None, since, frames.into_iter());
        let texts = read.missed.iter().map(|frame| String::from_utf8_lossy(frame.packet()).into_owned());
        (read.recovered, texts.collect())
    }

    fn since(epoch: u64, offset: u64) -> Since {
        Since::Position(Position { epoch, offset })
    }

    #[test]
    fn exactly_what_was_missed_is_replayed() {
        assert_eq!(judge(5, since(1, 3), 5), (true, vec!["4".into(), "5".into()]));
        assert_eq!(judge(5, since(1, 5), 0), (true, vec![]), "nothing was missed on a quiet room");
        assert_eq!(judge(5, Since::FirstJoin, 5), (true, vec![]), "who has heard nothing has missed nothing");
    }

    #[test]
    fn a_part_is_never_passed_off_as_the_whole() {
        assert_eq!(judge(5, since(1, 1), 3), (false, vec![]), "2 was evicted");
        assert_eq!(judge(5, since(2, 4), 5), (false, vec![]), "another epoch");
        assert_eq!(judge(5, since(1, 6), 5), (false, vec![]), "a position that was never given");
        assert_eq!(judge(5, Since::Invalid, 5), (false, vec![]));
    }
}
