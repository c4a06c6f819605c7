//! Responses of Server-Sent Events: each is a connection whose messages are the body.

use super::connections::{OpenStream, StreamReceiver};
use super::{Http, reply};
use crate::connect_info::ConnectInfo;
use crate::protocol::OpenProtocol;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame as BodyFrame};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The body of a response.
struct EventStream(StreamReceiver);

/// Opens a connection, and responds with what its protocol sends.
pub async fn respond(http: &Http, protocol: OpenProtocol, info: ConnectInfo) -> Response {
    let (reply, opened) = oneshot::channel();
    if http.open_stream(OpenStream { protocol, info, reply }).is_err() {
        return busy();
    }
    let Ok(messages) = opened.await else { return busy() };
    let body = Body::new(EventStream(messages));
    let mut response = reply::with_type(StatusCode::OK, "text/event-stream", body);
    let headers = response.headers_mut();
    // A proxy that buffers the response would make it useless.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A text as `data` lines: it may contain line breaks.
pub fn data(text: &str) -> String {
    text.split(['\n', '\r']).map(|line| format!("data: {line}\n")).collect()
}

fn busy() -> Response {
    reply::error(StatusCode::SERVICE_UNAVAILABLE, "the server is busy", "retry")
}

// === impl EventStream ===

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        self.0.poll_next(context).map(|frame| {
            // Shared with all other readers, and counted until it is written.
            Some(Ok(BodyFrame::data(Bytes::from_owner(frame?))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_line_breaks_stays_one_event() {
        assert_eq!(data("{\n\"a\":1}"), "data: {\ndata: \"a\":1}\n");
    }
}
