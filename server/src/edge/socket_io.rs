//! `/socket.io/`: the HTTP side of Engine.IO. Handshakes, polls, posts, and the WebSocket handshake.
//!
//! # Source
//! Engine.IO protocol, revision 4; error codes and their order follow the reference implementation.

use super::{Accepted, Edge, From, origin, reply};
use crate::shard::{PollAnswer, PostAnswer, Sid, ToShard};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use nodevent_protocol::engine_io::handshake::RequestError;
use nodevent_protocol::websocket;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::oneshot;

/// Where browsers connect.
pub(super) const PATH: &str = "/socket.io/";

/// What a request's query says, as far as it matters.
#[derive(Debug, Default)]
struct Query<'a> {
    transport: Option<&'a str>,
    sid: Option<&'a str>,
    revision: Option<&'a str>,
}

/// Answers every request to `/socket.io/`.
pub(super) async fn serve(edge: &Edge, mut request: Request, from: &From) -> Response {
    if !edge.settings.origins.admit(request.headers()) {
        edge.metrics.refused_origins.fetch_add(1, Relaxed);
        tracing::info!(
            "a handshake was refused for its origin; list the page's origin under `origins` to allow it"
        );
        return refuse(edge, RequestError::Forbidden);
    }
    let origin = origin::cors(request.headers());
    let response = if request.method() == Method::OPTIONS {
        preflight()
    } else {
        match answer(edge, &mut request, from).await {
            Ok(response) => response,
            Err(error) => refuse(edge, error),
        }
    };
    with_cors(response, origin)
}

async fn answer(edge: &Edge, request: &mut Request, from: &From) -> Result<Response, RequestError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let query = Query::parse(&query);
    let upgrade = is_upgrade(request.headers());
    let websocket = match query.transport {
        Some("websocket") => true,
        Some("polling") => false,
        _ => return Err(RequestError::UnknownTransport),
    };
    let sid = match query.sid {
        Some(text) => Some(Sid::parse(text).ok_or(RequestError::UnknownSid)?),
        None => None,
    };
    if websocket != upgrade {
        return Err(RequestError::BadRequest);
    }
    if sid.is_none() {
        if request.method() != Method::GET {
            return Err(RequestError::BadHandshakeMethod);
        }
        if query.revision != Some("4") {
            return Err(RequestError::UnsupportedProtocolVersion);
        }
    }
    match (sid, request.method()) {
        (upgrades, &Method::GET) if websocket => Ok(handshake(edge, request, from, upgrades)),
        (None, _) => open(edge).await,
        (Some(sid), &Method::GET) => poll(edge, sid).await,
        (Some(sid), &Method::POST) => post(edge, sid, request).await,
        _ => Err(RequestError::BadRequest),
    }
}

// === impl Query ===

impl<'a> Query<'a> {
    fn parse(text: &'a str) -> Self {
        let mut query = Self::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "transport" => query.transport = Some(value),
                "sid" => query.sid = Some(value),
                "EIO" => query.revision = Some(value),
                _ => {}
            }
        }
        query
    }
}

/// Begins a session on long-polling.
async fn open(edge: &Edge) -> Result<Response, RequestError> {
    if edge.is_full() {
        return Ok(busy());
    }
    let (answer, opened) = oneshot::channel();
    if edge.shards.send(edge.shards.emptiest(), ToShard::Open { answer }).is_err() {
        return Ok(busy());
    }
    Ok(opened.await.map_or_else(|_| busy(), |opened| payload(opened.0)))
}

/// Waits for packets. If the browser gives up, the session is told.
async fn poll(edge: &Edge, sid: Sid) -> Result<Response, RequestError> {
    let (answer, polled) = oneshot::channel();
    if edge.shards.send(sid.shard, ToShard::Poll { sid, answer }).is_err() {
        return Err(RequestError::UnknownSid);
    }
    let mut gone = Gone { edge, message: Some(ToShard::PollGone { sid }) };
    let polled = polled.await;
    gone.message = None;
    match polled {
        Ok(PollAnswer::Payload(body)) => Ok(payload(body)),
        Ok(PollAnswer::Unknown) => Err(RequestError::UnknownSid),
        Ok(PollAnswer::WrongTransport | PollAnswer::Overlap) | Err(_) => Err(RequestError::BadRequest),
    }
}

/// Takes packets.
async fn post(edge: &Edge, sid: Sid, request: &mut Request) -> Result<Response, RequestError> {
    let (answer, begun) = oneshot::channel();
    if edge.shards.send(sid.shard, ToShard::PostBegins { sid, answer }).is_err() {
        return Err(RequestError::UnknownSid);
    }
    posted(begun.await)?;
    let mut gone = Gone { edge, message: Some(ToShard::PostGone { sid }) };
    let body = Limited::new(std::mem::take(request.body_mut()), edge.settings.max_payload);
    let body = match tokio::time::timeout(edge.settings.request_timeout, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            edge.metrics.refused_requests.fetch_add(1, Relaxed);
            tracing::info!(most = edge.settings.max_payload, "a polling body was refused: it is too large");
            return Ok(reply::text(StatusCode::PAYLOAD_TOO_LARGE, String::new()));
        }
        Ok(Err(_)) => return Err(RequestError::BadRequest),
        Err(_) => return Ok(reply::text(StatusCode::REQUEST_TIMEOUT, String::new())),
    };
    gone.message = None;
    let (answer, taken) = oneshot::channel();
    if edge.shards.send(sid.shard, ToShard::Post { sid, body, answer }).is_err() {
        return Err(RequestError::UnknownSid);
    }
    posted(taken.await)?;
    Ok(reply::with_type(StatusCode::OK, "text/html", "ok"))
}

fn posted(answer: Result<PostAnswer, oneshot::error::RecvError>) -> Result<(), RequestError> {
    match answer {
        Ok(PostAnswer::Ok) => Ok(()),
        Ok(PostAnswer::Unknown) | Err(_) => Err(RequestError::UnknownSid),
        Ok(PostAnswer::WrongTransport | PostAnswer::Refused) => Err(RequestError::BadRequest),
    }
}

/// Tells a shard that a request was given up, unless the message is taken back.
struct Gone<'a> {
    edge: &'a Edge,
    message: Option<ToShard>,
}

// === impl Gone ===

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            let (ToShard::PollGone { sid } | ToShard::PostGone { sid }) = message else { return };
            let _ = self.edge.shards.send(sid.shard, message);
        }
    }
}

/// Answers the WebSocket handshake, and leaves word that the socket is to be handed to a shard.
fn handshake(edge: &Edge, request: &Request, from: &From, upgrades: Option<Sid>) -> Response {
    if upgrades.is_none() && edge.is_full() {
        return busy();
    }
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if header("sec-websocket-version") != Some("13") {
        let mut response =
            reply::text(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is spoken here.\n".into());
        response.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
        return response;
    }
    let key = header("sec-websocket-key")
        .filter(|key| base64::engine::general_purpose::STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16));
    let Some(accept) = key.and_then(|key| HeaderValue::from_str(&websocket::accept_key(key)).ok()) else {
        edge.metrics.refused_requests.fetch_add(1, Relaxed);
        return reply::text(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing or malformed.\n".into());
    };
    from.handover.put(Accepted { upgrades });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let has = |name, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|one| one.trim().eq_ignore_ascii_case(token))
    };
    has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade")
}

fn payload(body: Vec<u8>) -> Response {
    let mut response = reply::with_type(StatusCode::OK, "text/plain; charset=UTF-8", body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn busy() -> Response {
    let mut response = reply::text(StatusCode::SERVICE_UNAVAILABLE, "The server is busy.\n".into());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn refuse(edge: &Edge, error: RequestError) -> Response {
    edge.metrics.refused_requests.fetch_add(1, Relaxed);
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    reply::with_type(status, "application/json", error.body())
}

fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    response
}

/// Lets an admitted page of another origin read the answer.
fn with_cors(mut response: Response, origin: Option<HeaderValue>) -> Response {
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}
