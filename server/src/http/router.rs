//! Which path is served by what.

use super::endpoint::Endpoint;
use super::query::percent_decode;
use super::{Http, PeerAddr, console, health, publish, reply, room_history};
use crate::origin;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, get};
use std::net::IpAddr;
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
    /// Whether programs on this machine may publish here without a key.
    publishes_locally: bool,
}

/// How the listener of a request treats publishers without a key, as an extension of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublishesLocally(pub(super) bool);

// === impl HttpService ===

impl HttpService {
    /// What a public listener serves. `publishes_locally`: programs on this machine may publish without a key.
    pub fn public(http: &Arc<Http>, publishes_locally: bool) -> Self {
        let router = Router::new()
            .route("/socket.io/{*file}", get(socket_io_file))
            .route("/api/{*rest}", any(api))
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz));
        let router = if http.settings.console { console::mount(router) } else { router };
        let router = router.with_state(Arc::clone(http));
        Self { http: Arc::clone(http), router, accepts_connections: true, publishes_locally }
    }

    /// What the admin listener serves.
    pub fn admin(http: &Arc<Http>) -> Self {
        let router = Router::new()
            .route("/metrics", get(health::metrics))
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz))
            .with_state(Arc::clone(http));
        Self { http: Arc::clone(http), router, accepts_connections: false, publishes_locally: false }
    }

    pub(super) fn http(&self) -> Arc<Http> {
        Arc::clone(&self.http)
    }

    /// Serves a request that arrived on a socket with this peer. The endpoints of the protocols come first: they receive most requests.
    pub(super) async fn serve(self, mut request: Request, socket: IpAddr) -> Response {
        let peer = PeerAddr::new(socket, request.headers(), &self.http.settings.trusted_proxies);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(PublishesLocally(self.publishes_locally));
        if let Err(bad) = origin::requested_host(request.uri(), request.version(), request.headers()) {
            return reject_host(
                &self.http,
                &request,
                StatusCode::BAD_REQUEST,
                &bad.to_string(),
                "send one Host header",
            );
        }
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

/// Checks host and origin, serves the request, and lets the page read the response.
async fn serve_endpoint(http: &Http, endpoint: &dyn Endpoint, request: Request) -> Response {
    if let Some(rejection) = foreign_host(http, &request) {
        return rejection;
    }
    if !admits_origin(http, &request) {
        return endpoint.reject_origin();
    }
    let origin = origin::cors(request.headers());
    let response = match *request.method() {
        Method::OPTIONS => preflight(),
        _ => endpoint.serve(http, request).await,
    };
    with_cors(response, origin)
}

/// The response to a request for a host that is not ours: the page may have a name that DNS lets point here.
pub(super) fn foreign_host(http: &Http, request: &Request) -> Option<Response> {
    let host = origin::requested_host(request.uri(), request.version(), request.headers()).unwrap_or_default();
    if http.settings.hosts.allows(host) {
        return None;
    }
    let error = format!("this server is not {host}");
    let hint = "list the host under `hosts`, or write the address of the server as `public_url`";
    Some(reject_host(http, request, StatusCode::MISDIRECTED_REQUEST, &error, hint))
}

fn reject_host(http: &Http, request: &Request, status: StatusCode, error: &str, hint: &str) -> Response {
    http.metrics.rejected_requests.fetch_add(1, Relaxed);
    let client = PeerAddr::of(request.extensions());
    tracing::info!(%client, "request rejected for its host: {error}; {hint}");
    reply::error(status, error, hint)
}

/// Whether pages of the request's origin may connect. Counts and logs a rejection.
fn admits_origin(http: &Http, request: &Request) -> bool {
    let is_admitted = http.settings.origins.admit(request.headers());
    if !is_admitted {
        http.metrics.rejected_origins.fetch_add(1, Relaxed);
        http.metrics.rejected_requests.fetch_add(1, Relaxed);
        let client = PeerAddr::of(request.extensions());
        tracing::info!(%client, "request rejected for its origin; list the page's origin under `origins` to allow it");
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
