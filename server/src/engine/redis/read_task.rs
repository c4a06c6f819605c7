//! One read of a room, outside of the subscriber's task: subscribes to the room's channel if necessary, then runs the
//! script.
//!
//! Redis executes nothing else while it runs a script, and the replies arrive on the connection that publishes. So what
//! members have missed is read in pages. A read that needs more than one waits for its turn ([`super::long_reads`]), unless
//! what its members receive live waits for it.

use super::history_pages::{HistoryPages, IMPOSSIBLE, NextPage};
use super::long_reads::LongReads;
use super::script::{HistorySlice, ScriptError};
use super::{COMMAND_TIMEOUT, Shared, client};
use crate::client::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, PubsubInterface};
use fred::types::Value;
use nodevent_protocol::history::{Keys, Position, Read, Retention};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

/// A read to execute.
pub(super) struct ReadTask {
    pub(super) shared: Arc<Shared>,
    pub(super) keys: Keys,
    /// Whether to subscribe to the room's channel first. Otherwise a publication between the read and the subscription
    /// would be lost.
    pub(super) subscribe_first: bool,
    /// Whether the channel is in one slot of a cluster only.
    pub(super) sharded_pubsub: bool,
    /// Set if Redis does not have such channels.
    pub(super) sharded_pubsub_unsupported: Arc<AtomicBool>,
    /// The offset after which to read. `None`: the position alone.
    pub(super) after: Option<u64>,
    /// Whether publications for the room's members wait for this read.
    pub(super) is_urgent: bool,
    /// The clients that have requested it.
    pub(super) clients: Vec<Client>,
    pub(super) long_reads: Arc<LongReads>,
    /// The last position that was received live.
    pub(super) received: Option<Position>,
    /// `None`: the room has no history.
    pub(super) retention: Option<Retention>,
}

// === impl ReadTask ===

impl ReadTask {
    /// Runs. `None`: the room has no history, so there was nothing to read.
    ///
    /// # Errors
    /// Returns the error of the subscription or of the script.
    pub(super) async fn run(self) -> Result<Option<HistorySlice>, ScriptError> {
        if self.subscribe_first {
            match tokio::time::timeout(COMMAND_TIMEOUT, self.subscribe()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(ScriptError::transient(error.details())),
                Err(_) => return Err(ScriptError::timed_out()),
            }
        }
        let Some(retention) = self.retention else { return Ok(None) };
        match self.after {
            Some(after) => self.read_pages(retention, after).await.map(Some),
            None => self.read(retention, None, None).await.map(Some),
        }
    }

    async fn read(
        &self,
        retention: Retention,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<HistorySlice, ScriptError> {
        let Shared { publisher, scripts, .. } = &*self.shared;
        let read = Read { keep: Some(retention), after, received: self.received, limit };
        scripts.read(publisher, &self.keys, read).await
    }

    /// Reads what follows an offset, page by page.
    async fn read_pages(&self, retention: Retention, after: u64) -> Result<HistorySlice, ScriptError> {
        let (mut pages, mut turn) = (HistoryPages::after(after, self.shared.max_history_bytes), None);
        loop {
            let (next, count) = pages.next();
            let began = Instant::now();
            let page = self.read(retention, Some(next), Some(count)).await?;
            match pages.add(page) {
                NextPage::Complete(slice) => return Ok(slice),
                NextPage::Impossible => return Err(ScriptError::transient(IMPOSSIBLE)),
                NextPage::Unpaged => return self.read(retention, Some(after), None).await,
                NextPage::Read if self.is_urgent || pages.is_short() => {}
                NextPage::Read => {
                    let pause = began.elapsed();
                    if turn.is_none() {
                        turn = Some(self.long_reads.turn(&self.clients).await);
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn subscribe(&self) -> Result<(), Error> {
        let (subscriber, channel) = (&self.shared.subscriber, self.keys.channel());
        client::wait_connected(subscriber).await;
        if self.sharded_pubsub {
            match subscriber.ssubscribe(channel.as_str()).await {
                Err(error) if is_unknown_command(&error) => self.sharded_pubsub_unsupported.store(true, Relaxed),
                other => return other,
            }
        }
        subscriber.subscribe(channel).await?;
        // The client returns before it has written the command. A reply on the same connection shows that Redis has
        // executed it.
        subscriber.ping::<Value>(None).await.map(|_pong| ())
    }
}

/// Returns whether Redis does not have the command.
fn is_unknown_command(error: &Error) -> bool {
    error.details().starts_with("ERR unknown command")
}
