//! The WebSocket handshake, for all protocols.
//!
//! # Source
//! RFC 6455, section 4.2. RFC 7692, section 5.

use super::{Http, reply};
use crate::client::Client;
use crate::connect_info::ConnectInfo;
use crate::connection_id::ConnectionId;
use crate::protocol::OpenProtocol;
use crate::shard::message::{Attach, Purpose, UpgradeRequest};
use crate::shard::{Shards, Stream, ToShard};
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::response::Response;
use base64::Engine as _;
use nodevent_protocol::websocket;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// A valid handshake.
#[derive(Debug)]
pub struct Handshake {
    accept: HeaderValue,
    subprotocol: Option<&'static str>,
    /// Whether the connection may be compressed.
    deflate: bool,
}

/// An accepted handshake, as an extension of its response: the socket is to be handed to a shard.
#[derive(Clone)]
pub(super) struct UpgradeGrant(Arc<Mutex<Option<Grant>>>);

struct Grant {
    purpose: Purpose,
    /// The connection that it was opened for. `None`: a new one.
    id: Option<ConnectionId>,
    /// Whether the connection may be compressed.
    deflate: bool,
    pending: Option<PendingUpgrade>,
}

/// A WebSocket that a connection on long-polling expects. If it is dropped before the socket is with the shard, the
/// connection is notified that none will come. Otherwise its polls would keep waiting.
#[derive(Debug)]
pub struct PendingUpgrade {
    shards: Shards,
    id: ConnectionId,
    client: Client,
    arrived: AtomicBool,
}

// === impl PendingUpgrade ===

impl PendingUpgrade {
    /// The connection `id` expects a WebSocket of a client from now on.
    pub fn new(http: &Http, id: ConnectionId, client: Client) -> Self {
        Self { shards: http.shards.clone(), id, client, arrived: AtomicBool::new(false) }
    }

    /// Nothing is expected any more.
    pub fn disarm(&self) {
        self.arrived.store(true, Relaxed);
    }
}

impl Drop for PendingUpgrade {
    fn drop(&mut self) {
        if !self.arrived.load(Relaxed) {
            let cancelled = ToShard::Upgrade(UpgradeRequest::Cancelled { id: self.id });
            let _ = self.shards.send_request(self.id.shard, self.client, cancelled);
        }
    }
}

// === impl Handshake ===

impl Handshake {
    /// Checks a handshake. `subprotocols` are those that the endpoint speaks, in its order of preference. A client that
    /// offers none of them gets a response without one.
    ///
    /// # Errors
    /// The response that rejects it.
    pub fn check(http: &Http, headers: &HeaderMap, subprotocols: &[&'static str]) -> Result<Self, Box<Response>> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if text("sec-websocket-version") != Some("13") {
            let mut response =
                reply::text(StatusCode::UPGRADE_REQUIRED, "Only WebSocket version 13 is supported.\n".into());
            response.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
            http.metrics.rejected_requests.fetch_add(1, Relaxed);
            return Err(Box::new(response));
        }
        let is_key =
            |key: &&str| base64::engine::general_purpose::STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
        let key = text("sec-websocket-key").filter(is_key);
        let Some(accept) = key.and_then(|key| HeaderValue::from_str(&websocket::accept_key(key)).ok()) else {
            http.metrics.rejected_requests.fetch_add(1, Relaxed);
            let text = "Sec-WebSocket-Key is missing or malformed.\n";
            return Err(Box::new(reply::text(StatusCode::BAD_REQUEST, text.into())));
        };
        let is_offered =
            |name: &str| tokens(headers, header::SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == name);
        let subprotocol = subprotocols.iter().copied().find(|name| is_offered(name));
        let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).into_iter();
        let deflate =
            http.settings().deflate && websocket::accepts_deflate(offers.filter_map(|offer| offer.to_str().ok()));
        Ok(Self { accept, subprotocol, deflate })
    }

    /// The subprotocol that both sides speak.
    pub fn subprotocol(&self) -> Option<&'static str> {
        self.subprotocol
    }

    /// Accepts the handshake for a new connection.
    pub fn open(self, protocol: OpenProtocol, info: ConnectInfo) -> Response {
        let deflate = self.deflate;
        self.accept(Grant { purpose: Purpose::Open(protocol, info), id: None, deflate, pending: None })
    }

    /// Accepts the handshake for a connection on long-polling that expects it.
    pub fn upgrade(self, pending: PendingUpgrade) -> Response {
        let (id, deflate) = (pending.id, self.deflate);
        self.accept(Grant { purpose: Purpose::Upgrade(id), id: Some(id), deflate, pending: Some(pending) })
    }

    /// Accepts the handshake for a connection that does not expect it, to say so on the WebSocket.
    pub fn reject(self, id: ConnectionId) -> Response {
        let deflate = self.deflate;
        self.accept(Grant { purpose: Purpose::Rejected, id: Some(id), deflate, pending: None })
    }

    fn accept(self, grant: Grant) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(UpgradeGrant(Arc::new(Mutex::new(Some(grant)))));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(subprotocol) = self.subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        }
        if self.deflate {
            let accepted = HeaderValue::from_static(websocket::DEFLATE_ACCEPTED);
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, accepted);
        }
        response
    }
}

// === impl UpgradeGrant ===

impl UpgradeGrant {
    /// Hands the socket to its shard, with the response, which has not been sent.
    pub(super) fn attach(&self, http: &Http, stream: Stream, response: Vec<u8>, read_ahead: Bytes, client: IpAddr) {
        let grant = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Grant { purpose, id, deflate, pending }) = grant else { return };
        // The socket may be that of a proxy.
        let owner = match (&purpose, &pending) {
            (Purpose::Open(_, info), _) => Client::of(info.peer()),
            (_, Some(pending)) => pending.client,
            (_, None) => Client::of(client),
        };
        let shard = id.map_or_else(|| http.shards.least_loaded(), |id| id.shard);
        let attach = ToShard::Attach(Box::new(Attach { stream, response, read_ahead, deflate, purpose }));
        if http.shards.send_request(shard, owner, attach).is_err() {
            tracing::warn!(%client, "connection refused: the server is busy");
        } else if let Some(pending) = pending {
            pending.disarm();
        }
    }
}

impl fmt::Debug for UpgradeGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpgradeGrant")
    }
}

/// Whether a request asks for a WebSocket. HTTP before 1.1 has no upgrades.
pub fn is_upgrade(request: &Parts) -> bool {
    let headers = &request.headers;
    let has = |name: HeaderName, token: &str| {
        // Most clients send nothing else.
        let is_alone =
            headers.get(&name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(token.as_bytes()));
        is_alone || tokens(headers, name).any(|one| one.eq_ignore_ascii_case(token))
    };
    request.version >= Version::HTTP_11 && has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade")
}

/// The tokens of a header that may be a list and may be repeated.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
