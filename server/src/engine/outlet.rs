//! The way from an engine to the shards.

use crate::frame::Frame;
use crate::metrics::Metrics;
use crate::namespace::{Namespace, Namespaces};
use crate::shard::keeper::Answer;
use crate::shard::{Shards, ToShard, inbox};
use nodevent_protocol::history::Position;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The way from the engine of one namespace to the shards.
#[derive(Debug, Clone)]
pub struct Outlet {
    shards: Shards,
    namespaces: Arc<Namespaces>,
    number: u16,
    metrics: Arc<Metrics>,
}

// === impl Outlet ===

impl Outlet {
    /// The way to the shards for the namespace of that number.
    pub fn new(shards: Shards, namespaces: Arc<Namespaces>, number: u16, metrics: Arc<Metrics>) -> Self {
        Self { shards, namespaces, number, metrics }
    }

    /// The namespace's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.namespace().name
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// An emission's text, encoded for browsers.
    pub(super) fn frame(&self, text: &str) -> Frame {
        self.namespace().dialect.frame(self.name(), text)
    }

    /// Passes an emission on to the members of its room. Waits while the shards are behind.
    ///
    /// Calls for one namespace must follow one another: their order is the order every connection sees.
    pub(super) async fn pass(&self, room: &str, frame: Frame, position: Option<Position>) {
        self.put(room, frame, position).await;
        self.metrics.emissions.fetch_add(1, Relaxed);
    }

    /// Tells the members of a room that emissions before `position` may be missing and cannot be had any more.
    pub(super) async fn tell_lost(&self, room: &str, position: Position) {
        let frame = self.namespace().dialect.lost(self.name(), room, position);
        self.put(room, frame, None).await;
        self.metrics.gaps.fetch_add(1, Relaxed);
        tracing::warn!(
            namespace = self.name(),
            "emissions of a room may be missing and are not kept any more; its members were told"
        );
    }

    /// Answers a question of a shard.
    pub(super) fn answer(&self, answer: Answer) {
        let shard = answer.asker.shard;
        if self.shards.send(shard, ToShard::Answer(Box::new(answer))).is_err() {
            tracing::error!("a shard's inbox is full; a join stays unanswered, and its connection will try again");
        }
    }

    async fn put(&self, room: &str, frame: Frame, position: Option<Position>) {
        let reservation = self.shards.reserve(&frame).await;
        reservation.deliver(inbox::Emission { namespace: self.number, room: room.into(), frame, position });
    }

    fn namespace(&self) -> &Namespace {
        self.namespaces.get(self.number)
    }
}
