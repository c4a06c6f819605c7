//! `GET /ws/<ns>`: the WebSocket of a namespace.

use super::page::NamedPage;
use super::{Plain, Settings};
use crate::http::websocket::{self, Handshake};
use crate::http::{Endpoint, Http, PeerAddr, ResponseFuture, query, reply};
use crate::protocol::Protocol;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use nodevent_protocol::pages;
use percent_encoding::percent_decode_str;
use std::future::ready;
use std::sync::Arc;

/// The path below which each namespace has a WebSocket.
const PREFIX: &str = "/ws/";
/// The parameter of the query with the id of the client's page.
const CONNECTION_ID: &str = "socket_connection_id";
/// The subprotocol, for clients that ask for one.
const SUBPROTOCOL: &str = "nodevent.plain.v1";

/// The endpoint of all namespaces with this protocol.
pub(super) struct PlainEndpoint {
    settings: Arc<Settings>,
    /// The ids of the namespaces.
    served: Vec<u16>,
}

// === impl PlainEndpoint ===

impl PlainEndpoint {
    pub(super) fn new(settings: Arc<Settings>, served: Vec<u16>) -> Self {
        Self { settings, served }
    }

    /// The page that the handshake names, if the namespace has pages.
    fn named_page(&self, namespace: u16, request: &Parts) -> Option<Box<NamedPage>> {
        let settings = self.settings.pages.get(usize::from(namespace))?.clone()?;
        let id = query::decoded(request.uri.query(), CONNECTION_ID).filter(|id| pages::is_connection_id(id))?;
        Some(Box::new(NamedPage { connection_id: id.into(), settings }))
    }

    fn respond(&self, http: &Http, request: &Parts) -> Response {
        let name = request.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let name = format!("/{}", percent_decode_str(name).decode_utf8_lossy());
        let Some(namespace) = http.namespaces.id(&name).filter(|id| self.served.contains(id)) else {
            let (error, hint) = ("there is no such namespace here", "add `protocol: plain` to the namespace");
            return reply::error(StatusCode::NOT_FOUND, error, hint);
        };
        if !websocket::is_upgrade(request) {
            let (error, hint) = ("this path is a WebSocket", "connect with a WebSocket client");
            let mut response = reply::error(StatusCode::UPGRADE_REQUIRED, error, hint);
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            return response;
        }
        let permit = match http.admit_connection(PeerAddr::of(&request.extensions)) {
            Ok(permit) => permit,
            Err(refusal) => return *refusal,
        };
        match Handshake::check(http, &request.headers, &[SUBPROTOCOL]) {
            Ok(handshake) => {
                let (settings, page) = (Arc::clone(&self.settings), self.named_page(namespace, request));
                let protocol = move || Box::new(Plain::new(&settings, namespace, page)) as Box<dyn Protocol>;
                handshake.open(Box::new(protocol), http.connect_info(request, permit))
            }
            Err(rejection) => *rejection,
        }
    }
}

impl Endpoint for PlainEndpoint {
    fn matches(&self, path: &str) -> bool {
        path.starts_with(PREFIX)
    }

    fn serve<'a>(&'a self, http: &'a Http, request: Request) -> ResponseFuture<'a> {
        let (request, _body) = request.into_parts();
        Box::pin(ready(self.respond(http, &request)))
    }
}
