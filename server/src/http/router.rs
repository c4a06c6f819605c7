//! The routes: which endpoint serves which path, for each kind of listener.

use super::admission::{Admitted, Limit};
use super::endpoint::Endpoint;
use super::peer::Source;
use super::query::{self, percent_decode};
use super::refused_origins::Report;
use super::request_phase::RequestPhase;
use super::user_connections::UserConnectionsEndpoint;
use super::{
    Http, PeerAddr, console, health, hooks, mailbox, notify, pages, publish, reload, reply, revoke, room_history,
    send,
};
use crate::authorize::constant_time_eq;
use crate::connect_info::VisitorIdentities;
use crate::namespace::Namespace;
use crate::{host, origin};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tower::ServiceExt as _;

/// The service of one kind of listener.
#[derive(Clone)]
pub struct HttpService {
    http: Arc<Http>,
    router: Router,
    kind: Kind,
    /// The endpoint of a listener that has only one.
    only: Option<Arc<dyn Endpoint>>,
    /// Who the visitor of a connection is, as the application that has handed it over knows.
    visitor: Option<VisitorIdentities>,
}

/// The kind of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Clients connect here.
    Public {
        /// Whether programs on this machine may publish without a key.
        publishes_locally: bool,
    },
    /// A public listener after a limit was reached.
    HealthChecks,
    /// For monitoring.
    Admin,
    /// For publishers on this machine.
    PublishSocket,
    /// For the pushes of one namespace.
    Push,
}

/// What the paths of the API begin with.
const API: &str = "/api/";
/// Paths of health checks.
const HEALTH_CHECKS: [&str; 2] = ["/healthz", "/readyz"];
/// Time for a health check's request after a limit was reached. Then the socket is closed to make room.
const HEALTH_CHECK_TIMEOUT: Duration = Duration::from_secs(2);

// === impl HttpService ===

impl HttpService {
    /// The service of a public listener. `publishes_locally`: programs on this machine may publish without a key.
    pub fn public(http: &Arc<Http>, publishes_locally: bool) -> Self {
        let router = Router::new()
            .route("/socket.io/{*file}", get(socket_io_file))
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz));
        let router = send::mount(router, http);
        let router = console::mount(router, http);
        let router = router.with_state(Arc::clone(http));
        Self { http: Arc::clone(http), router, kind: Kind::Public { publishes_locally }, only: None, visitor: None }
    }

    /// The service of the admin listener.
    pub fn admin(http: &Arc<Http>) -> Self {
        let router = Router::new()
            .route("/metrics", get(health::metrics))
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz_of_each))
            .route("/reload", post(reload::serve))
            .with_state(Arc::clone(http));
        Self { http: Arc::clone(http), router, kind: Kind::Admin, only: None, visitor: None }
    }

    /// The service of the publish socket.
    pub fn publish_socket(http: &Arc<Http>) -> Self {
        let router = Router::new().route("/healthz", get(health::healthz)).route("/readyz", get(health::readyz));
        let router = send::mount(router, http).with_state(Arc::clone(http));
        Self { http: Arc::clone(http), router, kind: Kind::PublishSocket, only: None, visitor: None }
    }

    /// The service of a listener that serves one endpoint alone.
    pub fn push(http: &Arc<Http>, endpoint: Arc<dyn Endpoint>) -> Self {
        let router = Router::new().with_state(Arc::clone(http));
        Self { http: Arc::clone(http), router, kind: Kind::Push, only: Some(endpoint), visitor: None }
    }

    /// The same, for a connection of this visitor.
    pub(super) fn with_visitor(self, visitor: VisitorIdentities) -> Self {
        Self { visitor: Some(visitor), ..self }
    }

    /// The same, after a limit was reached.
    pub(super) fn health_checks_only(&self) -> Self {
        Self { kind: Kind::HealthChecks, ..self.clone() }
    }

    /// The phase of a new connection.
    pub(super) fn new_phase(&self) -> RequestPhase {
        let (head_timeout, keep_alive_timeout) = self.timeouts();
        RequestPhase::new(head_timeout, keep_alive_timeout)
    }

    /// Decides about an accepted socket. The limits of clients do not apply to the listeners of programs, which have their own.
    ///
    /// # Errors
    /// The limit that was reached.
    pub(super) fn admit(&self, descriptor: RawFd, peer: IpAddr, phase: &RequestPhase) -> Result<Admitted, Limit> {
        match self.kind {
            Kind::Public { .. } | Kind::Push | Kind::HealthChecks => {
                let is_proxy = self.http.settings().trusted_proxies.contains(peer);
                self.http.admission.admit(descriptor, peer, is_proxy, phase)
            }
            Kind::Admin => self.http.admission_of_admin.admit(descriptor, peer, false, phase),
            Kind::PublishSocket => self.http.admission_of_publishers.admit(descriptor, peer, false, phase),
        }
    }

    /// The time for a request's head, and the time for which an idle connection is kept open.
    pub(super) fn timeouts(&self) -> (Duration, Duration) {
        let settings = self.http.settings();
        match self.kind {
            Kind::HealthChecks => (settings.request_timeout.min(HEALTH_CHECK_TIMEOUT), Duration::ZERO),
            _ => (settings.request_timeout, settings.keep_alive_timeout),
        }
    }

    pub(super) fn http(&self) -> Arc<Http> {
        Arc::clone(&self.http)
    }

    /// Serves a request from this source. One of a client behind a trusted proxy counts as one of its sockets.
    pub(super) async fn serve(self, mut request: Request, source: Source) -> Response {
        let settings = self.http.settings();
        let trusted = &settings.trusted_proxies;
        let publishes_locally = matches!(self.kind, Kind::Public { publishes_locally: true } | Kind::PublishSocket);
        let peer = PeerAddr::new(source, publishes_locally, request.headers(), trusted);
        request.extensions_mut().insert(peer);
        if let Some(visitor) = &self.visitor {
            request.extensions_mut().insert(visitor.clone());
        }
        let client = PeerAddr::of(request.extensions());
        let is_counted = matches!(self.kind, Kind::Public { .. } | Kind::Push)
            && source.is_proxy(trusted)
            && !trusted.contains(client)
            && !HEALTH_CHECKS.contains(&request.uri().path());
        if !is_counted {
            return self.serve_admitted(request).await;
        }
        let Some(counted) = self.http.admission.admit_request(client) else {
            self.http.metrics.rejected_connections.fetch_add(1, Relaxed);
            tracing::info!(%client, reason = Limit::Share.as_str(), "request refused");
            return reply::too_many_requests("max_http_connections");
        };
        let mut response = self.serve_admitted(request).await;
        response.extensions_mut().insert(counted);
        response
    }

    /// Serves a request. The endpoints of the protocols come first: they receive most requests.
    async fn serve_admitted(self, request: Request) -> Response {
        if let Err(bad) = host::requested_host(request.uri(), request.version(), request.headers()) {
            return reject_host(
                &self.http,
                &request,
                StatusCode::BAD_REQUEST,
                &bad.to_string(),
                "send one Host header",
            );
        }
        if self.kind == Kind::HealthChecks && !HEALTH_CHECKS.contains(&request.uri().path()) {
            return self.refuse_for_limit(&request);
        }
        if self.kind == Kind::Admin
            && let Some(refusal) = self.check_admin_host(&request).or_else(|| self.check_admin_key(&request))
        {
            return refusal;
        }
        if let Some(only) = &self.only {
            return only.serve(&self.http, request).await;
        }
        if matches!(self.kind, Kind::Public { .. })
            && let Some(endpoint) = self.http.endpoints.iter().find(|endpoint| endpoint.matches_request(&request))
        {
            return serve_endpoint(&self.http, &**endpoint, request).await;
        }
        // The API needs no router, which would move the request three times.
        let is_api = request.uri().path().strip_prefix(API).is_some_and(|rest| !rest.is_empty());
        match self.kind {
            Kind::Public { .. } if is_api => return api(&self.http, request).await,
            Kind::PublishSocket if is_api => return publish_api(&self.http, request).await,
            _ => {}
        }
        match Box::pin(self.router.oneshot(request)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// The response to a request of the admin listener for a foreign host, if it needs no key: a page whose name resolves to this
    /// machine would read it. Where it needs one, monitoring may reach it by any name.
    fn check_admin_host(&self, request: &Request) -> Option<Response> {
        let settings = self.http.settings();
        let host = host::requested_host(request.uri(), request.version(), request.headers()).unwrap_or_default();
        if settings.admin_key.is_some() || host.is_empty() || settings.hosts.names(host) {
            return None;
        }
        let error = format!("the admin listener is not {host}");
        let hint = "use localhost or an address, list the host under `hosts`, or write `admin: key`";
        Some(reject_host(&self.http, request, StatusCode::MISDIRECTED_REQUEST, &error, hint))
    }

    /// The response to a request of the admin listener without its key. Whether the process runs is not a secret.
    fn check_admin_key(&self, request: &Request) -> Option<Response> {
        let settings = self.http.settings();
        let key = settings.admin_key.as_ref().filter(|_| request.uri().path() != "/healthz")?;
        if query::bearer(request.headers()).is_some_and(|sent| constant_time_eq(sent, key.as_bytes())) {
            return None;
        }
        let client = PeerAddr::of(request.extensions());
        self.http.metrics.rejected_requests.fetch_add(1, Relaxed);
        tracing::warn!(%client, "request of the admin listener rejected: it has no key, or a wrong one");
        let hint = "send `admin: key` of the configuration as `Authorization: Bearer …`";
        let mut response = reply::error(StatusCode::UNAUTHORIZED, "the admin listener needs its key", hint);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Some(response)
    }

    fn refuse_for_limit(&self, request: &Request) -> Response {
        self.http.metrics.rejected_connections.fetch_add(1, Relaxed);
        tracing::info!(client = %PeerAddr::of(request.extensions()), "request refused: too many sockets are open");
        let mut response = reply::busy();
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// Checks host and origin, serves the request, and lets the page read the response.
async fn serve_endpoint(http: &Http, endpoint: &dyn Endpoint, request: Request) -> Response {
    if endpoint.is_for_programs() {
        return endpoint.serve(http, request).await;
    }
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

/// The response to a request for a host that is not this server's: DNS may resolve the name of a foreign page to this
/// server.
pub(super) fn foreign_host(http: &Http, request: &Request) -> Option<Response> {
    if http.settings().hosts.allows_any() {
        return None;
    }
    let host = host::requested_host(request.uri(), request.version(), request.headers()).unwrap_or_default();
    if http.settings().hosts.allows(host) {
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
    let is_admitted = http.settings().origins.admit(request.headers());
    if !is_admitted {
        http.metrics.rejected_origins.fetch_add(1, Relaxed);
        log_refused_origin(http, request);
    }
    is_admitted
}

/// Logs the origin and the fix, at most once a minute for each origin.
fn log_refused_origin(http: &Http, request: &Request) {
    let mut refused = http.refused_origins.lock().unwrap_or_else(PoisonError::into_inner);
    let report = refused.refuse(request.headers().get(header::ORIGIN), Instant::now());
    drop(refused);
    let Some(Report { origin, repeated }) = report else { return };
    let client = PeerAddr::of(request.extensions());
    match origin {
        Some(origin) => tracing::info!(
            %origin, %client, repeated,
            "request rejected for its origin; if the page is yours, list its origin under `origins`"
        ),
        None => tracing::info!(
            %client, repeated,
            "requests rejected for their origins, which are too many to list; \
             see nodevent_rejected_origins_total"
        ),
    }
}

fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type, idempotency-key"),
    );
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

/// `GET /api/<ns>`, `POST /api/<ns>/emit`, `/notify` and `/revoke`, `GET /api/<ns>/rooms/<room>/history` and `…/presence`,
/// `/api/<ns>/users/<user>/mailbox` and `…/connections`, and `/api/<ns>/hooks/dead-letters`. `<ns>` may contain
/// slashes, encoded or not, and `<room>` and `<user>` encoded ones.
///
/// Each branch is boxed, so that a request needs the memory of one of them.
async fn api(http: &Http, request: Request) -> Response {
    let raw = request.uri().path().strip_prefix("/api").unwrap_or_default();
    if raw.contains("/rooms/") {
        return Box::pin(serve_endpoint(http, &room_history::RoomHistoryEndpoint, request)).await;
    }
    if mailbox::MailboxEndpoint.matches(request.uri().path()) {
        return Box::pin(serve_endpoint(http, &mailbox::MailboxEndpoint, request)).await;
    }
    if UserConnectionsEndpoint.matches(request.uri().path()) {
        return Box::pin(serve_endpoint(http, &UserConnectionsEndpoint, request)).await;
    }
    let path = percent_decode(raw);
    if http.namespaces.find(&path).is_some() {
        return match *request.method() {
            Method::GET | Method::HEAD => http.assets.script(&request),
            _ => reply::method_not_allowed("GET, HEAD"),
        };
    }
    if let Some((namespace, kind)) = publish_target(http, &path) {
        return Box::pin(publish_to(http, namespace, kind, request)).await;
    }
    if path == "/nodevent.js.map" {
        return http.assets.script_map(&request);
    }
    let path = path.into_owned();
    program_request(http, &path, request).await
}

/// `POST /api/<ns>/emit`, `…/notify`, `…/revoke` and `/api/<ns>/hooks/dead-letters` alone.
async fn publish_api(http: &Http, request: Request) -> Response {
    let path = percent_decode(request.uri().path().strip_prefix("/api").unwrap_or_default());
    if let Some((namespace, kind)) = publish_target(http, &path) {
        return Box::pin(publish_to(http, namespace, kind, request)).await;
    }
    let path = path.into_owned();
    program_request(http, &path, request).await
}

/// What programs send apart from publications: revocations, pages, and what they do with the journal of the hooks.
async fn program_request(http: &Http, path: &str, request: Request) -> Response {
    let unknown = publish_path(path).filter(|_| request.method() == Method::POST);
    if let Some((name, _)) = unknown {
        return reply::unknown_namespace(&http.metrics, name);
    }
    let response = match (path.strip_suffix("/revoke"), path.strip_suffix("/hooks/dead-letters")) {
        (Some(name), _) => Box::pin(revocation(http, name, request)).await,
        (None, Some(name)) => Box::pin(dead_letters(http, name, request)).await,
        (None, None) => Box::pin(pages_request(http, path, request)).await,
    };
    response.unwrap_or_else(|| reply::not_found(path))
}

/// `/api/<ns>/pages` and `/api/<ns>/push`. `None`: it is another path.
async fn pages_request(http: &Http, path: &str, request: Request) -> Option<Response> {
    let (name, is_push) = match (path.strip_suffix("/pages"), path.strip_suffix("/push")) {
        (Some(name), _) => (name, false),
        (None, Some(name)) => (name, true),
        (None, None) => return None,
    };
    let Some(namespace) = http.namespaces.find(name) else {
        return (request.method() == Method::POST).then(|| reply::unknown_namespace(&http.metrics, name));
    };
    Some(match (request.method(), is_push) {
        (&Method::POST, false) => pages::serve(http, namespace, request).await,
        (&Method::POST, true) => pages::serve_push(http, namespace, request).await,
        _ => reply::method_not_allowed("POST"),
    })
}

/// What a publisher sends.
#[derive(Clone, Copy)]
enum PublishKind {
    Emit,
    Notify,
}

/// Splits `<ns>/emit` or `<ns>/notify`.
fn publish_path(path: &str) -> Option<(&str, PublishKind)> {
    let emit = path.strip_suffix("/emit").map(|name| (name, PublishKind::Emit));
    emit.or_else(|| path.strip_suffix("/notify").map(|name| (name, PublishKind::Notify)))
}

/// The namespace to which a path publishes. `None`: there is no such namespace, or it is another path.
fn publish_target<'a>(http: &'a Http, path: &str) -> Option<(&'a Namespace, PublishKind)> {
    let (name, kind) = publish_path(path)?;
    Some((http.namespaces.find(name)?, kind))
}

/// `/api/<ns>/emit` or `/api/<ns>/notify`.
async fn publish_to(http: &Http, namespace: &Namespace, kind: PublishKind, request: Request) -> Response {
    let origin = publish::page_that_may_publish(http, &request);
    let response = match *request.method() {
        Method::POST => match kind {
            PublishKind::Emit => publish::serve(http, namespace, request).await,
            PublishKind::Notify => notify::serve(http, namespace, request).await,
        },
        Method::OPTIONS if origin.is_some() => preflight(),
        _ => reply::method_not_allowed("POST"),
    };
    with_cors(response, origin)
}

/// `/api/<ns>/revoke`. `None`: there is no such path.
async fn revocation(http: &Http, name: &str, request: Request) -> Option<Response> {
    let Some(namespace) = http.namespaces.find(name) else {
        return (request.method() == Method::POST).then(|| reply::unknown_namespace(&http.metrics, name));
    };
    Some(match *request.method() {
        Method::POST => revoke::serve(http, namespace, request).await,
        _ => reply::method_not_allowed("POST"),
    })
}

/// `/api/<ns>/hooks/dead-letters`. `None`: there is no such path.
async fn dead_letters(http: &Http, name: &str, request: Request) -> Option<Response> {
    let namespace = http.namespaces.find(name)?;
    Some(match *request.method() {
        Method::GET | Method::POST => hooks::serve(http, namespace, request).await,
        _ => reply::method_not_allowed("GET, POST"),
    })
}

async fn socket_io_file(State(http): State<Arc<Http>>, request: Request) -> Response {
    http.assets.socket_io(&request)
}
