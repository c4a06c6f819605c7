//! How publications look on the wire: the encodings of the protocols, and the frames that they produce.
//!
//! Each protocol implements [`Encoding`] for its own messages. The delivery path knows nothing else about a protocol.

use nodevent_protocol::action_cable::refresh::Refresh;
use nodevent_protocol::history::Position;
use nodevent_protocol::topic::Topic;
use nodevent_protocol::websocket::{self, Opcode};
use std::fmt;
use std::iter::repeat_n;
use std::sync::Arc;

/// Encodes what members of a room receive.
///
/// Members that share one `Arc` of an encoding share its frames. An encoding with a parameter, such as the identifier of
/// a subscription, is one value per parameter.
pub trait Encoding: fmt::Debug + Send + Sync {
    /// Encodes a publication: the object as it was published, with its position as the last member if it has one.
    fn publication(&self, text: &str, position: Option<Position>) -> Frame;

    /// As [`Encoding::publication`], if few members share the result. What costs much to encode is left out.
    fn publication_for_few(&self, text: &str, position: Option<Position>) -> Frame {
        self.publication(text, position)
    }

    /// Encodes the notice that publications of a topic before `position` may be missing and cannot be recovered.
    fn gap(&self, topic: Topic<'_>, position: Position) -> Frame;

    /// Whether a connection receives each copy of what was published to several targets. Otherwise it receives the
    /// first one: for most protocols the copies are one event.
    fn receives_each_copy(&self) -> bool {
        false
    }

    /// Encodes the notice that the connection does not receive the publication at `position`: its page is excluded, or it
    /// has received a copy. `None`: clients do not follow positions.
    fn skipped(&self, topic: Topic<'_>, position: Position) -> Option<Frame> {
        let _ = (topic, position);
        None
    }

    /// Whether refreshes of Turbo are merged. Then a publication that is a refresh has no frame of its own.
    fn merges_refreshes(&self) -> bool {
        false
    }

    /// Encodes refreshes of Turbo that were merged.
    fn refresh(&self, refresh: &Refresh) -> Option<Frame> {
        let _ = refresh;
        None
    }

    /// A frame of this encoding with an offset, for a connection that can be restored. `None`: the frame as it is.
    fn with_offset(&self, frame: &Frame, offset: &str) -> Option<Frame> {
        let _ = (frame, offset);
        None
    }

    /// The encoding of which this one compresses the publications. `None`: it does not compress; see [`crate::deflate`].
    fn plain(&self) -> Option<&Arc<dyn Encoding>> {
        None
    }
}

/// One message for a connection, encoded once and shared by every connection that receives it.
///
/// # Shape
/// `[WebSocket header][payload]` in one allocation. A WebSocket sends all of it. The other transports send the payload, and
/// receive no frame that is compressed.
#[derive(Debug, Clone)]
pub struct Frame {
    bytes: Arc<[u8]>,
    /// The offset of the payload. A server's header has 2, 4 or 10 bytes.
    payload: u8,
    binary: bool,
}

// === impl Frame ===

impl Frame {
    /// A text message.
    pub fn text(payload: &str) -> Self {
        Self::new(Opcode::Text, payload.as_bytes())
    }

    /// A binary message.
    pub fn binary(payload: &[u8]) -> Self {
        Self::new(Opcode::Binary, payload)
    }

    /// A message that is not sent: the protocol has none for what happened.
    pub fn nothing() -> Self {
        Self { bytes: Arc::new([]), payload: 0, binary: false }
    }

    fn new(opcode: Opcode, payload: &[u8]) -> Self {
        let header = websocket::header(opcode, payload.len());
        Self::from_parts(&header, payload, matches!(opcode, Opcode::Binary))
    }

    /// In one allocation: one frame is encoded for each publication and encoding.
    fn from_parts(header: &[u8], payload: &[u8], binary: bool) -> Self {
        let mut bytes: Arc<[u8]> = repeat_n(0, header.len() + payload.len()).collect();
        // It is not shared yet.
        if let Some(bytes) = Arc::get_mut(&mut bytes) {
            let (head, rest) = bytes.split_at_mut(header.len());
            head.copy_from_slice(header);
            rest.copy_from_slice(payload);
        }
        Self { bytes, payload: header.len() as u8, binary }
    }

    /// The same message, with a payload that is compressed.
    pub fn with_deflated(&self, payload: &[u8]) -> Self {
        let opcode = if self.binary { Opcode::Binary } else { Opcode::Text };
        let header = websocket::deflated_header(opcode, payload.len());
        Self::from_parts(&header, payload, self.binary)
    }

    /// The whole frame, for a WebSocket.
    pub fn websocket(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The payload alone, for the other transports.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.payload)..]
    }

    /// The bytes that all members share.
    pub fn shared(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Whether this is a binary message.
    pub fn is_binary(&self) -> bool {
        self.binary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_carries_its_payload_behind_the_shortest_header() {
        let frame = Frame::text("42[\"event\",1]");
        assert_eq!(frame.websocket()[..2], [0x81, 13]);
        assert_eq!(frame.payload(), b"42[\"event\",1]");
        let long = Frame::text(&"x".repeat(200));
        assert_eq!(long.websocket()[..4], [0x81, 126, 0, 200]);
        assert_eq!(long.payload().len(), 200);
    }
}
