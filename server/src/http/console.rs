//! The console page, and what it shows of the server in addition to what it receives.
//!
//! In development it is there for pages of this machine only. A page of another site must not read it under a name of its
//! own that DNS resolves to this machine, so the request has to name this machine, too. The page has no keys; if the
//! application serves it, the application signs them (`lib/nodevent/console.rb`).

use super::router::foreign_host;
use super::{Http, PeerAddr, reply};
use crate::host;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// To whom the console page is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsoleAccess {
    /// There is no page.
    Off,
    /// To browsers on this machine, under a name of this machine, and not through a proxy.
    ThisMachine,
    /// To every browser that reaches the server.
    Everyone,
}

/// Adds the console's paths.
pub(super) fn mount(router: Router<Arc<Http>>, http: &Http) -> Router<Arc<Http>> {
    if http.settings().console == ConsoleAccess::Off {
        return router;
    }
    router
        .route("/", get(file))
        .route("/console", get(file))
        .route("/console.js", get(file))
        .route("/console.css", get(file))
        .route("/console.json", get(state))
}

/// Whether the page is served to the sender of a request.
pub(super) fn is_served_to(http: &Http, request: &Request) -> bool {
    match http.settings().console {
        ConsoleAccess::Off => false,
        ConsoleAccess::Everyone => true,
        ConsoleAccess::ThisMachine => {
            let host =
                host::requested_host(request.uri(), request.version(), request.headers()).unwrap_or_default();
            PeerAddr::is_on_this_machine(request.extensions()) && host::is_loopback(host)
        }
    }
}

/// The response to a request that may not read the console.
fn rejection(http: &Http, request: &Request) -> Option<Response> {
    if let Some(rejection) = foreign_host(http, request) {
        return Some(rejection);
    }
    if is_served_to(http, request) {
        return None;
    }
    http.metrics.rejected_requests.fetch_add(1, Relaxed);
    tracing::info!(client = %PeerAddr::of(request.extensions()), "request for the console rejected: not of this machine");
    let hint =
        "open it on the server's machine as http://localhost with the server's port, or write `console: true`";
    Some(reply::error(StatusCode::FORBIDDEN, "in development, the console is for pages of this machine only", hint))
}

async fn file(State(http): State<Arc<Http>>, request: Request) -> Response {
    rejection(&http, &request).unwrap_or_else(|| http.assets.console(&request))
}

async fn state(State(http): State<Arc<Http>>, request: Request) -> Response {
    if let Some(rejection) = rejection(&http, &request) {
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
