//! The response to a poll: messages as its body, in the format of the client.

use super::Upper;
use super::payload_body::{PayloadBody, in_one_part};
use crate::encoding::Frame;
use crate::http::connections::PollingFormat;
use crate::http::reply;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use nodevent_protocol::engine_io_3;
use std::borrow::Cow;

const TEXT: &str = "text/plain; charset=UTF-8";
const BYTES: &str = "application/octet-stream";

/// What a byte of a message takes at most in a payload of version 3, where an application may write it in ASCII.
const MAX_EXPANSION: usize = 3;

/// Returns the response with these messages. It keeps `kept` until it is written.
pub(super) fn payload_response<U: Upper, K: Send + Sync + 'static>(
    frames: Vec<Frame>,
    format: PollingFormat,
    kept: K,
) -> Response {
    let (kind, body) = match format.version {
        3 => {
            let (kind, body) = encode_3::<U>(&frames, format);
            (kind, Body::from(in_one_part(body, kept)))
        }
        _ => (TEXT, Body::new(PayloadBody::new(frames, kept))),
    };
    let mut response = reply::with_type(StatusCode::OK, kind, body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What the response holds at most. Bytes.
pub(super) fn max_bytes(frames: &[Frame], format: PollingFormat) -> usize {
    let bytes: usize = frames.iter().map(|frame| frame.payload().len()).sum();
    if format.version == 3 { bytes * MAX_EXPANSION } else { bytes }
}

/// Returns the type and the payload of version 3.
fn encode_3<U: Upper>(frames: &[Frame], format: PollingFormat) -> (&'static str, Vec<u8>) {
    // A little more than the messages: their lengths.
    let mut body = Vec::with_capacity(frames.iter().map(|frame| frame.payload().len() + 12).sum());
    if needs_bytes(frames, format) {
        write_bytes_3(&mut body, frames);
        return (BYTES, body);
    }
    write_text_3::<U>(&mut body, frames);
    (TEXT, body)
}

/// Whether both generations of clients of version 3 read a payload of bytes alike, and not one of text.
fn needs_bytes(frames: &[Frame], format: PollingFormat) -> bool {
    !format.is_text_only && frames.iter().any(|frame| frame.is_binary() || !frame.payload().is_ascii())
}

fn write_bytes_3(body: &mut Vec<u8>, frames: &[Frame]) {
    for frame in frames {
        if frame.is_binary() {
            engine_io_3::payload::push_binary(body, frame.payload());
        } else {
            engine_io_3::payload::push_text_as_bytes(body, frame.payload());
        }
    }
}

/// Writes text, in ASCII if possible. A client that reads only text is sent no binary messages.
fn write_text_3<U: Upper>(body: &mut Vec<u8>, frames: &[Frame]) {
    for frame in frames {
        let text = String::from_utf8_lossy(frame.payload());
        let text = U::ascii(&text).map_or(text, Cow::Owned);
        engine_io_3::payload::push_text(body, &text);
    }
}
