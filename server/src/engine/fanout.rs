//! The way from an engine to the shards.

use crate::frame::Frame;
use crate::metrics::Metrics;
use crate::namespace::{Namespace, Namespaces};
use crate::shard::inbox::{EncodedPublication, Reservation};
use crate::shard::keeper::RecoveryReply;
use crate::shard::{Shards, ToShard};
use nodevent_protocol::history::Position;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The way from the engine of one namespace to the shards.
#[derive(Debug, Clone)]
pub struct Fanout {
    shards: Shards,
    namespaces: Arc<Namespaces>,
    number: u16,
    metrics: Arc<Metrics>,
}

/// A place in every shard's inbox.
#[derive(Debug)]
pub(super) struct Place<'a> {
    fanout: &'a Fanout,
    reservation: Reservation<'a>,
}

// === impl Place ===

impl Place<'_> {
    /// Passes a publication on.
    pub(super) fn pass(self, room: &str, frame: Frame, position: Option<Position>) {
        self.reservation.deliver(EncodedPublication::new(self.fanout.number, room, frame, position));
        self.fanout.metrics.publications.fetch_add(1, Relaxed);
    }
}

// === impl Fanout ===

impl Fanout {
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

    /// A publication's text, encoded for browsers.
    pub(super) fn frame(&self, text: &str) -> Frame {
        self.namespace().dialect.frame(self.name(), text)
    }

    /// Passes a publication on to the members of its room. Waits while the shards are behind.
    ///
    /// Calls for one namespace must follow one another: their order is the order every connection sees.
    pub(super) async fn pass(&self, room: &str, frame: Frame, position: Option<Position>) {
        self.reserve(frame.websocket().len()).await.pass(room, frame, position);
    }

    /// Waits until the shards have a place for a publication of about `bytes`. Passing it on then takes no time, in
    /// which whoever publishes might go away.
    pub(super) async fn reserve(&self, bytes: usize) -> Place<'_> {
        Place { fanout: self, reservation: self.shards.reserve(bytes).await }
    }

    /// Tells the members of a room that publications before `position` may be missing and cannot be had any more.
    pub(super) async fn tell_lost(&self, room: &str, position: Position) {
        let frame = self.namespace().dialect.lost(self.name(), room, position);
        self.put(room, frame, None).await;
        self.metrics.gaps.fetch_add(1, Relaxed);
        tracing::warn!(
            namespace = self.name(),
            "publications of a room may be missing and are not kept any more; its members were told"
        );
    }

    /// Answers a question of a shard.
    pub(super) fn answer(&self, answer: RecoveryReply) {
        let shard = answer.reply_to.shard;
        // There is always a place for what was asked for.
        let _ = self.shards.send(shard, ToShard::Answer(Box::new(answer)));
    }

    async fn put(&self, room: &str, frame: Frame, position: Option<Position>) {
        let reservation = self.shards.reserve(frame.websocket().len()).await;
        reservation.deliver(EncodedPublication::new(self.number, room, frame, position));
    }

    fn namespace(&self) -> &Namespace {
        self.namespaces.get(self.number)
    }
}
