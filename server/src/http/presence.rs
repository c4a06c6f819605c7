//! `GET /api/<ns>/rooms/<room>/presence`: who is in a room.

use super::{Http, PeerAddr, reply};
use crate::client::Client;
use crate::namespace::Namespace;
use crate::presence::PresenceReplyTo;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::Response;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::oneshot;

/// `{"count", "large", "complete", "members"}`; see [`crate::presence::RoomPresence`]. The request may read the room.
pub(super) async fn serve(http: &Http, namespace: &Namespace, request: &Parts, room: &str) -> Response {
    let peer = PeerAddr::of(&request.extensions);
    let permit = match http.admit_connection(peer) {
        Ok(permit) => permit,
        Err(refusal) => return *refusal,
    };
    let Some(engine) = http.engines.get(namespace.id) else { return reply::busy() };
    let presence = engine.presence.as_ref().filter(|presence| presence.local().settings().includes(room));
    let Some(presence) = presence else {
        let hint = "enable it with `presence: true`";
        return reply::error(StatusCode::NOT_FOUND, "this room has no presence", hint);
    };
    let (reply_to, listed) = oneshot::channel();
    let _ = presence.list(room, PresenceReplyTo::Http(Client::of(peer), reply_to));
    let Ok(Ok(list)) = listed.await else {
        let what = format!("{} is unavailable", if engine.kind == "redis" { "Redis" } else { engine.kind });
        return reply::error(StatusCode::SERVICE_UNAVAILABLE, &what, "retry; see /readyz");
    };
    let Some((body, length)) = http.history_responses.text(Client::of(peer), list.text.to_string(), permit) else {
        http.metrics.overloaded_requests.fetch_add(1, Relaxed);
        return reply::busy();
    };
    let mut response = reply::with_type(StatusCode::OK, "application/json", body);
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}
