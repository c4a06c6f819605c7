//! Calls the scripts that store histories and revocations in Redis. `nodevent_protocol::history` has their text.

use super::verified_script::VerifiedScript;
use super::{COMMAND_TIMEOUT, client};
use crate::capability::Unavailable;
use crate::config::redis::Redis as RedisConfig;
use crate::history::Since;
use crate::publication::{Publication, StoredText};
use fred::clients::Client;
use fred::interfaces::LuaInterface;
use fred::types::{FromValue, Value};
use nodevent_protocol::action_cable::stored;
use nodevent_protocol::history::{self, Keys, OffsetJump, Position, Publish, Read, Retention};
use std::sync::Arc;

/// A script and the name under which Redis caches it.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    sha: String,
}

/// All scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    publish: Script,
    verified_publish: VerifiedScript,
    read: Script,
    find_time: Script,
    revoke: Script,
    read_revocations: Script,
}

/// The result of a read: a room's position, and a part of its history.
#[derive(Debug)]
pub(super) struct HistorySlice {
    /// The room's position; absent if the room does not exist.
    pub(super) position: Position,
    /// The absent position at which the room was created. `None`: the room does not exist.
    pub(super) born: Option<Position>,
    /// The stored publications after the requested offset, in order.
    pub(super) texts: Vec<StoredText>,
    /// The last jump of the room's offset.
    pub(super) jump: Option<OffsetJump>,
}

/// Why a script returned no result.
#[derive(Debug)]
pub(super) struct ScriptError {
    pub(super) unavailable: Unavailable,
    /// Whether the same call would fail again.
    pub(super) is_permanent: bool,
}

// === impl ScriptError ===

impl ScriptError {
    /// An error that a retry may fix.
    pub(super) fn transient(reason: impl Into<String>) -> Self {
        Self { unavailable: unavailable(reason), is_permanent: false }
    }

    /// An error in Redis's own words.
    pub(super) fn from_redis(details: &str) -> Self {
        Self { unavailable: unavailable(details), is_permanent: history::is_permanent(details) }
    }

    pub(super) fn timed_out() -> Self {
        Self::transient(format!("no response within {} s", COMMAND_TIMEOUT.as_secs()))
    }
}

/// Returns that Redis is unavailable for that reason.
fn unavailable(reason: impl Into<String>) -> Unavailable {
    Unavailable { engine: "Redis", reason: reason.into() }
}

// === impl Script ===

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, sha: history::script_sha(text) }
    }

    /// Runs the script.
    ///
    /// # Errors
    /// Returns [`ScriptError`] if Redis returned an error, something unexpected, or nothing.
    pub(super) async fn run<R: FromValue>(
        &self,
        client: &Client,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<R, ScriptError> {
        let run = async {
            client::wait_connected(client).await;
            let known = client.evalsha::<R, _, _, _>(self.sha.as_str(), keys.clone(), args.clone()).await;
            match known {
                // This Redis has not cached it, or not any more.
                Err(error) if error.details().starts_with("NOSCRIPT") => client.eval(self.text, keys, args).await,
                other => other,
            }
        };
        match tokio::time::timeout(COMMAND_TIMEOUT, run).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(ScriptError::from_redis(error.details())),
            Err(_) => Err(ScriptError::timed_out()),
        }
    }
}

// === impl HistorySlice ===

impl HistorySlice {
    /// Takes the publications, with their positions.
    pub(super) fn take_publications(&mut self, room: &str) -> Vec<Arc<Publication>> {
        let texts = std::mem::take(&mut self.texts);
        let last = texts.len().saturating_sub(1);
        let position = |index: usize| self.position.nth_before((last - index) as u64, self.jump);
        let texts = texts.into_iter().enumerate();
        texts.map(|(index, text)| text.placed(room, Some(position(index)))).collect()
    }

    /// Replaces an absent position in `since` by the position of the room that it represents. It becomes invalid if
    /// the room may have existed since then and was forgotten.
    pub(super) fn resolve(&self, since: Since) -> Since {
        match since {
            Since::Position(absent) if absent.is_absent() => {
                let start = if self.position.is_absent() {
                    absent.is_absent_until(self.position).then_some(self.position)
                } else {
                    let follows = self.born.is_some_and(|born| absent.is_absent_until(born));
                    follows.then_some(Position { offset: 0, ..self.position })
                };
                start.map_or(Since::Invalid, Since::Position)
            }
            other => other,
        }
    }
}

// === impl Scripts ===

impl Scripts {
    pub(super) fn new(redis: &RedisConfig) -> Self {
        Self {
            publish: Script::new(history::PUBLISH),
            verified_publish: VerifiedScript::new(history::PUBLISH, redis),
            read: Script::new(history::READ),
            find_time: Script::new(stored::FIND_TIME),
            revoke: Script::new(history::REVOKE),
            read_revocations: Script::new(history::READ_REVOCATIONS),
        }
    }

    /// Assigns a publication its position, stores it and publishes it.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if Redis did not confirm it.
    pub(super) async fn publish(
        &self,
        client: &Client,
        keys: &Keys,
        publish: &Publish<'_>,
        idempotency_key: Option<&str>,
    ) -> Result<Option<Position>, Unavailable> {
        let mut names = vec![keys.position.clone(), keys.log.clone()];
        names.extend(idempotency_key.map(|key| keys.idempotency(key)));
        let args: Vec<Value> = publish.args().into_iter().map(Value::from).collect();
        let reply = match self.verified_publish.run(client, names.clone(), args.clone()).await {
            Some(reply) => reply,
            None => self.publish.run(client, names, args).await,
        };
        let (position, _receivers, _before): (String, i64, i64) = reply.map_err(|error| error.unavailable)?;
        Ok(Position::parse(&position))
    }

    /// Finds the position before what was published at a time or later. Milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Returns [`ScriptError`] if Redis returned an error, something unexpected, or nothing.
    pub(super) async fn find_time(
        &self,
        client: &Client,
        keys: &Keys,
        since_ms: u64,
        retention: Retention,
    ) -> Result<Since, ScriptError> {
        let names = vec![keys.position.clone(), keys.log.clone()];
        let args = [since_ms.to_string(), retention.age.as_millis().to_string()];
        let found: String = self.find_time.run(client, names, args.into_iter().map(Value::from).collect()).await?;
        Ok(match &*found {
            // Nothing was ever published.
            "none" => Since::FirstJoin,
            found => Position::parse(found).map_or(Since::Invalid, Since::Position),
        })
    }

    /// Stores a revocation, and announces it.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if Redis did not confirm it.
    pub(super) async fn revoke(
        &self,
        client: &Client,
        keys: Vec<String>,
        args: Vec<String>,
    ) -> Result<(), Unavailable> {
        let args = args.into_iter().map(Value::from).collect();
        let stored: Result<i64, _> = self.revoke.run(client, keys, args).await;
        stored.map(drop).map_err(|error| error.unavailable)
    }

    /// Reads a page of revocations.
    ///
    /// # Errors
    /// Returns [`ScriptError`] if Redis returned an error, something unexpected, or nothing.
    pub(super) async fn read_revocations(
        &self,
        client: &Client,
        keys: Vec<String>,
        after: (&str, u64),
    ) -> Result<(String, u64, Vec<String>), ScriptError> {
        let args = vec![Value::from(after.0.to_owned()), Value::from(after.1.to_string())];
        self.read_revocations.run(client, keys, args).await
    }

    /// Reads a room's position, and a part of its history.
    ///
    /// # Errors
    /// Returns [`ScriptError`] if Redis returned an error, something unexpected, or nothing.
    pub(super) async fn read(&self, client: &Client, keys: &Keys, read: Read) -> Result<HistorySlice, ScriptError> {
        let names = vec![keys.position.clone(), keys.log.clone()];
        let args = read.args().into_iter().map(Value::from).collect();
        type Reply = (String, u64, Vec<String>, String, String, String, String);
        let (epoch, offset, texts, from, to, lossless, born): Reply = self.read.run(client, names, args).await?;
        let epoch = history::parse_epoch(&epoch);
        let epoch =
            epoch.ok_or_else(|| ScriptError::from_redis("ERR unexpected value in the room position key"))?;
        let jump = from.parse().ok().zip(to.parse().ok());
        let jump = jump.map(|(from, to)| OffsetJump { from, to, lossless: lossless == "1" });
        let (position, born) = (Position { epoch, offset }, Position::parse(&born));
        Ok(HistorySlice { position, born, texts: texts.into_iter().map(StoredText::new).collect(), jump })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: u64 = 1 << 63;

    fn slice(position: Position, born: Option<Position>) -> HistorySlice {
        HistorySlice { position, born, texts: Vec::new(), jump: None }
    }

    #[test]
    fn absent_position_is_the_beginning_of_the_room_that_was_created_after_it() {
        let absent = |offset| Position { epoch: ABSENT, offset };
        let room = slice(Position { epoch: 1, offset: 3 }, Some(absent(10)));
        let start = Since::Position(Position { epoch: 1, offset: 0 });
        assert_eq!(room.resolve(Since::Position(absent(9))), start);
        assert_eq!(room.resolve(Since::Position(absent(11))), Since::Invalid, "the room existed then");
        let other = Position { epoch: ABSENT + 1, offset: 9 };
        assert_eq!(room.resolve(Since::Position(other)), Since::Invalid, "another run of Redis");
        let none = slice(absent(20), None);
        assert_eq!(none.resolve(Since::Position(absent(9))), Since::Position(absent(20)));
        assert_eq!(none.resolve(Since::Position(other)), Since::Invalid);
        assert_eq!(none.resolve(Since::FirstJoin), Since::FirstJoin);
    }

    #[test]
    fn errors_that_would_recur_are_distinguished_from_states_of_redis() {
        for permanent in
            ["ERR Invalid stream ID", "WRONGTYPE Operation against a key", "NOPERM this user has no permissions"]
        {
            assert!(history::is_permanent(permanent), "{permanent}");
        }
        for transient in [
            "OOM command not allowed",
            "READONLY You can't write against a read only replica",
            "ERR Error running script (call to f_1): @user_script:9: -OOM command not allowed",
            "LOADING Redis is loading",
            "timed out",
            "",
        ] {
            assert!(!history::is_permanent(transient), "{transient}");
        }
    }
}
