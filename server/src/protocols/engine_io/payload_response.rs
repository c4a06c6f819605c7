//! The response to a poll: messages as its body, in the format of the client.

use super::Upper;
use crate::encoding::Frame;
use crate::http::connections::PollingFormat;
use crate::http::reply;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use nodevent_protocol::{engine_io, engine_io_3};
use std::borrow::Cow;

const TEXT: &str = "text/plain; charset=UTF-8";
const BYTES: &str = "application/octet-stream";

/// Returns the response with these messages.
pub(super) fn payload_response<U: Upper>(frames: &[Frame], format: PollingFormat) -> Response {
    // A little more than the messages: their separators or lengths.
    let mut body = Vec::with_capacity(frames.iter().map(|frame| frame.payload().len() + 12).sum());
    let kind = match format.version {
        3 if needs_bytes(frames, format) => {
            write_bytes_3(&mut body, frames);
            BYTES
        }
        3 => {
            write_text_3::<U>(&mut body, frames);
            TEXT
        }
        _ => {
            write(&mut body, frames);
            TEXT
        }
    };
    let mut response = reply::with_type(StatusCode::OK, kind, body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn write(body: &mut Vec<u8>, frames: &[Frame]) {
    for frame in frames {
        if frame.is_binary() {
            engine_io::payload::push_binary(body, frame.payload());
        } else {
            engine_io::payload::push(body, frame.payload());
        }
    }
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
