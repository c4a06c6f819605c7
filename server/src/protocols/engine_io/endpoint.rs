//! The HTTP side of Engine.IO: handshakes, polls, posts, and the upgrade to a WebSocket.
//!
//! # Source
//! The Engine.IO protocol, revisions 4 and 3. Error codes and their order follow the reference implementation.
//!
//! # Versions
//! Each request names its version with `EIO`. It must be that of its session, which the shard checks.

use super::connection::EngineIo;
use super::version_3::Version3;
use super::version_4::Version4;
use super::{Settings, Upper, Version, payload_response};
use crate::address_limits::ConnectionPermit;
use crate::client::Client;
use crate::close_reason::CloseReason;
use crate::connection_id::ConnectionId;
use crate::http::body::{self, BodyError};
use crate::http::connections::{PollReply, PollResponse, PollingRequest, PostReply, UpgradeReply, UpgradeRequest};
use crate::http::websocket::{self, Handshake, PendingUpgrade};
use crate::http::{Endpoint, Http, PeerAddr, ResponseFuture, query, reply};
use crate::protocol::OpenProtocol;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use nodevent_protocol::engine_io::handshake::RequestError;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::oneshot;

/// A page loads the response to JSONP as a script. Any page can do that, and the request does not name its origin.
const NO_JSONP: &str = "JSONP is not supported, use the transport websocket or polling with XMLHttpRequest";

/// The endpoint of an application above Engine.IO.
pub struct EngineIoEndpoint<U> {
    path: String,
    factory: Arc<Factory<U>>,
}

/// Makes the protocol of each connection.
struct Factory<U> {
    settings: Arc<Settings>,
    /// Makes the layer above.
    upper: Box<dyn Fn(Version) -> U + Send + Sync>,
}

// === impl EngineIoEndpoint ===

impl<U: Upper + 'static> EngineIoEndpoint<U> {
    /// Serves `path`, which has a slash at both ends.
    pub fn new(path: &str, settings: Settings, upper: impl Fn(Version) -> U + Send + Sync + 'static) -> Self {
        let factory = Factory { settings: Arc::new(settings), upper: Box::new(upper) };
        Self { path: path.to_owned(), factory: Arc::new(factory) }
    }

    fn protocol(&self, version: Version) -> OpenProtocol {
        let factory = Arc::clone(&self.factory);
        match version {
            Version::V4 => Box::new(move || {
                Box::new(EngineIo::<Version4, _>::new(&factory.settings, (factory.upper)(version)))
            }),
            Version::V3 { .. } => Box::new(move || {
                Box::new(EngineIo::<Version3, _>::new(&factory.settings, (factory.upper)(version)))
            }),
        }
    }

    /// The version of a request. `None`: it is not served.
    fn version(&self, query: Option<&str>) -> Option<Version> {
        match query::raw(query, "EIO") {
            Some("4") => Some(Version::V4),
            Some("3") if self.factory.settings.allows_version_3 => {
                let is_text_only = query::raw(query, "b64").is_some_and(|value| !value.is_empty());
                Some(Version::V3 { is_text_only })
            }
            _ => None,
        }
    }

    async fn respond(&self, http: &Http, request: Parts, body: Body) -> Result<Response, RequestError> {
        let query = request.uri.query();
        let sid = query::raw(query, "sid").filter(|sid| !sid.is_empty()).map(ConnectionId::parse);
        let version = self.version(query);
        let is_websocket = match query::raw(query, "transport") {
            Some("websocket") => true,
            Some("polling") => false,
            _ => return Err(RequestError::UnknownTransport),
        };
        let (method, is_upgrade) = (&request.method, websocket::is_upgrade(&request));
        let is_jsonp = || query::raw(query, "j").is_some();
        let Some(id) = sid else {
            if *method != Method::GET {
                return Err(RequestError::BadHandshakeMethod);
            }
            if is_websocket != is_upgrade {
                return Err(RequestError::BadRequest);
            }
            let version = version.ok_or(RequestError::UnsupportedProtocolVersion)?;
            if matches!(version, Version::V3 { .. }) && is_jsonp() {
                return Ok(bad_request(http, NO_JSONP));
            }
            return match http.admit_connection(PeerAddr::of(&request.extensions)) {
                Err(refusal) => Ok(*refusal),
                Ok(permit) if is_websocket => Ok(self.open_websocket(http, &request, version, permit)),
                Ok(permit) => self.open_polling(http, &request, version, permit).await,
            };
        };
        let id = id.ok_or(RequestError::UnknownSid)?;
        let client = Client::of(PeerAddr::of(&request.extensions));
        let Some(version) = version.filter(|_| is_websocket == is_upgrade) else {
            return Err(mismatched_request(http, id, client).await);
        };
        match *method {
            Method::GET if is_websocket => upgrade(http, &request, id, version).await,
            Method::GET => poll::<U>(http, id, version, &request).await,
            Method::POST => post(http, id, version, &request, body).await,
            _ => Err(mismatched_request(http, id, client).await),
        }
    }

    fn open_websocket(&self, http: &Http, request: &Parts, version: Version, permit: ConnectionPermit) -> Response {
        match Handshake::check(http, &request.headers, &[]) {
            Ok(handshake) => handshake.open(self.protocol(version), http.connect_info(request, permit)),
            Err(rejection) => *rejection,
        }
    }

    async fn open_polling(
        &self,
        http: &Http,
        request: &Parts,
        version: Version,
        permit: ConnectionPermit,
    ) -> Result<Response, RequestError> {
        let info = http.connect_info(request, permit);
        let client = Client::of(info.peer());
        let (reply, opened) = oneshot::channel();
        let format = version.polling_format();
        let open = PollingRequest::Open { protocol: self.protocol(version), format, info, reply };
        if http.open_polling(client, open).is_err() {
            return Ok(reply::busy());
        }
        let opened = opened.await;
        Ok(opened.map_or_else(|_| reply::busy(), |frames| payload_response::<U, _>(frames, format, ())))
    }
}

impl<U: Upper + 'static> Endpoint for EngineIoEndpoint<U> {
    fn matches(&self, path: &str) -> bool {
        path == self.path
    }

    fn serve<'a>(&'a self, http: &'a Http, request: Request) -> ResponseFuture<'a> {
        Box::pin(async move {
            let (request, body) = request.into_parts();
            match self.respond(http, request, body).await {
                Ok(response) => response,
                Err(error) => {
                    http.metrics.rejected_requests.fetch_add(1, Relaxed);
                    error_response(error)
                }
            }
        })
    }

    fn reject_origin(&self) -> Response {
        error_response(RequestError::Forbidden)
    }
}

/// Picks the error for a request that does not fit its session: bad request if the session exists, else unknown session.
async fn mismatched_request(http: &Http, id: ConnectionId, client: Client) -> RequestError {
    let (reply, found) = oneshot::channel();
    let sent = http.send_polling(id, client, PollingRequest::Find { id, reply });
    match sent.is_ok() && found.await.unwrap_or(false) {
        true => RequestError::BadRequest,
        false => RequestError::UnknownSid,
    }
}

/// Opens a WebSocket for a session. If the session does not expect it, the server says so on that WebSocket, like the
/// reference implementation.
async fn upgrade(
    http: &Http,
    request: &Parts,
    id: ConnectionId,
    version: Version,
) -> Result<Response, RequestError> {
    let handshake = match Handshake::check(http, &request.headers, &[]) {
        Ok(handshake) => handshake,
        Err(rejection) => return Ok(*rejection),
    };
    if let Err(refusal) = http.admit_upgrade(PeerAddr::of(&request.extensions)) {
        return Ok(*refusal);
    }
    let (reply, started) = oneshot::channel();
    let client = Client::of(PeerAddr::of(&request.extensions));
    if http.send_upgrade(id, client, UpgradeRequest::Start { id, version: version.number(), reply }).is_err() {
        return Err(RequestError::UnknownSid);
    }
    // From here on the session may expect the WebSocket, whatever becomes of this request.
    let pending = PendingUpgrade::new(http, id, client);
    let started = started.await;
    if let Ok(UpgradeReply::Accepted) = started {
        return Ok(handshake.upgrade(pending));
    }
    pending.disarm();
    match started {
        Ok(UpgradeReply::Rejected) => Ok(handshake.reject(id)),
        Ok(UpgradeReply::WrongVersion) => Err(RequestError::BadRequest),
        _ => Err(RequestError::UnknownSid),
    }
}

/// Waits for messages. If the client gives up, its session is notified.
async fn poll<U: Upper>(
    http: &Http,
    id: ConnectionId,
    version: Version,
    request: &Parts,
) -> Result<Response, RequestError> {
    let client = Client::of(PeerAddr::of(&request.extensions));
    let (reply, polled) = oneshot::channel();
    if http.send_polling(id, client, PollingRequest::Poll { id, version: version.number(), reply }).is_err() {
        return Err(RequestError::UnknownSid);
    }
    let mut abort = AbortOnDrop { http, id, client, request: Some(PollingRequest::PollAborted { id }) };
    let polled = polled.await;
    abort.request = None;
    match polled {
        Ok(PollReply::Messages(PollResponse { frames, format, unwritten })) => {
            match http.poll_responses.hold(client, payload_response::max_bytes(&frames, format)) {
                Some(held) => Ok(payload_response::<U, _>(frames, format, (held, unwritten))),
                None => Ok(discarded(http, id, PeerAddr::of(&request.extensions))),
            }
        }
        Ok(PollReply::Unknown) => Err(RequestError::UnknownSid),
        Ok(PollReply::Concurrent) => Ok(closed(http, CloseReason::ConcurrentRequest)),
        Ok(PollReply::WrongTransport) | Err(_) => Err(RequestError::BadRequest),
    }
}

/// The response if those that are not written hold too much. The session is closed, because its messages are lost.
fn discarded(http: &Http, id: ConnectionId, client: IpAddr) -> Response {
    http.metrics.overloaded_requests.fetch_add(1, Relaxed);
    tracing::info!(%client, "poll refused: responses that are not read hold too much");
    let _ = http.send_polling(id, Client::of(client), PollingRequest::Discarded { id });
    reply::busy()
}

/// Receives messages.
async fn post(
    http: &Http,
    id: ConnectionId,
    version: Version,
    request: &Parts,
    body: Body,
) -> Result<Response, RequestError> {
    let client = Client::of(PeerAddr::of(&request.extensions));
    let (reply, started) = oneshot::channel();
    if http.send_polling(id, client, PollingRequest::PostStarted { id, version: version.number(), reply }).is_err()
    {
        return Err(RequestError::UnknownSid);
    }
    if let Some(error) = post_error(http, started.await)? {
        return Ok(error);
    }
    let aborted = |close| Some(PollingRequest::PostAborted { id, close });
    let mut abort = AbortOnDrop { http, id, client, request: aborted(Some(CloseReason::PostAborted)) };
    let is_binary =
        request.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream");
    if is_binary && version == Version::V4 {
        // Binary bodies belong to version 3.
        abort.request = aborted(Some(CloseReason::Malformed));
        return Ok(closed(http, CloseReason::Malformed));
    }
    let max_bytes = http.settings().max_message_size;
    let body = match body::read(http, body, max_bytes, PeerAddr::of(&request.extensions)).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            abort.request = aborted(None);
            let text = format!("The body is larger than {max_bytes} bytes.\n");
            return Ok(reply::text(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Err(BodyError::Overloaded) => {
            abort.request = aborted(None);
            return Ok(reply::busy());
        }
        Err(BodyError::Incomplete) => return Err(RequestError::BadRequest),
        Err(BodyError::Timeout) => {
            abort.request = aborted(Some(CloseReason::PostTimeout));
            return Ok(reply::body_timeout());
        }
    };
    abort.request = None;
    let (reply, posted) = oneshot::channel();
    if http.send_polling(id, client, PollingRequest::Post { id, body, reply }).is_err() {
        return Err(RequestError::UnknownSid);
    }
    let error = post_error(http, posted.await)?;
    Ok(error.unwrap_or_else(|| reply::with_type(StatusCode::OK, "text/html", "ok")))
}

/// The response to a post that was not accepted. `None`: it was.
fn post_error(
    http: &Http,
    reply: Result<PostReply, oneshot::error::RecvError>,
) -> Result<Option<Response>, RequestError> {
    match reply {
        Ok(PostReply::Accepted) => Ok(None),
        Ok(PostReply::Closed(reason)) => Ok(Some(closed(http, reason))),
        Ok(PostReply::Unknown) | Err(_) => Err(RequestError::UnknownSid),
        Ok(PostReply::WrongTransport) => Err(RequestError::BadRequest),
    }
}

/// The response to a request for which its session was closed: a bad request, and the reason.
fn closed(http: &Http, reason: CloseReason) -> Response {
    bad_request(http, reason.close_frame().map_or(reason.name(), |(_, text)| text))
}

/// The response to a bad request, with the reason.
fn bad_request(http: &Http, reason: &str) -> Response {
    http.metrics.rejected_requests.fetch_add(1, Relaxed);
    let error = RequestError::BadRequest;
    let body = json!({"code": error.code(), "message": error.message(), "reason": reason});
    reply::with_type(StatusCode::BAD_REQUEST, "application/json", body.to_string())
}

/// Notifies a session that a request was given up, unless the message is taken back.
struct AbortOnDrop<'a> {
    http: &'a Http,
    id: ConnectionId,
    client: Client,
    request: Option<PollingRequest>,
}

// === impl AbortOnDrop ===

impl Drop for AbortOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            let _ = self.http.send_polling(self.id, self.client, request);
        }
    }
}

fn error_response(error: RequestError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    reply::with_type(status, "application/json", error.body())
}
