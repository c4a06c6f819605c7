//! The HTTP client for the application: one target, and a limit for everything.
//!
//! It limits time, concurrency, the requests that wait, and the size of responses. It follows no redirects and uses no
//! proxy. It sends a request again only if that is safe: a GET whose connection was closed before its response. A circuit
//! breaker rejects requests while the application does not respond.
//!
//! Errors never contain what was sent, and the target is shown without its query, which may contain a secret.

use super::breaker::{Admitted, Breakers, Change, Health};
use super::resolver::{Connector, connector};
use super::slots::Slots;
use crate::client::Client;
use crate::config::application::Application;
use crate::metrics::Metrics;
use crate::tls_client;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use nodevent_protocol::text::printable;
use std::error::Error as _;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Maximum size of the head of a response. Bytes.
const MAX_HEAD: usize = 64 * 1024;
/// Interim responses (1xx) before a response. Applications send one with `Early Hints`.
const MAX_INTERIM: usize = 32;
/// Time for which an idle connection is kept open. Shorter than the 5 to 60 s of most application servers, so that few
/// requests meet a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Characters of a reason that are shown.
const MAX_REASON: usize = 200;

/// A client for one URL of the application.
pub struct ApplicationClient {
    http: legacy::Client<HttpsConnector<Connector>, Full<Bytes>>,
    target: Uri,
    shown_target: String,
    timeout: Duration,
    max_response: usize,
    slots: Arc<Slots>,
    breakers: Mutex<Breakers>,
    metrics: Arc<Metrics>,
}

/// A request. The scheme and the host are those of the client's target.
#[derive(Clone)]
pub struct ApplicationRequest {
    /// The method.
    pub method: Method,
    /// The path and query in the place of the target's. `None`: the target's.
    pub path: Option<PathAndQuery>,
    /// The headers. Without `Host`, which is the target's.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A complete response.
#[derive(Debug)]
pub struct ApplicationResponse {
    /// The status. Never a redirect.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

/// A complete response to a call, whatever its status.
#[derive(Debug)]
pub struct CallResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplicationError {
    /// It did not arrive in time.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// The connection could not be opened, or was closed early. The text is printable.
    #[error("{0}")]
    Unreachable(String),
    /// It is larger than allowed.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
    /// It is a stream, or went on until the timeout.
    #[error("the response is a stream, or was not complete in time")]
    Streamed,
    /// It is a redirect with this status.
    #[error("the response is a redirect (status {0}), which is not followed")]
    Redirect(u16),
    /// It has a status from 500 on, or 429.
    #[error("the response has the status {0}")]
    Failed(u16),
    /// The circuit breaker is open.
    #[error("the circuit breaker is open, because requests before this one failed")]
    BreakerOpen,
    /// Too many requests wait.
    #[error("too many requests wait for the application")]
    Overloaded,
}

/// A request that the breaker has let through. If it is dropped without a result, it counts as failed.
struct Attempt<'a> {
    client: &'a ApplicationClient,
    admitted: Option<Admitted>,
}

// === impl ApplicationRequest ===

impl fmt::Debug for ApplicationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and body contain tokens and cookies.
        f.debug_struct("ApplicationRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

// === impl ApplicationError ===

impl ApplicationError {
    /// The label in the metric.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::TooLarge(_) => "too_large",
            Self::Streamed => "streamed",
            Self::Redirect(_) => "redirect",
            Self::Failed(_) => "failed",
            Self::BreakerOpen => "breaker_open",
            Self::Overloaded => "overloaded",
        }
    }

    /// What it says about the application, for the circuit breakers.
    fn health(&self) -> Health {
        match self {
            // What is in front of the application says that it does not respond.
            Self::Timeout(_) | Self::Unreachable(_) | Self::Failed(502..=504) => Health::DoesNotRespond,
            Self::Failed(_) => Health::Fails,
            _ => Health::Works,
        }
    }
}

// === impl ApplicationClient ===

impl ApplicationClient {
    /// Returns a client with these settings. It connects with the first request.
    ///
    /// # Errors
    /// The certificates cannot be read.
    pub fn new(settings: &Application, metrics: Arc<Metrics>) -> Result<Self, String> {
        let mut tcp = connector();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let tls = tls_client::config(settings.ca.as_deref(), None)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(settings.concurrency)
            .http1_max_buf_size(MAX_HEAD)
            .build(connector.wrap_connector(tcp));
        Ok(Self {
            http,
            shown_target: settings.shown_url(),
            target: settings.url.clone(),
            timeout: settings.timeout,
            max_response: settings.max_response,
            slots: Arc::new(Slots::new(settings.concurrency, settings.queue)),
            breakers: Mutex::default(),
            metrics,
        })
    }

    /// The target without user, query and fragment, for the log.
    pub fn target(&self) -> &str {
        &self.shown_target
    }

    /// Sends a request and reads its response. `client` is the one for which the server sends it: the clients that wait have
    /// their turns one after another. `None`: the server sends it for itself.
    ///
    /// # Errors
    /// [`ApplicationError`], which is counted.
    pub async fn send(
        &self,
        request: &ApplicationRequest,
        client: Option<Client>,
    ) -> Result<ApplicationResponse, ApplicationError> {
        let result = self.try_send(request, client).await;
        self.metrics.count_application_request(result.as_ref().map_or_else(ApplicationError::name, |_| "ok"));
        result
    }

    /// Sends a call, and reads its response, which may have any status.
    ///
    /// # Errors
    /// [`ApplicationError`], which is counted.
    pub async fn call(
        &self,
        request: &ApplicationRequest,
        client: Option<Client>,
    ) -> Result<CallResponse, ApplicationError> {
        // Set as soon as the response has begun.
        let has_begun = AtomicBool::new(false);
        let result = self.in_turn(request, client, || self.exchange_call(request, &has_begun)).await;
        let result = match result {
            Err(ApplicationError::Timeout(_)) if has_begun.load(Relaxed) => Err(ApplicationError::Streamed),
            result => result,
        };
        self.metrics.count_application_request(result.as_ref().map_or_else(ApplicationError::name, |_| "ok"));
        result
    }

    async fn try_send(
        &self,
        request: &ApplicationRequest,
        client: Option<Client>,
    ) -> Result<ApplicationResponse, ApplicationError> {
        self.in_turn(request, client, || self.exchange(request)).await
    }

    /// Makes an attempt on the client's turn, if the breakers admit it, and a second one if that is safe.
    async fn in_turn<T, F>(
        &self,
        request: &ApplicationRequest,
        client: Option<Client>,
        exchange: impl Fn() -> F,
    ) -> Result<T, ApplicationError>
    where
        F: Future<Output = Result<Result<T, ApplicationError>, legacy::Error>>,
    {
        let by = tokio::time::Instant::now() + self.timeout;
        let timeout = |_| ApplicationError::Timeout(self.timeout);
        // One that gets no slot says nothing about the application, so the breaker decides after it.
        let slot = tokio::time::timeout_at(by, self.slots.take(client)).await;
        let _slot = slot.ok().flatten().ok_or(ApplicationError::Overloaded)?;
        let attempt = self.attempt(client).ok_or(ApplicationError::BreakerOpen)?;
        let attempts = async {
            match exchange().await {
                Err(error) if request.method == Method::GET && was_closed_early(&error) => exchange().await,
                result => result,
            }
        };
        let result = match tokio::time::timeout_at(by, attempts).await.map_err(timeout) {
            Ok(result) => result.map_err(|error| unreachable(&error)).and_then(|result| result),
            Err(error) => Err(error),
        };
        attempt.end(result.as_ref().err().map_or(Health::Works, ApplicationError::health));
        result
    }

    /// One attempt. The outer error may be retried.
    async fn exchange(
        &self,
        request: &ApplicationRequest,
    ) -> Result<Result<ApplicationResponse, ApplicationError>, legacy::Error> {
        let response = match self.response(request).await? {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        let status = response.status();
        if status.is_redirection() {
            return Ok(Err(ApplicationError::Redirect(status.as_u16())));
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(Err(ApplicationError::Failed(status.as_u16())));
        }
        let body = self.read_body(response.into_body()).await;
        Ok(body.map(|body| ApplicationResponse { status, body }))
    }

    /// Sends a request. The response's body has not been read. The outer error may be retried.
    async fn response(
        &self,
        request: &ApplicationRequest,
    ) -> Result<Result<hyper::Response<Incoming>, ApplicationError>, legacy::Error> {
        let mut sent = self.outgoing(request);
        let (count, has_too_many) = (AtomicUsize::new(0), Arc::new(Notify::new()));
        let notify = Arc::clone(&has_too_many);
        hyper::ext::on_informational(&mut sent, move |_| {
            if count.fetch_add(1, Relaxed) == MAX_INTERIM {
                notify.notify_one();
            }
        });
        // Dropping the request closes its connection.
        tokio::select! {
            biased;
            () = has_too_many.notified() => {
                let text = format!("more than {MAX_INTERIM} interim responses (1xx) before a response");
                Ok(Err(ApplicationError::Unreachable(text)))
            }
            response = self.http.request(sent) => response.map(Ok),
        }
    }

    /// One attempt of a call. The outer error may be retried.
    async fn exchange_call(
        &self,
        request: &ApplicationRequest,
        has_begun: &AtomicBool,
    ) -> Result<Result<CallResponse, ApplicationError>, legacy::Error> {
        let response = match self.response(request).await? {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        has_begun.store(true, Relaxed);
        let (head, body) = response.into_parts();
        let content_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if content_type.to_ascii_lowercase().starts_with(b"text/event-stream") {
            return Ok(Err(ApplicationError::Streamed));
        }
        let body = self.read_body(body).await;
        Ok(body.map(|body| CallResponse { status: head.status, headers: head.headers, body }))
    }

    async fn read_body(&self, body: Incoming) -> Result<Bytes, ApplicationError> {
        match Limited::new(body, self.max_response).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(ApplicationError::TooLarge(self.max_response)),
            Err(error) => Err(ApplicationError::Unreachable(printable(
                &format!("the response ended early: {error}"),
                MAX_REASON,
            ))),
        }
    }

    /// A request as it is sent.
    fn outgoing(&self, request: &ApplicationRequest) -> hyper::Request<Full<Bytes>> {
        let mut sent = hyper::Request::new(Full::new(request.body.clone()));
        *sent.method_mut() = request.method.clone();
        *sent.uri_mut() = self.target_with(request.path.as_ref());
        *sent.headers_mut() = request.headers.clone();
        sent.headers_mut().remove(header::HOST);
        let agent = HeaderValue::from_static(concat!("nodevent/", env!("CARGO_PKG_VERSION")));
        sent.headers_mut().insert(header::USER_AGENT, agent);
        sent
    }

    fn target_with(&self, path: Option<&PathAndQuery>) -> Uri {
        let mut parts = self.target.clone().into_parts();
        if let Some(path) = path {
            parts.path_and_query = Some(path.clone());
        }
        Uri::from_parts(parts).unwrap_or_else(|_| self.target.clone())
    }

    fn attempt(&self, client: Option<Client>) -> Option<Attempt<'_>> {
        let (admitted, changes) = self.breakers().admit(client, Instant::now())?;
        self.report(changes.own, "client");
        self.report(changes.all, "all clients");
        Some(Attempt { client: self, admitted: Some(admitted) })
    }

    fn breakers(&self) -> std::sync::MutexGuard<'_, Breakers> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts and logs a change of a breaker. `of` says whose it is.
    fn report(&self, change: Option<Change>, of: &'static str) {
        let Some(change) = change else { return };
        let (target, metrics) = (&self.shown_target, &self.metrics);
        match change {
            Change::Opened(pause) => {
                metrics.count_breaker_change("opened");
                tracing::warn!(
                    target = target,
                    of,
                    ?pause,
                    "application: circuit breaker opened; no requests for a while"
                );
            }
            Change::HalfOpened => {
                metrics.count_breaker_change("half_opened");
                tracing::info!(target = target, of, "application: circuit breaker half-open; one request probes");
            }
            Change::Closed => {
                metrics.count_breaker_change("closed");
                tracing::info!(
                    target = target,
                    of,
                    "application: circuit breaker closed; the application responds again"
                );
            }
        }
    }
}

impl fmt::Debug for ApplicationClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplicationClient").field("target", &self.shown_target).finish_non_exhaustive()
    }
}

// === impl Attempt ===

impl Attempt<'_> {
    fn end(mut self, health: Health) {
        self.record(health);
    }

    fn record(&mut self, health: Health) {
        let Some(admitted) = self.admitted.take() else { return };
        let changes = self.client.breakers().record(admitted, health, Instant::now());
        self.client.report(changes.own, "client");
        self.client.report(changes.all, "all clients");
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.record(Health::DoesNotRespond);
    }
}

/// Whether the connection was closed before its response, as the application does with idle ones.
fn was_closed_early(error: &legacy::Error) -> bool {
    let of_hyper = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    of_hyper.is_some_and(|error| error.is_canceled() || error.is_incomplete_message())
}

/// The innermost reason says most: `Connection refused`, `invalid peer certificate`.
fn unreachable(error: &legacy::Error) -> ApplicationError {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let kind = if error.is_connect() { "cannot connect: " } else { "" };
    ApplicationError::Unreachable(printable(&format!("{kind}{innermost}"), MAX_REASON))
}
