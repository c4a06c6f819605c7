//! `/api/<ns>/rooms/<room>/history` and `…/events`: rooms for curl, scripts and pages without the client, with the
//! same keys, origins and recovery.

use super::{Edge, origin, reply};
use crate::dialect::Recovery;
use crate::frame::Frame;
use crate::namespace::Namespace;
use crate::shard::events::Told;
use crate::shard::keeper::Since;
use crate::shard::{Listen, Shards, Sid, ToShard};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header, request};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame as BodyFrame};
use nodevent_protocol::history::Position;
use nodevent_protocol::room;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

/// Publications that may wait for one reader; their bytes are bounded by the outbox's limit.
const WAITING: usize = 1024;

/// Answers a request for one room.
pub(super) async fn serve(
    edge: &Arc<Edge>,
    namespace: &Namespace,
    room: &str,
    view: &str,
    asked: &request::Parts,
) -> Response {
    let headers = &asked.headers;
    if !edge.settings.origins.admit(headers) {
        edge.metrics.rejected_origins.fetch_add(1, Relaxed);
        tracing::info!("a room was refused for the page's origin; list it under `origins` to allow it");
        return reply::error(StatusCode::FORBIDDEN, "this page may not connect", "list its origin under `origins`");
    }
    let query = Query::parse(asked.uri.query().unwrap_or_default());
    let mut response = match admitted(namespace, room, &query, headers) {
        Err(refusal) => {
            edge.metrics.rejected_joins.fetch_add(1, Relaxed);
            tracing::info!(namespace = &*namespace.name, reason = refusal, "a join was refused");
            let remedy = "send a key for this room, as `?key=…` or `Authorization: Bearer …`";
            reply::error(StatusCode::FORBIDDEN, refusal, remedy)
        }
        Ok(()) if view == "history" => history(edge, namespace, room, &query).await,
        Ok(()) if view == "events" => events(edge, namespace, room, &query, headers).await,
        Ok(()) => {
            reply::error(StatusCode::NOT_FOUND, "there is no such view of a room", "ask for history or events")
        }
    };
    let answer = response.headers_mut();
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(origin) = origin::cors(headers) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

fn admitted(namespace: &Namespace, room: &str, query: &Query, headers: &HeaderMap) -> Result<(), &'static str> {
    room::check(room, namespace.limits.name).map_err(|_| "Bad room")?;
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer =
        bearer.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let key = bearer.map(|(_, key)| key.trim().to_owned()).or_else(|| query.key.clone()).map(Value::from);
    namespace.admission.room(room, key.as_ref()).map_err(|refusal| refusal.as_str())
}

/// What a query says.
#[derive(Debug, Default)]
struct Query {
    key: Option<String>,
    since: Option<String>,
}

// === impl Query ===

impl Query {
    fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "key" => query.key = Some(super::decoded(value)),
                "since" => query.since = Some(super::decoded(value)),
                _ => {}
            }
        }
        query
    }
}

/// What is kept, or what came after `since`: `{"position", "recovered", "publications"}`.
async fn history(edge: &Edge, namespace: &Namespace, room: &str, query: &Query) -> Response {
    let since = match query.since.as_deref().map(Position::parse) {
        None => Since::Beginning,
        Some(Some(position)) => Since::Position(position),
        Some(None) => Since::Invalid,
    };
    match edge.engines.get(namespace.number).read(room, since).await {
        Ok(Some(read)) => {
            let publications: Vec<&str> = read.missed.iter().map(Frame::publication_text).collect();
            let body = format!(
                "{{\"position\":\"{}\",\"recovered\":{},\"publications\":[{}]}}",
                read.position,
                read.recovered,
                publications.join(",")
            );
            reply::with_type(StatusCode::OK, "application/json", body)
        }
        Ok(None) => reply::error(
            StatusCode::NOT_FOUND,
            "this room has no history",
            "switch it on with `history: {size: 100}`",
        ),
        Err(error) => reply::error(StatusCode::SERVICE_UNAVAILABLE, &error.to_string(), "try again; see /readyz"),
    }
}

/// What happens, as Server-Sent Events. `Last-Event-ID` or `since` is the position after which to begin.
async fn events(
    edge: &Arc<Edge>,
    namespace: &Namespace,
    room: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Response {
    let busy = || reply::error(StatusCode::SERVICE_UNAVAILABLE, "the server is busy", "try again");
    if edge.is_full() {
        return busy();
    }
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (told, rest) = mpsc::channel(WAITING);
    let (waiting, (answer, begun)) = (Arc::new(AtomicUsize::new(0)), oneshot::channel());
    let listen = Listen {
        namespace: namespace.number,
        room: room.into(),
        since: last.or_else(|| query.since.clone()),
        told,
        waiting: Arc::clone(&waiting),
        answer,
    };
    let sent = edge.shards.send(edge.shards.emptiest(), ToShard::Listen(Box::new(listen)));
    let (Ok(()), Ok(sid)) = (sent, begun.await) else { return busy() };
    let lines = Lines { rest, waiting, shards: edge.shards.clone(), sid };
    let mut response = reply::with_type(StatusCode::OK, "text/event-stream", Body::new(lines));
    // A proxy that waits for more before it passes anything on would make it useless.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// The body of an answer; when it is dropped, the shard is told.
struct Lines {
    rest: mpsc::Receiver<Told>,
    waiting: Arc<AtomicUsize>,
    shards: Shards,
    sid: Sid,
}

// === impl Lines ===

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        self.rest.poll_recv(context).map(|told| {
            let told = told?;
            if let Told::Frame(frame) = &told {
                self.waiting.fetch_sub(frame.packet().len(), Relaxed);
            }
            Some(Ok(BodyFrame::data(lines(&told).into())))
        })
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.shards.send(self.sid.shard, ToShard::ListenerGone { sid: self.sid });
    }
}

/// One event, as lines.
fn lines(told: &Told) -> String {
    match told {
        Told::Beat => ":\n\n".to_owned(),
        Told::Joined(Recovery { position, recovered }) => {
            let id = position.map_or(String::new(), |position| format!("id: {position}\n"));
            let position = position.map(|position| position.to_string());
            format!("{id}event: joined\ndata: {}\n\n", json!({"position": position, "recovered": recovered}))
        }
        Told::Frame(frame) if frame.publication_text().is_empty() => other_event(frame).unwrap_or_default(),
        Told::Frame(frame) => {
            let text = frame.publication_text();
            let id = position_of(text).map_or(String::new(), |position| format!("id: {position}\n"));
            format!("{id}{}\n", data(text))
        }
    }
}

/// An event of the dialect that is no publication, e.g. `lost`.
fn other_event(frame: &Frame) -> Option<String> {
    let packet = std::str::from_utf8(frame.packet()).ok()?;
    let args: Vec<Value> = serde_json::from_str(&packet[packet.find('[')?..]).ok()?;
    let name = args.first()?.as_str()?;
    Some(format!("event: {name}\n{}\n", data(&args.get(1)?.to_string())))
}

/// A text as `data` lines: JSON may be spread over several.
fn data(text: &str) -> String {
    text.split(['\n', '\r']).map(|line| format!("data: {line}\n")).collect()
}

/// The position that the engine has put at the end of a publication's text.
fn position_of(text: &str) -> Option<Position> {
    let (_, rest) = text.rsplit_once("\"position\":\"")?;
    Position::parse(rest.strip_suffix("\"}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_publication_is_an_event_whose_id_is_its_position() {
        let text = r#"{"room":"r","event":"e","position":"00000000000000ab:7"}"#;
        let frame = Frame::publication(&format!("42[\"event\",{text}]"), 11, text.len());
        assert_eq!(lines(&Told::Frame(frame)), format!("id: 00000000000000ab:7\ndata: {text}\n\n"));
    }

    #[test]
    fn json_that_is_spread_over_lines_stays_one_event() {
        assert_eq!(data("{\n\"a\":1}"), "data: {\ndata: \"a\":1}\n");
    }

    #[test]
    fn what_is_lost_and_that_nothing_happens_are_told_too() {
        let frame = Frame::text("42/n,[\"lost\",{\"room\":\"r\"}]");
        assert_eq!(lines(&Told::Frame(frame)), "event: lost\ndata: {\"room\":\"r\"}\n\n");
        assert_eq!(lines(&Told::Beat), ":\n\n");
        let joined = Told::Joined(Recovery { position: None, recovered: false });
        assert_eq!(lines(&joined), "event: joined\ndata: {\"position\":null,\"recovered\":false}\n\n");
    }
}
