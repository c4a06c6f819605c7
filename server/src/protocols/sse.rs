//! Server-Sent Events: `GET /api/<ns>/rooms/<room>/events`, one room per request, for scripts and pages without the
//! client.
//!
//! It serves every namespace, with the same keys, origins and recovery as the other protocols. `protocol/README.md`
//! section 8 defines it.
//!
//! # Source
//! The HTML standard, section 9.2.

use super::Mount;
use crate::close_reason::CloseReason;
use crate::encoding::{Encoding, Frame};
use crate::history::{RequestId, Since};
use crate::http::event_stream::{self, data};
use crate::http::room_request::{RoomPath, User};
use crate::http::{Endpoint, Http, PeerAddr, ResponseFuture, query, reply};
use crate::identity_provider::Identify;
use crate::namespace::Namespace;
use crate::outcome::Outcome;
use crate::protocol::{Core, Joined, Message, Millis, NEVER, Protocol, RecoveryStatus, Subscribe, SubscribeReply};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use nodevent_protocol::history::Position;
use nodevent_protocol::topic::Topic;
use serde_json::{Value, json};
use std::sync::Arc;

/// The last part of the path.
const RESOURCE: &str = "events";
/// A comment, which keeps proxies and clients from closing a quiet response.
const HEARTBEAT: &str = ":\n\n";

/// The encoding for readers.
#[derive(Debug)]
struct SseEncoding;

/// One reader.
#[derive(Debug)]
struct Sse {
    namespace: u16,
    room: Box<str>,
    key: Option<Value>,
    /// Who the reader is. `None`: it has a key for the room, or needs none.
    user: Option<User>,
    since: Since,
    encoding: Arc<dyn Encoding>,
    heartbeat_interval: Millis,
    heartbeat_at: Millis,
}

/// The endpoint of all readers.
struct SseEndpoint {
    encoding: Arc<dyn Encoding>,
    heartbeat_interval: Millis,
}

/// Mounts Server-Sent Events, which serve every namespace.
pub fn mount(mount: &Mount<'_>) -> Option<Arc<dyn Endpoint>> {
    let heartbeat_interval = mount.config.limits.ping_interval.as_millis() as Millis;
    Some(Arc::new(SseEndpoint { encoding: Arc::new(SseEncoding), heartbeat_interval }))
}

// === impl SseEncoding ===

impl Encoding for SseEncoding {
    fn publication(&self, text: &str, position: Option<Position>) -> Frame {
        let id = position.map_or(String::new(), |position| format!("id: {position}\n"));
        Frame::text(&format!("{id}{}\n", data(text)))
    }

    fn gap(&self, topic: Topic<'_>, position: Position) -> Frame {
        let (name, value) = topic.member();
        event("lost", &json!({name: value, "position": position.to_string()}), None)
    }
}

/// An event that is not a publication.
fn event(name: &str, data: &Value, id: Option<Position>) -> Frame {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    Frame::text(&format!("{id}event: {name}\ndata: {data}\n\n"))
}

// === impl Sse ===

impl Sse {
    fn confirm(joined: Joined, core: &mut dyn Core) {
        let RecoveryStatus { position, recovered } =
            joined.recovery.unwrap_or(RecoveryStatus { position: None, recovered: false });
        let text = position.map(|position| position.to_string());
        core.send(&[event("joined", &json!({"position": text, "recovered": recovered}), position)]);
    }
}

impl Protocol for Sse {
    fn opened(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.heartbeat_at = core.now() + self.heartbeat_interval;
        if let Some(User { token, .. }) = self.user.take() {
            let identify = Identify {
                namespace: self.namespace,
                token: token.as_deref(),
                query: &[],
                request: RequestId::default(),
            };
            // It was verified a moment ago, and has expired since.
            if !matches!(core.identify(identify), Ok(Outcome::Ready(Some(_)))) {
                return Err(CloseReason::Unauthorized);
            }
        }
        core.connected(self.namespace);
        let joined = core.subscribe(Subscribe {
            namespace: self.namespace,
            room: &self.room,
            credential: self.key.take().as_ref(),
            kept: None,
            since: self.since,
            encoding: &self.encoding,
            request: RequestId::default(),
        });
        match joined {
            Ok(Outcome::Ready(joined)) => Self::confirm(joined, core),
            Ok(Outcome::Pending | Outcome::Overloaded) => {}
            // The request was authorized a moment ago; its key has expired since.
            Err(_) => return Err(CloseReason::ConnectionLost),
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
        self.heartbeat_at = core.now() + self.heartbeat_interval;
        // A reader that is gone is noticed by the HTTP connection itself.
        core.send_text(HEARTBEAT);
        Ok(())
    }

    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core) {
        if let Ok(joined) = reply.result {
            Self::confirm(joined, core);
        }
    }

    fn revoked(&mut self, _namespace: u16, room: Option<&str>, core: &mut dyn Core) -> Result<(), CloseReason> {
        core.send(&[event("revoked", &json!({"room": room}), None)]);
        // It is in one room only.
        Err(CloseReason::Revoked)
    }

    fn membership_expired(&mut self, _namespace: u16, room: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
        core.send(&[event("expired", &json!({"room": room}), None)]);
        Err(CloseReason::TokenExpired)
    }

    fn closing(&mut self, _reason: CloseReason, _core: &mut dyn Core) {}
}

// === impl SseEndpoint ===

impl Endpoint for SseEndpoint {
    fn matches(&self, path: &str) -> bool {
        path.ends_with("/events") && RoomPath::parse(path).is_some_and(|path| path.resource == RESOURCE)
    }

    fn serve<'a>(&'a self, http: &'a Http, request: Request) -> ResponseFuture<'a> {
        let (request, _body) = request.into_parts();
        Box::pin(async move {
            let mut response = self.respond(http, &request).await;
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        })
    }
}

impl SseEndpoint {
    async fn respond(&self, http: &Http, request: &Parts) -> Response {
        let Some(path) = RoomPath::parse(request.uri.path()) else {
            return reply::not_found(request.uri.path());
        };
        if request.method != Method::GET {
            return reply::method_not_allowed("GET");
        }
        let namespace = match path.authorize(http, request) {
            Ok(namespace) => namespace,
            Err(rejection) => return *rejection,
        };
        let permit = match http.admit_connection(PeerAddr::of(&request.extensions)) {
            Ok(permit) => permit,
            Err(refusal) => return *refusal,
        };
        let user = RoomPath::user(http, namespace, request).ok().flatten();
        let reader = Sse { user, ..self.reader(namespace, &path.room, request) };
        let protocol = Box::new(move || Box::new(reader) as Box<dyn Protocol>);
        event_stream::respond(http, protocol, http.connect_info(request, permit)).await
    }

    fn reader(&self, namespace: &Namespace, room: &str, request: &Parts) -> Sse {
        let last_id = request.headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let since = last_id.or_else(|| query::decoded(request.uri.query(), "since"));
        Sse {
            namespace: namespace.id,
            room: room.into(),
            key: RoomPath::key(request),
            user: None,
            since: Since::parse(since.as_deref()),
            encoding: Arc::clone(&self.encoding),
            heartbeat_interval: self.heartbeat_interval,
            heartbeat_at: NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_an_event_whose_id_is_its_position() {
        let text = r#"{"room":"r","event":"e","position":"00000000000000ab:7"}"#;
        let position = Some(Position { epoch: 0xab, offset: 7 });
        let expected = format!("id: 00000000000000ab:7\ndata: {text}\n\n");
        assert_eq!(SseEncoding.publication(text, position).payload(), expected.as_bytes());
    }

    #[test]
    fn a_gap_is_an_event_of_its_own() {
        let frame = SseEncoding.gap(Topic::Room("r"), Position { epoch: 0xab, offset: 7 });
        let expected = "event: lost\ndata: {\"position\":\"00000000000000ab:7\",\"room\":\"r\"}\n\n";
        assert_eq!(frame.payload(), expected.as_bytes());
    }
}
