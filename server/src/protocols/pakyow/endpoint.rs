//! The WebSockets of pages: any path below the one of a namespace.

use super::{Pakyow, Settings, Visitor};
use crate::clock::now_ms;
use crate::http::websocket::{self, Handshake};
use crate::http::{Endpoint, Http, PeerAddr, ResponseFuture, cookies, query, reply};
use crate::protocol::Protocol;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use nodevent_protocol::pages;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The parameter of the query with the id of the page's connection.
const CONNECTION_ID: &str = "socket_connection_id";
/// Paths of the server itself.
const RESERVED: [&str; 2] = ["/api/", "/socket.io/"];

/// The endpoint of all namespaces with this protocol.
pub(super) struct PakyowEndpoint {
    /// The longest path first.
    served: Vec<Arc<Settings>>,
}

// === impl PakyowEndpoint ===

impl PakyowEndpoint {
    pub(super) fn new(mut served: Vec<Arc<Settings>>) -> Self {
        served.sort_by_key(|settings| std::cmp::Reverse(settings.path.len()));
        Self { served }
    }

    fn of_path(&self, path: &str) -> Option<&Arc<Settings>> {
        self.served.iter().find(|settings| {
            let rest = path.strip_prefix(settings.path.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    fn respond(&self, http: &Http, request: &Parts) -> Response {
        let Some(settings) = self.of_path(request.uri.path()) else {
            return reply::not_found(request.uri.path());
        };
        if request.method != Method::GET || !websocket::is_upgrade(request) {
            http.metrics.rejected_requests.fetch_add(1, Relaxed);
            let (error, hint) = ("this is not the handshake of a WebSocket", "connect with a WebSocket client");
            return reply::error(StatusCode::BAD_REQUEST, error, hint);
        }
        let permit = match http.admit_connection(PeerAddr::of(&request.extensions)) {
            Ok(permit) => permit,
            Err(refusal) => return *refusal,
        };
        match Handshake::check(http, &request.headers, &[]) {
            Ok(handshake) => {
                let visitor = visitor(settings, request);
                let settings = Arc::clone(settings);
                let protocol = move || Box::new(Pakyow::new(&settings, visitor)) as Box<dyn Protocol>;
                handshake.open(Box::new(protocol), http.connect_info(request, permit))
            }
            Err(mut rejection) => {
                *rejection.status_mut() = StatusCode::BAD_REQUEST;
                *rejection
            }
        }
    }
}

/// Who opens the connection: the key of the session from our cookie alone, and the id of the page's connection. A wrong one
/// is as good as none: the connection is open, and silent.
fn visitor(settings: &Settings, request: &Parts) -> Visitor {
    let id = query::decoded(request.uri.query(), CONNECTION_ID).filter(|id| pages::is_connection_id(id));
    let Some(id) = id else { return Visitor::default() };
    let key = settings.visitors.key(cookies(&request.headers), now_ms() / 1000);
    Visitor { page: key.and_then(|key| key.page(&id)), connection: id.into() }
}

impl Endpoint for PakyowEndpoint {
    fn matches(&self, _path: &str) -> bool {
        // The path alone does not say it.
        false
    }

    fn matches_request(&self, request: &Request) -> bool {
        let (path, headers) = (request.uri().path(), request.headers());
        let asks =
            |value: &axum::http::HeaderValue| value.as_bytes().to_ascii_lowercase().starts_with(b"websocket");
        let is_meant = headers.get_all(header::UPGRADE).iter().any(asks)
            || headers.contains_key(header::SEC_WEBSOCKET_KEY)
            || headers.contains_key(header::SEC_WEBSOCKET_VERSION)
            || query::raw(request.uri().query(), CONNECTION_ID).is_some();
        is_meant && !RESERVED.iter().any(|reserved| path.starts_with(reserved)) && self.of_path(path).is_some()
    }

    fn serve<'a>(&'a self, http: &'a Http, request: Request) -> ResponseFuture<'a> {
        let (request, _body) = request.into_parts();
        Box::pin(ready(self.respond(http, &request)))
    }
}
