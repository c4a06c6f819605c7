//! Plain responses that several paths use.

use crate::metrics::Metrics;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;

/// A response with that status, type and body.
pub fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

/// Plain text.
pub fn text(status: StatusCode, body: String) -> Response {
    with_type(status, "text/plain; charset=utf-8", body)
}

/// What is wrong and what to do about it, as `protocol/README.md` section 3 defines it.
pub fn error(status: StatusCode, error: &str, hint: &str) -> Response {
    with_type(status, "application/json", json!({"error": error, "hint": hint}).to_string())
}

/// The body of a request did not arrive in time.
pub fn body_timeout() -> Response {
    let mut response = error(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time", "retry the request");
    // The rest of the body is not read.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The server has too much to do, or as many connections as allowed.
pub fn busy() -> Response {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "The server is busy.\n".into());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The client's address has reached a limit, the key of which is `limit`.
pub fn too_many_requests(limit: &str) -> Response {
    let hint = format!("retry later; behind a proxy, set `trusted_proxies`, or raise `limits: {limit}`");
    let mut response = error(StatusCode::TOO_MANY_REQUESTS, "too much from this address", &hint);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The path exists, the method does not.
pub fn method_not_allowed(allowed: &'static str) -> Response {
    let text_body = format!("Method not allowed; use {allowed}.\n");
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, text_body);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// There is nothing at this path. The text is the old contract's.
pub fn not_found(path: &str) -> Response {
    text(StatusCode::NOT_FOUND, format!("Namespace {} not found.", path.trim_start_matches('/')))
}

/// A publisher named a namespace that does not exist.
pub fn unknown_namespace(metrics: &Metrics, name: &str) -> Response {
    metrics.rejected_requests.fetch_add(1, Relaxed);
    error(
        StatusCode::NOT_FOUND,
        &format!("there is no namespace {name}"),
        "publish to a namespace of the server's configuration, or add it there",
    )
}
