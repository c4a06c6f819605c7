//! The encoding of a subscription: its messages with its identifier.
//!
//! Viewers of one page have the same identifier and share an encoding, and with it each frame. [`Encodings`] finds it.

use crate::encoding::{Encoding, Frame};
use nodevent_protocol::action_cable::refresh::Refresh;
use nodevent_protocol::action_cable::{frame, identifier, whisper};
use nodevent_protocol::history::Position;
use nodevent_protocol::presence::{self, Event};
use nodevent_protocol::publication::message_of;
use nodevent_protocol::topic::Topic;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The length of an identifier that counts as nothing. Those of pages have a few hundred bytes.
const SHORT: usize = 512;

/// What the copies of an identifier hold if it is a long one, which a client makes up to take memory. Bytes.
pub(super) fn long_bytes(identifier: &str) -> usize {
    2 * identifier.len().saturating_sub(SHORT)
}

/// The encodings in use of one namespace. An encoding leaves the table with its last subscription.
#[derive(Debug)]
pub(super) struct Encodings {
    /// Whether pages load again if messages are missing.
    refreshes: bool,
    /// Whether refreshes of a stream are merged.
    merges: bool,
    table: Mutex<HashMap<Key, Weak<CableEncoding>>>,
}

/// The identifier as JSON, the stream, and whether the clients follow positions. Of the same identifier a channel in Ruby
/// may have several streams, and other ones for another user.
type Key = (Box<str>, Box<str>, bool);

/// The encoding of the subscriptions with one identifier.
#[derive(Debug)]
pub(super) struct CableEncoding {
    /// As JSON.
    identifier: Box<str>,
    stream: Box<str>,
    on_gap: OnGap,
    /// Whether pages show its messages as HTML, so that a message of another client could run scripts there.
    is_html: bool,
    /// Whether its clients receive merged refreshes. Those of clients that follow positions would be out of order.
    merges: bool,
    table: Weak<Encodings>,
}

/// What clients receive if messages are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnGap {
    Nothing,
    /// A stream of Turbo that makes the page load again.
    Refresh,
    /// A frame of the extended protocol.
    RejectHistory,
}

// === impl Encodings ===

impl Encodings {
    pub(super) fn new(refreshes: bool, merges: bool) -> Self {
        Self { refreshes, merges, table: Mutex::default() }
    }

    /// The encoding of the subscriptions with an identifier, as JSON, which is for a stream.
    pub(super) fn get(
        self: &Arc<Self>,
        identifier: &str,
        stream: &str,
        is_turbo: bool,
        is_extended: bool,
    ) -> Arc<CableEncoding> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (identifier.into(), stream.into(), is_extended);
        if let Some(encoding) = table.get(&key).and_then(Weak::upgrade) {
            return encoding;
        }
        let on_gap = match (is_extended, is_turbo && self.refreshes) {
            (true, _) => OnGap::RejectHistory,
            (false, true) => OnGap::Refresh,
            (false, false) => OnGap::Nothing,
        };
        let table_of = Arc::downgrade(self);
        let encoding = Arc::new(CableEncoding {
            identifier: identifier.into(),
            stream: stream.into(),
            on_gap,
            is_html: serde_json::from_str::<Cow<'_, str>>(identifier).is_ok_and(|text| identifier::is_html(&text)),
            merges: self.merges && is_turbo && !is_extended,
            table: table_of,
        });
        table.insert(key, Arc::downgrade(&encoding));
        encoding
    }

    /// Whether pages load again if messages are missing.
    pub(super) fn refreshes(&self) -> bool {
        self.refreshes
    }

    fn remove(&self, encoding: &CableEncoding) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (encoding.identifier.clone(), encoding.stream.clone(), encoding.is_extended());
        // It may have been replaced already.
        if table.get(&key).is_some_and(|one| std::ptr::eq(one.as_ptr(), encoding)) {
            table.remove(&key);
        }
    }
}

// === impl CableEncoding ===

impl CableEncoding {
    /// The identifier as JSON.
    pub(super) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// What its identifier holds if it is long. Bytes.
    pub(super) fn long_bytes(&self) -> usize {
        long_bytes(&self.identifier)
    }

    /// The stream.
    pub(super) fn stream(&self) -> &str {
        &self.stream
    }

    /// Whether its clients follow positions.
    pub(super) fn is_extended(&self) -> bool {
        self.on_gap == OnGap::RejectHistory
    }

    /// For the core.
    pub(super) fn shared(self: &Arc<Self>) -> Arc<dyn Encoding> {
        Arc::clone(self) as _
    }

    /// What clients receive if messages are missing. `None`: nothing.
    pub(super) fn missing(&self) -> Option<String> {
        match self.on_gap {
            OnGap::Nothing => None,
            OnGap::Refresh => Some(frame::message(&self.identifier, frame::REFRESH)),
            OnGap::RejectHistory => Some(frame::reject_history(&self.identifier)),
        }
    }
}

impl Encoding for CableEncoding {
    fn publication(&self, text: &str, position: Option<Position>) -> Frame {
        match presence::event_of(text) {
            None => {}
            Some(Event::Enter(user, info)) if self.is_extended() => {
                return Frame::text(&frame::presence_join(&self.identifier, &user, info));
            }
            Some(Event::Leave(user)) if self.is_extended() => {
                return Frame::text(&frame::presence_leave(&self.identifier, &user));
            }
            // Other clients would take it for a message.
            Some(_) => return Frame::nothing(),
        }
        if self.merges && Refresh::of_publication(text).is_some() {
            return Frame::nothing();
        }
        if self.is_html && position.is_none() && whisper::is_whisper(text) {
            return Frame::nothing();
        }
        let message = message_of(text).unwrap_or("null");
        Frame::text(&match position.filter(|_| self.is_extended()) {
            Some(position) => frame::placed_message(&self.identifier, message, &self.stream, position),
            None => frame::message(&self.identifier, message),
        })
    }

    fn merges_refreshes(&self) -> bool {
        self.merges
    }

    fn refresh(&self, refresh: &Refresh) -> Option<Frame> {
        let html = serde_json::Value::from(refresh.html()).to_string();
        self.merges.then(|| Frame::text(&frame::message(&self.identifier, &html)))
    }

    fn receives_each_copy(&self) -> bool {
        // Its streams are apart for the page.
        true
    }

    fn gap(&self, _topic: Topic<'_>, _position: Position) -> Frame {
        self.missing().map_or_else(Frame::nothing, |text| Frame::text(&text))
    }
}

impl Drop for CableEncoding {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.remove(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position { epoch: 0xab, offset: 7 };

    fn payload(frame: &Frame) -> &str {
        std::str::from_utf8(frame.payload()).unwrap()
    }

    #[test]
    fn subscriptions_with_one_identifier_share_an_encoding_until_the_last_ends() {
        let encodings = Arc::new(Encodings::new(true, false));
        let (one, two) = (encodings.get("\"a\"", "s", true, false), encodings.get("\"a\"", "s", true, false));
        let (other, extended) = (encodings.get("\"b\"", "s", true, false), encodings.get("\"a\"", "s", true, true));
        let elsewhere = encodings.get("\"a\"", "t", true, false);
        assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &other) && !Arc::ptr_eq(&one, &extended));
        assert!(!Arc::ptr_eq(&one, &elsewhere), "another stream of one channel");
        drop((one, other, extended, elsewhere));
        assert_eq!(encodings.table.lock().unwrap().len(), 1);
        drop(two);
        assert!(encodings.table.lock().unwrap().is_empty());
    }

    #[test]
    fn a_message_is_as_it_was_published() {
        let encodings = Arc::new(Encodings::new(true, false));
        let text = r#"{"room":"s","event":"e","message":{"a": 1.50},"position":"00000000000000ab:7"}"#;
        let frame = encodings.get("\"i\"", "s", true, false).publication(text, Some(AT));
        assert_eq!(payload(&frame), r#"{"identifier":"i","message":{"a": 1.50}}"#);
        let frame = encodings.get("\"i\"", "s", true, true).publication(text, Some(AT));
        let placed =
            r#"{"identifier":"i","message":{"a": 1.50},"stream_id":"s","epoch":"00000000000000ab","offset":7}"#;
        assert_eq!(payload(&frame), placed);
        let frame = encodings.get("\"i\"", "s", true, false).publication(r#"{"room":"s","event":"e"}"#, None);
        assert_eq!(payload(&frame), r#"{"identifier":"i","message":null}"#);
    }

    #[test]
    fn a_gap_refreshes_pages_of_turbo_and_no_others() {
        let encodings = Arc::new(Encodings::new(true, false));
        let gap = |encodings: &Arc<Encodings>, is_turbo, is_extended| {
            let frame = encodings.get("\"i\"", "s", is_turbo, is_extended).gap(Topic::Room("s"), AT);
            payload(&frame).to_owned()
        };
        assert!(gap(&encodings, true, false).contains(r#"action=\"refresh\""#));
        assert_eq!(gap(&encodings, false, false), "");
        assert_eq!(gap(&encodings, true, true), r#"{"identifier":"i","type":"reject_history"}"#);
        assert_eq!(gap(&Arc::new(Encodings::new(false, false)), true, false), "");
    }

    #[test]
    fn refreshes_that_are_merged_have_no_frame_of_their_own() {
        let encodings = Arc::new(Encodings::new(true, true));
        let refresh = Refresh { request_id: Some("a".into()) };
        let text = serde_json::json!({"room": "s", "event": "e", "message": refresh.html()}).to_string();
        let encode = |is_turbo, is_extended| {
            let encoding = encodings.get("\"i\"", "s", is_turbo, is_extended);
            let merged = encoding.refresh(&refresh).map(|frame| payload(&frame).to_owned());
            (payload(&encoding.publication(&text, None)).is_empty(), merged, encoding.merges_refreshes())
        };
        let (is_empty, merged, merges) = encode(true, false);
        let expected =
            r#"{"identifier":"i","message":"<turbo-stream request-id=\"a\" action=\"refresh\"></turbo-stream>"}"#;
        assert_eq!((is_empty, merged.as_deref(), merges), (true, Some(expected), true));
        assert_eq!(encode(true, true), (false, None, false));
        let other = encodings.get("\"j\"", "s", false, false);
        assert!(!other.merges_refreshes() && !payload(&other.publication(&text, None)).is_empty());
    }

    #[test]
    fn what_another_client_has_written_is_never_shown_as_html() {
        let encodings = Arc::new(Encodings::new(true, true));
        let text = whisper::publication("s", "\"<turbo-stream>\"", "p");
        let encode = |identifier: &str, is_turbo, is_extended| {
            let identifier = serde_json::Value::from(identifier).to_string();
            payload(&encodings.get(&identifier, "s", is_turbo, is_extended).publication(&text, None)).to_owned()
        };
        let tag = r#"{"channel":"Turbo::StreamsChannel","signed_stream_name":"t"}"#;
        let own = r#"{"channel":"MyStreams","signed_stream_name":"t"}"#;
        for (identifier, is_turbo) in [(tag, true), (own, false)] {
            assert_eq!(encode(identifier, is_turbo, false), "");
            assert_eq!(encode(identifier, is_turbo, true), "");
        }
        let pubsub = r#"{"channel":"$pubsub","signed_stream_name":"t"}"#;
        assert!(encode(pubsub, false, false).contains("turbo-stream") && encode(pubsub, false, true).len() > 2);
    }

    #[test]
    fn presence_is_for_clients_of_the_extended_protocol_alone() {
        let encodings = Arc::new(Encodings::new(true, true));
        let text = |event: &str| {
            format!(
                r#"{{"room":"s","event":"nodevent:{event}","message":{{"user":"4\u0032","info":[1],"count":1}}}}"#
            )
        };
        let encode = |event: &str, is_extended| {
            let frame = encodings.get("\"i\"", "s", false, is_extended).publication(&text(event), Some(AT));
            payload(&frame).to_owned()
        };
        let of = |message: &str| format!(r#"{{"type":"presence","identifier":"i","message":{message}}}"#);
        assert_eq!(encode("enter", true), of(r#"{"type":"join","id":"42","info":[1]}"#));
        assert_eq!(encode("leave", true), of(r#"{"type":"leave","id":"42"}"#));
        for event in ["enter", "leave", "count"] {
            assert_eq!(encode(event, false), "", "{event}");
        }
        assert_eq!(encode("count", true), "");
    }
}
