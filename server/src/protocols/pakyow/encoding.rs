//! The encoding of the protocol `pakyow`: `{"payload": …, "channel": …}`.

use crate::encoding::{Encoding, Frame};
use nodevent_protocol::history::Position;
use nodevent_protocol::pages::{CHANNEL_PREFIX, ITSELF};
use nodevent_protocol::pakyow;
use nodevent_protocol::topic::Topic;

/// The encoding of all connections.
#[derive(Debug)]
pub(super) struct PakyowEncoding;

// === impl PakyowEncoding ===

impl Encoding for PakyowEncoding {
    fn publication(&self, text: &str, _position: Option<Position>) -> Frame {
        Frame::text(&pakyow::message(text))
    }

    fn gap(&self, topic: Topic<'_>, _position: Position) -> Frame {
        let channel = match topic {
            Topic::Room(room) => room.strip_prefix(CHANNEL_PREFIX).unwrap_or(room),
            Topic::User(_) | Topic::All => ITSELF,
        };
        Frame::text(&pakyow::gap(channel))
    }
}
