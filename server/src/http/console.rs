//! The console page, and what it shows of the server in addition to what it receives.

use super::router::foreign_host;
use super::{Http, reply};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Adds the console's paths.
pub(super) fn mount(router: Router<Arc<Http>>) -> Router<Arc<Http>> {
    router
        .route("/", get(file))
        .route("/console.js", get(file))
        .route("/console.css", get(file))
        .route("/console.json", get(state))
}

async fn file(State(http): State<Arc<Http>>, request: Request) -> Response {
    if let Some(rejection) = foreign_host(&http, &request) {
        return rejection;
    }
    http.assets.console(&request)
}

async fn state(State(http): State<Arc<Http>>, request: Request) -> Response {
    if let Some(rejection) = foreign_host(&http, &request) {
        return rejection;
    }
    let namespaces: Vec<_> = http
        .namespaces
        .iter()
        .zip(http.engines.iter())
        .map(|(namespace, engine)| {
            json!({
                "name": &*namespace.name,
                "dialect": namespace.dialects.join(", "),
                "protocols": namespace.protocols,
                "secured": namespace.is_secured,
                "engine": engine.kind,
                "ready": engine.health.is_ready(),
            })
        })
        .collect();
    let state = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "connections": http.metrics.connections.load(Relaxed),
        "namespaces": namespaces,
    });
    let mut response = reply::with_type(StatusCode::OK, "application/json", state.to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
