//! The two scripts that keep a room's history in Redis, called.

use super::{COMMAND_TIMEOUT, link};
use crate::capability::Unavailable;
use crate::publication::Publication;
use fred::clients::Client;
use fred::interfaces::LuaInterface;
use fred::types::{FromValue, Value};
use nodevent_protocol::history::{self, Keys, OffsetJump, Position, Publish, Retention};
use std::sync::Arc;

/// A script and the name under which Redis remembers it.
#[derive(Debug)]
struct Script {
    text: &'static str,
    sha: String,
}

/// Both scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    publish: Script,
    read: Script,
}

/// What the script `read` answers.
#[derive(Debug)]
pub(super) struct HistorySlice {
    /// Where the room stands.
    pub(super) position: Position,
    /// The publications after the offset that was named, in order, as far as they are kept.
    pub(super) texts: Vec<String>,
    /// The last offsets that were left out.
    pub(super) jump: Option<OffsetJump>,
}

// === impl Script ===

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, sha: history::script_sha(text) }
    }

    async fn run<R: FromValue>(
        &self,
        client: &Client,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<R, Unavailable> {
        let run = async {
            link::wait_connected(client).await;
            let known = client.evalsha::<R, _, _, _>(self.sha.as_str(), keys.clone(), args.clone()).await;
            match known {
                // A Redis that has not seen it, or has forgotten it.
                Err(error) if error.details().starts_with("NOSCRIPT") => client.eval(self.text, keys, args).await,
                other => other,
            }
        };
        match tokio::time::timeout(COMMAND_TIMEOUT, run).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(unavailable(error.details().to_owned())),
            Err(_) => Err(timed_out()),
        }
    }
}

// === impl HistorySlice ===

impl HistorySlice {
    /// The publications, with their positions.
    pub(super) fn publications(&self, room: &str) -> Vec<Arc<Publication>> {
        let last = self.texts.len().saturating_sub(1);
        let position = |index: usize| self.position.nth_before((last - index) as u64, self.jump);
        let texts = self.texts.iter().enumerate();
        texts.map(|(index, text)| Publication::in_room(room, text.as_str(), Some(position(index)))).collect()
    }
}

/// Redis is unavailable for that reason.
pub(super) fn unavailable(reason: impl Into<String>) -> Unavailable {
    Unavailable { engine: "Redis", reason: reason.into() }
}

/// Redis did not respond in time.
pub(super) fn timed_out() -> Unavailable {
    unavailable(format!("no response within {} s", COMMAND_TIMEOUT.as_secs()))
}

// === impl Scripts ===

impl Scripts {
    pub(super) fn new() -> Self {
        Self { publish: Script::new(history::PUBLISH), read: Script::new(history::READ) }
    }

    /// Gives a publication its position, keeps it and publishes it. `once` is the idempotency key.
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
        let (position, _receivers, _before): (String, i64, i64) = self.publish.run(client, names, args).await?;
        Ok(Position::parse(&position))
    }

    /// Reads a room's position, and what came after `after`; `None`: the position alone. `heard` is the last that was
    /// heard live here: a witness of what this Redis must know.
    pub(super) async fn read(
        &self,
        client: &Client,
        keys: &Keys,
        after: Option<u64>,
        heard: Option<Position>,
        retention: Retention,
    ) -> Result<HistorySlice, Unavailable> {
        let names = vec![keys.position.clone(), keys.log.clone()];
        let args: Vec<Value> = vec![
            Position::epoch_text(rand::random()).into(),
            (retention.position_ttl().as_millis() as i64).into(),
            after.map_or(-1, |after| after as i64).into(),
            heard.map(|heard| Position::epoch_text(heard.epoch)).unwrap_or_default().into(),
            heard.map(|heard| heard.offset.to_string()).unwrap_or_default().into(),
        ];
        type Reply = (String, u64, Vec<String>, String, String, String);
        let (epoch, offset, texts, from, to, lossless): Reply = self.read.run(client, names, args).await?;
        let epoch = history::parse_epoch(&epoch);
        let epoch = epoch.ok_or_else(|| unavailable("unexpected value in the position key of a room"))?;
        let jump = from.parse().ok().zip(to.parse().ok());
        let jump = jump.map(|(from, to)| OffsetJump { from, to, lossless: lossless == "1" });
        Ok(HistorySlice { position: Position { epoch, offset }, texts, jump })
    }
}
