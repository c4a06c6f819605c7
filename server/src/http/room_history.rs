//! `GET /api/<ns>/rooms/<room>/`: who is in a room (`presence`), and what is stored of a room, for scripts and pages
//! without the client.

use super::endpoint::{Endpoint, ResponseFuture};
use super::room_request::RoomPath;
use super::{Http, PeerAddr, presence, query, reply};
use crate::client::Client;
use crate::history::Since;
use crate::namespace::Namespace;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use std::sync::atomic::Ordering::Relaxed;

/// The requests for rooms that no protocol serves.
#[derive(Debug)]
pub(super) struct RoomHistoryEndpoint;

// === impl RoomHistoryEndpoint ===

impl Endpoint for RoomHistoryEndpoint {
    fn matches(&self, path: &str) -> bool {
        RoomPath::parse(path).is_some()
    }

    fn serve<'a>(&'a self, http: &'a Http, request: Request) -> ResponseFuture<'a> {
        let (request, _body) = request.into_parts();
        Box::pin(async move {
            let mut response = serve(http, &request).await;
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        })
    }
}

async fn serve(http: &Http, request: &Parts) -> Response {
    let Some(path) = RoomPath::parse(request.uri.path()) else { return reply::not_found(request.uri.path()) };
    if http.namespaces.find(&path.namespace).is_none() {
        return reply::not_found(&path.namespace);
    }
    if request.method != Method::GET {
        return reply::method_not_allowed("GET");
    }
    let since = query::decoded(request.uri.query(), "since");
    match path.authorize(http, request) {
        Err(rejection) => *rejection,
        Ok(namespace) if path.resource == "history" => {
            let since = since.map_or(Since::Beginning, |since| Since::parse(Some(&since)));
            history(http, namespace, request, &path.room, since).await
        }
        Ok(namespace) if path.resource == "presence" => presence::serve(http, namespace, request, &path.room).await,
        Ok(_) => reply::error(StatusCode::NOT_FOUND, "unknown resource", "use `history`, `presence` or `events`"),
    }
}

/// `{"position", "idle_ms"?, "recovered", "publications"}`: what came after `since`, or everything that is stored.
async fn history(http: &Http, namespace: &Namespace, request: &Parts, room: &str, since: Since) -> Response {
    let permit = match http.admit_connection(PeerAddr::of(&request.extensions)) {
        Ok(permit) => permit,
        Err(refusal) => return *refusal,
    };
    let Some(engine) = http.engines.get(namespace.id) else { return reply::busy() };
    let client = Client::of(PeerAddr::of(&request.extensions));
    match engine.read_history.read(room, since, client).await {
        Ok(Some(read)) => {
            let Some((body, length)) = http.history_responses.body(client, read, permit) else {
                http.metrics.overloaded_requests.fetch_add(1, Relaxed);
                return reply::busy();
            };
            let mut response = reply::with_type(StatusCode::OK, "application/json", body);
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
            response
        }
        Ok(None) => {
            reply::error(StatusCode::NOT_FOUND, "this room has no history", "enable it with `history: {size: 100}`")
        }
        Err(error) => {
            // The text may name keys, users and scripts of Redis, so it is for the operator.
            tracing::warn!(namespace = &*namespace.name, %error, "history not read");
            let what = format!("{} is unavailable", error.engine);
            reply::error(StatusCode::SERVICE_UNAVAILABLE, &what, "retry; see /readyz")
        }
    }
}
