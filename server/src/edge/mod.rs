//! HTTP: the listeners, and what each path answers.
//!
//! A request that becomes a WebSocket is handed to a shard, socket and all; a polling request is handed in and its
//! answer pending_acks. The edge keeps nothing of a connection.

mod assets;
mod listener;
mod origin;
mod patience;
mod publish;
mod reply;
mod rooms;
mod socket_io;
mod tls;

pub use listener::{Bound, ListenError};
pub use origin::{BadOrigin, Origins};
pub use tls::TlsError;

use crate::engine::Engines;
use crate::metrics::Metrics;
use crate::namespace::Namespaces;
use crate::shard::{Attach, Purpose, Shards, Sid, Stream, ToShard};
use assets::Assets;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, get};
use percent_encoding::percent_decode_str;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tower::ServiceExt as _;

/// What the edge is told at start.
#[derive(Debug)]
pub struct Settings {
    /// Which pages may connect.
    pub origins: Origins,
    /// Whether the console page is served at `/`.
    pub console: bool,
    /// Connections at a time.
    pub max_connections: usize,
    /// The largest body of a polling POST. Bytes.
    pub max_payload: usize,
    /// The largest body of a publish. Bytes.
    pub max_publish: usize,
    /// How long a request's head, and then its body, may take to arrive.
    pub request_timeout: Duration,
    /// How long a socket may take nothing of a response.
    pub write_stall: Duration,
    /// The path of Engine.IO, with a slash at both ends.
    pub path: String,
}

/// What every request can reach.
#[derive(Debug)]
pub struct Edge {
    /// What was configured.
    pub settings: Settings,
    /// The threads that own the connections.
    pub shards: Shards,
    /// The namespaces.
    pub namespaces: Arc<Namespaces>,
    /// Their engines.
    pub engines: Arc<Engines>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the server is on its way out.
    pub draining: AtomicBool,
    assets: Assets,
}

/// Who sent a request.
#[derive(Debug, Clone)]
struct From {
    address: IpAddr,
}

/// What comes with the answer to a granted WebSocket handshake, as an extension of the response: the socket is to be
/// handed to a shard.
#[derive(Debug, Clone)]
struct Accepted {
    /// What the socket is for.
    purpose: Purpose,
    /// The session that it was opened for; `None` for a new one.
    sid: Option<Sid>,
    /// Its announcement to that session.
    announced: Option<Arc<Announced>>,
}

/// A WebSocket that was announced to a session. If it is dropped before the socket is with the shard, the session is told
/// that none will come: until then it would hold its polls.
#[derive(Debug)]
struct Announced {
    shards: Shards,
    sid: Sid,
    arrived: AtomicBool,
}

/// What one kind of listener answers.
#[derive(Clone)]
pub struct Site {
    edge: Arc<Edge>,
    router: Router,
    /// Whether browsers connect here.
    sockets: bool,
}

// === impl From ===

impl From {
    fn new(address: IpAddr) -> Self {
        Self { address }
    }
}

// === impl Announced ===

impl Drop for Announced {
    fn drop(&mut self) {
        if !self.arrived.load(Relaxed) {
            let _ = self.shards.send(self.sid.shard, ToShard::UpgradeGone { sid: self.sid });
        }
    }
}

// === impl Site ===

impl Site {
    fn edge(&self) -> Arc<Edge> {
        Arc::clone(&self.edge)
    }

    /// Answers a request. Handshakes and polls are told from the rest before any router is asked: they are most.
    async fn answer(self, mut request: Request, from: From) -> Response {
        if self.sockets && request.uri().path() == self.edge.settings.path {
            return socket_io::serve(&self.edge, request).await;
        }
        request.extensions_mut().insert(from);
        match self.router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

// === impl Edge ===

impl Edge {
    /// The edge of a server.
    pub fn new(
        settings: Settings,
        shards: Shards,
        namespaces: Arc<Namespaces>,
        engines: Arc<Engines>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            settings,
            shards,
            namespaces,
            engines,
            metrics,
            draining: AtomicBool::new(false),
            assets: Assets::new(),
        }
    }

    /// What the public listeners answer.
    pub fn public(self: &Arc<Self>) -> Site {
        let router = Router::new()
            .route("/socket.io/{*file}", get(socket_io_file))
            .route("/api/{*rest}", any(api))
            .route("/healthz", get(alive))
            .route("/readyz", get(ready));
        let router = if self.settings.console {
            router
                .route("/", get(console_file))
                .route("/console.js", get(console_file))
                .route("/console.css", get(console_file))
                .route("/console.json", get(console_state))
        } else {
            router
        };
        Site { edge: Arc::clone(self), router: router.with_state(Arc::clone(self)), sockets: true }
    }

    /// What the admin listener answers.
    pub fn admin(self: &Arc<Self>) -> Site {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(alive))
            .route("/readyz", get(ready))
            .with_state(Arc::clone(self));
        Site { edge: Arc::clone(self), router, sockets: false }
    }

    /// Whether no new connection is taken: the server stops, or has as many as it may have.
    fn is_full(&self) -> bool {
        if self.draining.load(Relaxed) {
            return true;
        }
        let full = self.shards.connections() >= self.settings.max_connections;
        if full {
            self.metrics.rejected_connections.fetch_add(1, Relaxed);
            tracing::warn!("a connection was refused: there are as many as `limits: max_connections` allows");
        }
        full
    }

    /// Hands a socket whose WebSocket handshake was granted to its shard, with the answer, which is yet to be sent.
    fn attach(&self, accepted: Accepted, stream: Stream, answer: Vec<u8>, read_ahead: Bytes) {
        let Accepted { purpose, sid, announced } = accepted;
        let shard = sid.map_or_else(|| self.shards.emptiest(), |sid| sid.shard);
        let attach = ToShard::Attach(Box::new(Attach { stream, answer, read_ahead, purpose }));
        if self.shards.send(shard, attach).is_err() {
            tracing::warn!("a connection was refused: the server is busy");
        } else if let Some(announced) = announced {
            announced.arrived.store(true, Relaxed);
        }
    }
}

/// `GET /api/<ns>`, `POST /api/<ns>/emit` and what is below `/api/<ns>/rooms/<room>/`, where `<ns>` may hold slashes,
/// encoded or not, and `<room>` encoded ones.
async fn api(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let raw = request.uri().path().strip_prefix("/api").unwrap_or_default().to_owned();
    let path = decoded(&raw);
    if let Some((namespace, rest)) = raw.rsplit_once("/rooms/")
        && let Some(namespace) = edge.namespaces.find(&decoded(namespace))
        && let Some((room, view)) = rest.split_once('/')
    {
        let (asked, _body) = request.into_parts();
        return match asked.method {
            Method::GET => rooms::serve(&edge, namespace, &decoded(room), view, &asked).await,
            _ => reply::method_not_allowed("GET"),
        };
    }
    if edge.namespaces.find(&path).is_some() {
        return match *request.method() {
            Method::GET | Method::HEAD => edge.assets.script(&request),
            _ => reply::method_not_allowed("GET, HEAD"),
        };
    }
    if let Some(name) = path.strip_suffix("/emit") {
        match (edge.namespaces.find(name), request.method()) {
            (Some(namespace), &Method::POST) => return publish::serve(&edge, namespace.number, request).await,
            (Some(_), _) => return reply::method_not_allowed("POST"),
            (None, &Method::POST) => return no_namespace(&edge, name),
            (None, _) => {}
        }
    }
    if path == "/nodevent.js.map" {
        return edge.assets.script_map(&request);
    }
    reply::text(StatusCode::NOT_FOUND, format!("Namespace {} not found.", path.trim_start_matches('/')))
}

/// A publisher asked for a namespace that is not there.
fn no_namespace(edge: &Edge, name: &str) -> Response {
    edge.metrics.rejected_requests.fetch_add(1, Relaxed);
    reply::error(
        StatusCode::NOT_FOUND,
        &format!("there is no namespace {name}"),
        "publish to one that the server's configuration has, or add it there",
    )
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

async fn socket_io_file(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    edge.assets.socket_io(&request)
}

async fn console_file(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    edge.assets.console(&request)
}

/// What the console page shows of the server beside what it hears.
async fn console_state(State(edge): State<Arc<Edge>>) -> Response {
    let namespaces: Vec<_> = edge
        .namespaces
        .iter()
        .zip(edge.engines.iter())
        .map(|(namespace, engine)| {
            json!({
                "name": &*namespace.name,
                "dialect": namespace.dialect.name(),
                "secured": namespace.admission.is_secured(),
                "engine": engine.name(),
                "ready": engine.is_ready(),
            })
        })
        .collect();
    let state = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "connections": edge.metrics.connections.load(Relaxed),
        "namespaces": namespaces,
    });
    let mut response = reply::with_type(StatusCode::OK, "application/json", state.to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The process runs.
async fn alive() -> Response {
    reply::text(StatusCode::OK, "ok\n".into())
}

/// Publications get through, and new connections are welcome.
async fn ready(State(edge): State<Arc<Edge>>) -> Response {
    if edge.draining.load(Relaxed) {
        return reply::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".into());
    }
    let mut body = String::new();
    for (namespace, engine) in edge.namespaces.iter().zip(edge.engines.iter()) {
        if !engine.is_ready() {
            body.push_str(&format!("{}: no probe came back through {}\n", namespace.name, engine.name()));
        }
    }
    if body.is_empty() {
        reply::text(StatusCode::OK, "ready\n".into())
    } else {
        reply::text(StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

async fn metrics(State(edge): State<Arc<Edge>>) -> Response {
    reply::with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", edge.metrics.render())
}
