//! Several dialects in one namespace.
//!
//! Each receives every event, and ignores those that it does not know. A publication, a join and a gap belong to the
//! one dialect that owns their topic.

use crate::history::RequestId;
use crate::protocol::{JoinError, Joined};
use crate::protocols::socket_io::dialect::{ConnectRequest, Dialect, Event, Operations};
use nodevent_protocol::history::Position;
use nodevent_protocol::publication;
use nodevent_protocol::topic::Topic;
use std::sync::Arc;

/// Several dialects.
#[derive(Debug)]
pub(super) struct Shared(Vec<Arc<dyn Dialect>>);

// === impl Shared ===

impl Shared {
    /// They must own different topics, and have different events.
    pub(super) fn new(all: Vec<Arc<dyn Dialect>>) -> Self {
        Self(all)
    }

    /// The dialect that owns a topic. What none owns is left to the first.
    fn owner(&self, topic: Topic<'_>) -> &dyn Dialect {
        let owner = self.0.iter().find(|one| one.owns(topic));
        &**owner.unwrap_or(&self.0[0])
    }
}

impl Dialect for Shared {
    fn connected(&self, operations: &mut dyn Operations, request: &ConnectRequest) {
        self.0.iter().for_each(|one| one.connected(operations, request));
    }

    fn restore(&self, operations: &mut dyn Operations, topic: Topic<'_>, kept: Option<&str>) {
        self.owner(topic).restore(operations, topic, kept);
    }

    fn event(&self, operations: &mut dyn Operations, event: Event) {
        for one in &self.0 {
            let Event { args, ack_id, attachments } = &event;
            let event = Event { args: args.clone(), ack_id: *ack_id, attachments: attachments.clone() };
            one.event(operations, event);
        }
    }

    fn joined(&self, operations: &mut dyn Operations, request: RequestId, result: Result<Joined, JoinError>) {
        // Only a user who is named by a number is joined by a request.
        self.owner(Topic::User("")).joined(operations, request, result);
    }

    fn joined_by_token(
        &self,
        operations: &mut dyn Operations,
        topic: Topic<'_>,
        result: Result<Joined, JoinError>,
    ) {
        self.owner(topic).joined_by_token(operations, topic, result);
    }

    fn write_publication(&self, packet: &mut String, text: &str) {
        let topic = publication::parse(text.as_bytes()).map(|publication| publication.topic.into_owned());
        self.owner(Topic::parse(topic.as_deref().unwrap_or_default())).write_publication(packet, text);
    }

    fn gap(&self, topic: Topic<'_>, position: Position) -> String {
        self.owner(topic).gap(topic, position)
    }
}
