//! `/healthz`, `/readyz` and `/metrics`.

use super::{Http, reply};
use crate::metrics::Format;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The process runs.
pub(super) async fn healthz() -> Response {
    reply::text(StatusCode::OK, "ok\n".into())
}

/// Publications get through, and new connections are accepted. It needs no key, so the names of namespaces are not part
/// of the response.
pub(super) async fn readyz(State(http): State<Arc<Http>>) -> Response {
    let is_ready = http.engines.iter().all(|engine| engine.health.is_ready());
    let (status, text) = match (http.draining.load(Relaxed), is_ready) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, true) => (StatusCode::OK, "ready\n"),
        (false, false) => {
            (StatusCode::SERVICE_UNAVAILABLE, "an engine is unavailable; see /readyz of the admin listener\n")
        }
    };
    reply::text(status, text.into())
}

/// The same for the admin listener, with the names of the namespaces that are not ready.
pub(super) async fn readyz_of_each(State(http): State<Arc<Http>>) -> Response {
    if http.draining.load(Relaxed) {
        return reply::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".into());
    }
    let mut body = String::new();
    for (namespace, engine) in http.namespaces.iter().zip(http.engines.iter()) {
        if !engine.health.is_ready() {
            body.push_str(&format!("{}: health probe timed out ({})\n", namespace.name, engine.kind));
        }
    }
    if body.is_empty() {
        reply::text(StatusCode::OK, "ready\n".into())
    } else {
        reply::text(StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

/// All series, in the format that the request accepts.
pub(super) async fn metrics(State(http): State<Arc<Http>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (kind, format) = match accept.contains("application/openmetrics-text") {
        true => ("application/openmetrics-text; version=1.0.0; charset=utf-8", Format::OpenMetrics),
        false => ("text/plain; version=0.0.4; charset=utf-8", Format::Prometheus),
    };
    reply::with_type(StatusCode::OK, kind, http.metrics.render_as(format))
}
