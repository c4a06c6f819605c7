//! `/socket.io/`: the HTTP side of Engine.IO. Handshakes, polls, posts, and the WebSocket handshake.
//!
//! # Source
//! Engine.IO protocol, revision 4; error codes and their order follow the reference implementation.

use super::{Accepted, Announced, Edge, origin, reply};
use crate::close_reason::CloseReason;
use crate::shard::{PollAnswer, PostAnswer, Purpose, Sid, ToShard, UpgradeAnswer};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::response::Response;
use base64::Engine as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use nodevent_protocol::engine_io::handshake::RequestError;
use nodevent_protocol::websocket;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::oneshot;

/// What a request's query says, as far as it matters.
#[derive(Debug, Default)]
struct Query<'a> {
    transport: Option<&'a str>,
    sid: Option<&'a str>,
    revision: Option<&'a str>,
}

/// Answers every request to the path of Engine.IO, `/socket.io/` by default.
pub(super) async fn serve(edge: &Edge, mut request: Request) -> Response {
    if !edge.settings.origins.admit(request.headers()) {
        edge.metrics.rejected_origins.fetch_add(1, Relaxed);
        tracing::info!(
            "a handshake was refused for its origin; list the page's origin under `origins` to allow it"
        );
        return refuse(edge, RequestError::Forbidden);
    }
    let origin = origin::cors(request.headers());
    let response = if request.method() == Method::OPTIONS {
        preflight()
    } else {
        match answer(edge, &mut request).await {
            Ok(response) => response,
            Err(error) => refuse(edge, error),
        }
    };
    with_cors(response, origin)
}

async fn answer(edge: &Edge, request: &mut Request) -> Result<Response, RequestError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let query = Query::parse(&query);
    let method = request.method().clone();
    // HTTP before 1.1 knows no upgrades.
    let upgrade = request.version() >= Version::HTTP_11 && is_upgrade(request.headers());
    let websocket = match query.transport {
        Some("websocket") => true,
        Some("polling") => false,
        _ => return Err(RequestError::UnknownTransport),
    };
    let Some(sid) = query.sid else {
        return match method {
            Method::GET if websocket != upgrade => Err(RequestError::BadRequest),
            Method::GET if query.revision != Some("4") => Err(RequestError::UnsupportedProtocolVersion),
            Method::GET if websocket => handshake(edge, request.headers(), None).await,
            Method::GET => open(edge).await,
            _ => Err(RequestError::BadHandshakeMethod),
        };
    };
    let sid = Sid::parse(sid).ok_or(RequestError::UnknownSid)?;
    match method {
        _ if websocket != upgrade || query.revision != Some("4") => Err(misfit(edge, sid).await),
        Method::GET if websocket => handshake(edge, request.headers(), Some(sid)).await,
        Method::GET => poll(edge, sid).await,
        Method::POST => post(edge, sid, request).await,
        _ => Err(misfit(edge, sid).await),
    }
}

/// What is said of a request that no session could serve, of one that there is or is not.
async fn misfit(edge: &Edge, sid: Sid) -> RequestError {
    let (answer, found) = oneshot::channel();
    let asked = edge.shards.send(sid.shard, ToShard::Find { sid, answer });
    match asked.is_ok() && found.await.unwrap_or(false) {
        true => RequestError::BadRequest,
        false => RequestError::UnknownSid,
    }
}

// === impl Query ===

impl<'a> Query<'a> {
    fn parse(text: &'a str) -> Self {
        let mut query = Self::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "transport" => query.transport = Some(value),
                "sid" => query.sid = Some(value).filter(|sid| !sid.is_empty()),
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
        Ok(PollAnswer::Overlap) => Ok(closed(edge, CloseReason::Overlap)),
        Ok(PollAnswer::WrongTransport) | Err(_) => Err(RequestError::BadRequest),
    }
}

/// Takes packets.
async fn post(edge: &Edge, sid: Sid, request: &mut Request) -> Result<Response, RequestError> {
    let (answer, begun) = oneshot::channel();
    if edge.shards.send(sid.shard, ToShard::PostBegins { sid, answer }).is_err() {
        return Err(RequestError::UnknownSid);
    }
    if let Some(refusal) = refusal_of_post(edge, begun.await)? {
        return Ok(refusal);
    }
    let ends = |reason| Some(ToShard::PostGone { sid, ends: reason });
    let mut gone = Gone { edge, message: ends(Some(CloseReason::PostAborted)) };
    if request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream") {
        // Binary bodies belong to protocol 3.
        gone.message = ends(Some(CloseReason::Malformed));
        return Ok(closed(edge, CloseReason::Malformed));
    }
    let body = Limited::new(std::mem::take(request.body_mut()), edge.settings.max_payload);
    let body = match tokio::time::timeout(edge.settings.request_timeout, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            gone.message = ends(None);
            let most = edge.settings.max_payload;
            edge.metrics.oversized_requests.fetch_add(1, Relaxed);
            tracing::info!(most, "a post was refused: its body is too large");
            let text = format!("The body is larger than {most} bytes.\n");
            return Ok(reply::text(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Ok(Err(_)) => return Err(RequestError::BadRequest),
        Err(_) => {
            gone.message = ends(Some(CloseReason::PostTimeout));
            return Ok(reply::too_slow(&edge.metrics));
        }
    };
    gone.message = None;
    let (answer, taken) = oneshot::channel();
    if edge.shards.send(sid.shard, ToShard::Post { sid, body, answer }).is_err() {
        return Err(RequestError::UnknownSid);
    }
    let refusal = refusal_of_post(edge, taken.await)?;
    Ok(refusal.unwrap_or_else(|| reply::with_type(StatusCode::OK, "text/html", "ok")))
}

/// What a post is told that was not taken. `None`: it was.
fn refusal_of_post(
    edge: &Edge,
    answer: Result<PostAnswer, oneshot::error::RecvError>,
) -> Result<Option<Response>, RequestError> {
    match answer {
        Ok(PostAnswer::Ok) => Ok(None),
        Ok(PostAnswer::Closed(reason)) => Ok(Some(closed(edge, reason))),
        Ok(PostAnswer::Unknown) | Err(_) => Err(RequestError::UnknownSid),
        Ok(PostAnswer::WrongTransport) => Err(RequestError::BadRequest),
    }
}

/// The answer to a request for which its session was closed: a bad request, and why.
fn closed(edge: &Edge, reason: CloseReason) -> Response {
    edge.metrics.rejected_requests.fetch_add(1, Relaxed);
    let error = RequestError::BadRequest;
    let why = reason.close_frame().map_or(reason.name(), |(_, text)| text);
    let body = json!({"code": error.code(), "message": error.message(), "reason": why});
    reply::with_type(StatusCode::BAD_REQUEST, "application/json", body.to_string())
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
            let (ToShard::PollGone { sid } | ToShard::PostGone { sid, .. }) = message else { return };
            let _ = self.edge.shards.send(sid.shard, message);
        }
    }
}

/// Grants the WebSocket handshake; [`Accepted`] in the response says that the socket is to be handed to a shard.
async fn handshake(edge: &Edge, headers: &HeaderMap, sid: Option<Sid>) -> Result<Response, RequestError> {
    if sid.is_none() && edge.is_full() {
        return Ok(busy());
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if header("sec-websocket-version") != Some("13") {
        let mut response =
            reply::text(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is spoken here.\n".into());
        response.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
        edge.metrics.rejected_requests.fetch_add(1, Relaxed);
        return Ok(response);
    }
    let key = header("sec-websocket-key")
        .filter(|key| base64::engine::general_purpose::STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16));
    let Some(accept) = key.and_then(|key| HeaderValue::from_str(&websocket::accept_key(key)).ok()) else {
        edge.metrics.rejected_requests.fetch_add(1, Relaxed);
        let text = "Sec-WebSocket-Key is missing or malformed.\n";
        return Ok(reply::text(StatusCode::BAD_REQUEST, text.into()));
    };
    let (purpose, announced) = match sid {
        Some(sid) => purpose_of_upgrade(edge, sid).await?,
        None => (Purpose::Open, None),
    };
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Accepted { purpose, sid, announced });
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// Asks a session whether it may change to a WebSocket. One that may not is told so on that WebSocket, as the
/// reference implementation does.
async fn purpose_of_upgrade(edge: &Edge, sid: Sid) -> Result<(Purpose, Option<Arc<Announced>>), RequestError> {
    let (answer, asked) = oneshot::channel();
    if edge.shards.send(sid.shard, ToShard::UpgradeBegins { sid, answer }).is_err() {
        return Err(RequestError::UnknownSid);
    }
    // From here on the session may count on it, whatever becomes of this request.
    let announced = Announced { shards: edge.shards.clone(), sid, arrived: AtomicBool::new(false) };
    let verdict = asked.await;
    match verdict {
        Ok(UpgradeAnswer::Ok) => Ok((Purpose::Upgrade(sid), Some(Arc::new(announced)))),
        other => {
            announced.arrived.store(true, Relaxed);
            match other {
                Ok(UpgradeAnswer::Superfluous) => Ok((Purpose::Superfluous, None)),
                _ => Err(RequestError::UnknownSid),
            }
        }
    }
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
    edge.metrics.rejected_requests.fetch_add(1, Relaxed);
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
