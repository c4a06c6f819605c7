//! The encoding of the protocol `plain`: publications as they were published, with their position.

use crate::encoding::{Encoding, Frame};
use nodevent_protocol::history::Position;
use nodevent_protocol::plain;
use nodevent_protocol::topic::Topic;

/// The encoding of all connections.
#[derive(Debug)]
pub(super) struct PlainEncoding;

// === impl PlainEncoding ===

impl Encoding for PlainEncoding {
    fn publication(&self, text: &str, _position: Option<Position>) -> Frame {
        Frame::text(text)
    }

    fn gap(&self, topic: Topic<'_>, position: Position) -> Frame {
        Frame::text(&plain::gap(topic, position))
    }
}
