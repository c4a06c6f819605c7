//! Which path is served by what.

use super::endpoint::Endpoint;
use super::query::percent_decode;
use super::{Http, PeerAddr, console, health, publish, reply, room_history};
use crate::origin;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, get};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tower::ServiceExt as _;

/// What one kind of listener serves.
#[derive(Clone)]
pub struct HttpService {
    http: Arc<Http>,
    router: Router,
    /// Whether clients connect here.
    accepts_connections: bool,
}

// === impl HttpService ===

impl HttpService {
    /// What the public listeners serve.
    pub fn public(http: &Arc<Http>) -> Self {
        let router = Router::new()
            .route("/socket.io/{*file}", get(socket_io_file))
            .route("/api/{*rest}", any(api))
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz));
        let router = if http.settings.console { console::mount(router) } else { router };
        Self { http: Arc::clone(http), router: router.with_state(Arc::clone(http)), accepts_connections: true }
    }

    /// What the admin listener serves.
    pub fn admin(http: &Arc<Http>) -> Self {
        let router = Router::new()
            .route("/metrics", get(health::metrics))
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz))
            .with_state(Arc::clone(http));
        Self { http: Arc::clone(http), router, accepts_connections: false }
    }

    pub(super) fn http(&self) -> Arc<Http> {
        Arc::clone(&self.http)
    }

    /// Serves a request. The endpoints of the protocols come first: they receive most requests.
    pub(super) async fn serve(self, mut request: Request, peer: PeerAddr) -> Response {
        request.extensions_mut().insert(peer);
        if self.accepts_connections {
            let path = request.uri().path();
            if let Some(endpoint) = self.http.endpoints.iter().find(|endpoint| endpoint.matches(path)) {
                return serve_endpoint(&self.http, &**endpoint, request).await;
            }
        }
        match self.router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Checks the origin, serves the request, and lets the page read the response.
async fn serve_endpoint(http: &Http, endpoint: &dyn Endpoint, request: Request) -> Response {
    if !admits_origin(http, request.headers()) {
        return endpoint.reject_origin();
    }
    let origin = origin::cors(request.headers());
    let response = match *request.method() {
        Method::OPTIONS => preflight(),
        _ => endpoint.serve(http, request).await,
    };
    with_cors(response, origin)
}

/// Whether pages of the request's origin may connect. Counts and logs a rejection.
fn admits_origin(http: &Http, headers: &HeaderMap) -> bool {
    let is_admitted = http.settings.origins.admit(headers);
    if !is_admitted {
        http.metrics.rejected_origins.fetch_add(1, Relaxed);
        http.metrics.rejected_requests.fetch_add(1, Relaxed);
        tracing::info!("request rejected for its origin; list the page's origin under `origins` to allow it");
    }
    is_admitted
}

fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    response
}

/// Lets an admitted page of another origin read the response.
fn with_cors(mut response: Response, origin: Option<HeaderValue>) -> Response {
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// `GET /api/<ns>`, `POST /api/<ns>/emit` and `GET /api/<ns>/rooms/<room>/history`. `<ns>` may contain slashes, encoded or
/// not, and `<room>` encoded ones.
async fn api(State(http): State<Arc<Http>>, request: Request) -> Response {
    let raw = request.uri().path().strip_prefix("/api").unwrap_or_default().to_owned();
    if raw.contains("/rooms/") {
        return serve_endpoint(&http, &room_history::RoomHistoryEndpoint, request).await;
    }
    let path = percent_decode(&raw);
    if http.namespaces.find(&path).is_some() {
        return match *request.method() {
            Method::GET | Method::HEAD => http.assets.script(&request),
            _ => reply::method_not_allowed("GET, HEAD"),
        };
    }
    if let Some(name) = path.strip_suffix("/emit") {
        match (http.namespaces.find(name), request.method()) {
            (Some(namespace), &Method::POST) => return publish::serve(&http, namespace, request).await,
            (Some(_), _) => return reply::method_not_allowed("POST"),
            (None, &Method::POST) => return reply::unknown_namespace(&http.metrics, name),
            (None, _) => {}
        }
    }
    if path == "/nodevent.js.map" {
        return http.assets.script_map(&request);
    }
    reply::not_found(&path)
}

async fn socket_io_file(State(http): State<Arc<Http>>, request: Request) -> Response {
    http.assets.socket_io(&request)
}
