//! Server-Sent Events for `<turbo-stream-source>`: one stream per request, whose events are streams of Turbo.
//!
//! `GET /cable?signed_stream_name=…`. The name is verified as that of a subscription. Events have the position as their id, so a
//! browser that reconnects receives what it missed.
//!
//! # Source
//! The HTML standard, section 9.2; Turbo 8 (`StreamSourceElement`).

use super::Site;
use super::streams::Found;
use crate::clock::now_ms;
use crate::close_reason::CloseReason;
use crate::connect_info::ConnectInfo;
use crate::encoding::{Encoding, Frame};
use crate::history::{RequestId, Since};
use crate::http::{Http, PeerAddr, event_stream, query, reply};
use crate::outcome::Outcome;
use crate::protocol::{Core, Joined, Message, Millis, NEVER, Protocol, Subscribe, SubscribeReply};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use nodevent_protocol::action_cable::whisper::is_whisper;
use nodevent_protocol::history::Position;
use nodevent_protocol::presence;
use nodevent_protocol::publication::message_of;
use nodevent_protocol::topic::Topic;
use std::sync::Arc;

/// A comment, which keeps proxies and clients from closing a quiet response.
const HEARTBEAT: &str = ":\n\n";
/// The stream of Turbo that makes the page load again.
const REFRESH: &str = "<turbo-stream action=\"refresh\"></turbo-stream>";
/// The parameter with the signed name.
const NAME: &str = "signed_stream_name";
/// The parameter with the position of the page.
const SINCE: &str = "since";

/// The encoding for all readers of a namespace.
#[derive(Debug)]
pub(super) struct EventEncoding {
    /// Whether pages load again if messages are missing.
    refreshes: bool,
}

/// One reader.
#[derive(Debug)]
struct EventSource {
    site: Arc<Site>,
    stream: String,
    since: Since,
    heartbeat_at: Millis,
}

/// Whether a request asks for Server-Sent Events.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.split(',').any(|kind| kind.trim().starts_with("text/event-stream")))
}

/// Serves a request.
pub(super) async fn respond(http: &Http, site: &Arc<Site>, request: &Parts, info: ConnectInfo) -> Response {
    let namespace = site.namespaces.get(site.id);
    let needs_token = namespace.tokens.as_ref().is_some_and(|tokens| tokens.settings().is_required);
    if needs_token || namespace.provider.get().is_some() || site.has_channels {
        let hint = "connect with a WebSocket: this namespace decides who a connection is";
        return reply::error(StatusCode::FORBIDDEN, "this namespace has no event streams", hint);
    }
    let token = query::decoded(request.uri.query(), NAME).unwrap_or_default();
    let Found { stream, .. } = match site.streams.verify(&token, now_ms()) {
        Ok(found) => found,
        Err(error) => {
            if let Err(response) = http.reject_join(namespace, PeerAddr::of(&request.extensions), error) {
                return *response;
            }
            let hint = "send the name that the application has signed as `signed_stream_name`";
            return reply::error(StatusCode::FORBIDDEN, error.as_str(), hint);
        }
    };
    let last_id = request.headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let since = last_id.or_else(|| query::decoded(request.uri.query(), SINCE));
    let since = Since::parse(since.as_deref());
    let reader = EventSource { site: Arc::clone(site), stream, since, heartbeat_at: NEVER };
    event_stream::respond(http, Box::new(move || Box::new(reader) as Box<dyn Protocol>), info).await
}

// === impl EventEncoding ===

impl EventEncoding {
    pub(super) fn new(refreshes: bool) -> Self {
        Self { refreshes }
    }
}

/// An event. Turbo reads its data as HTML.
fn event(html: &str, position: Option<Position>) -> Frame {
    let id = position.map_or(String::new(), |position| format!("id: {position}\n"));
    Frame::text(&format!("{id}{}\n", event_stream::data(html)))
}

impl Encoding for EventEncoding {
    fn publication(&self, text: &str, position: Option<Position>) -> Frame {
        // The page shows what it receives as HTML, which the application alone may write.
        if presence::event_of(text).is_some() || position.is_none() && is_whisper(text) {
            return Frame::nothing();
        }
        let message = message_of(text).unwrap_or("null");
        // A message that is not HTML is sent as JSON.
        let html = serde_json::from_str::<String>(message);
        event(html.as_deref().unwrap_or(message), position)
    }

    fn gap(&self, _topic: Topic<'_>, position: Position) -> Frame {
        if self.refreshes { event(REFRESH, Some(position)) } else { Frame::nothing() }
    }
}

// === impl EventSource ===

impl EventSource {
    /// What was missed has been sent.
    fn on_joined(&self, joined: Joined, core: &mut dyn Core) {
        let recovery = joined.recovery;
        let is_missing = self.since != Since::FirstJoin && !recovery.is_some_and(|recovery| recovery.recovered);
        let position = recovery.and_then(|recovery| recovery.position);
        if is_missing && self.site.refreshes() {
            core.send(&[event(REFRESH, position)]);
        } else if let Some(position) = position {
            // Without data it is not an event, and the browser keeps the id.
            core.send_text(&format!("id: {position}\n\n"));
        } else {
            core.send_text(HEARTBEAT);
        }
    }
}

impl Protocol for EventSource {
    fn opened(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.heartbeat_at = core.now() + self.site.settings.probe_interval;
        core.connected(self.site.id);
        let credential = self.site.namespaces.get(self.site.id).dialect_joins.credential();
        let joined = core.subscribe(Subscribe {
            namespace: self.site.id,
            room: &self.stream,
            credential: Some(&credential),
            kept: None,
            since: self.since,
            encoding: &self.site.events,
            request: RequestId::default(),
        });
        match joined {
            Ok(Outcome::Ready(joined)) => self.on_joined(joined, core),
            Ok(Outcome::Pending | Outcome::Overloaded) => {}
            // A limit is reached.
            Err(_) => return Err(CloseReason::TooManyPendingJoins),
        }
        Ok(())
    }

    fn received(&mut self, _message: Message<'_>, _core: &mut dyn Core) -> Result<(), CloseReason> {
        Err(CloseReason::Malformed)
    }

    fn deadline(&self) -> Millis {
        self.heartbeat_at
    }

    fn on_deadline(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.heartbeat_at = core.now() + self.site.settings.probe_interval;
        // A reader that is gone is noticed by the HTTP connection itself.
        core.send_text(HEARTBEAT);
        Ok(())
    }

    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core) {
        if let Ok(joined) = reply.result {
            self.on_joined(joined, core);
        }
    }

    fn revoked(&mut self, _namespace: u16, _room: Option<&str>, _core: &mut dyn Core) -> Result<(), CloseReason> {
        Err(CloseReason::Revoked)
    }

    fn closing(&mut self, _reason: CloseReason, _core: &mut dyn Core) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position { epoch: 0xab, offset: 7 };

    fn payload(frame: &Frame) -> &str {
        std::str::from_utf8(frame.payload()).unwrap()
    }

    #[test]
    fn an_event_is_the_html_of_its_message() {
        let text = r#"{"room":"s","event":"e","message":"<turbo-stream>\n\u00fc</turbo-stream>"}"#;
        let encoding = EventEncoding::new(true);
        let expected = "id: 00000000000000ab:7\ndata: <turbo-stream>\ndata: ü</turbo-stream>\n\n";
        assert_eq!(payload(&encoding.publication(text, Some(AT))), expected);
        let json = r#"{"room":"s","event":"e","message":{"a":1}}"#;
        assert_eq!(payload(&encoding.publication(json, None)), "data: {\"a\":1}\n\n");
    }

    #[test]
    fn a_gap_is_a_refresh_if_that_is_configured() {
        let gap = |refreshes| payload(&EventEncoding::new(refreshes).gap(Topic::Room("s"), AT)).to_owned();
        assert_eq!(gap(true), format!("id: 00000000000000ab:7\ndata: {REFRESH}\n\n"));
        assert_eq!(gap(false), "");
    }

    #[test]
    fn the_header_accept_asks_for_events() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            is_wanted(&headers)
        };
        assert!(wants("text/event-stream") && wants("text/html, text/event-stream;q=0.9"));
        assert!(!wants("text/html") && !is_wanted(&HeaderMap::new()));
    }
}
