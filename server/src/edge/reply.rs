//! The plain answers every path uses.

use crate::metrics::Metrics;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;

/// A response of that status, type and body.
pub(super) fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

/// Plain text.
pub(super) fn text(status: StatusCode, body: String) -> Response {
    with_type(status, "text/plain; charset=utf-8", body)
}

/// What is wrong and what to do about it, as `protocol/README.md` section 3 has it.
pub(super) fn error(status: StatusCode, error: &str, hint: &str) -> Response {
    with_type(status, "application/json", json!({"error": error, "hint": hint}).to_string())
}

/// The body of a request did not arrive in time: tells, counts and logs it.
pub(super) fn too_slow(metrics: &Metrics) -> Response {
    metrics.request_timeouts.fetch_add(1, Relaxed);
    tracing::info!("a request's body did not arrive in time");
    let mut response = error(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time", "send it again");
    // What may still come of the body is of no interest.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The path exists, the method does not.
pub(super) fn method_not_allowed(allowed: &'static str) -> Response {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("Only {allowed} here.\n"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
