//! One HTTP request, for the commands that talk to a running server.

use super::{CommandResult, Failure, output};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Response, Uri, header};
use hyper_util::rt::TokioIo;
use nodevent_server::tls_client;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The maximum size of a response that is read as a whole. Bytes.
const MAX_TEXT: usize = 1024 * 1024;
/// The timeout of a request up to the head of its response, and of the body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request. With a body it is a POST, without one a GET.
pub(super) struct Request {
    uri: Uri,
    /// The body, JSON.
    pub(super) body: String,
    /// The token for `Authorization: Bearer`.
    pub(super) bearer: Option<String>,
    /// The value of `Origin`.
    pub(super) origin: Option<String>,
}

// === impl Request ===

impl Request {
    /// Returns a request for `path` of the server at `url`.
    ///
    /// # Errors
    /// Returns a message if `url` is invalid.
    pub(super) fn new(url: &str, path: &str) -> Result<Self, String> {
        let invalid = || format!("`{url}` is not a valid server URL; write it like http://localhost:8080");
        if url.split(['/', '?', '#']).nth(2).is_some_and(|authority| authority.contains('@')) {
            return Err("the server URL contains a user or password, which is not sent; delete it".to_owned());
        }
        let uri: Uri = format!("{}{path}", url.trim_end_matches('/')).parse().map_err(|_| invalid())?;
        let known = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        known.then_some(Self { uri, body: String::new(), bearer: None, origin: None }).ok_or_else(invalid)
    }
}

/// Runs a command that waits for the network. Ctrl-C ends it with status 0.
pub(super) fn run(command: impl Future<Output = CommandResult>) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::unavailable(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            result = command => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

/// Sends a request and waits for the head of the response.
pub(super) async fn send(request: &Request) -> CommandResult<Response<Incoming>> {
    let uri = &request.uri;
    let host = uri.host().unwrap_or_default();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let unavailable = |error: &dyn std::fmt::Display| {
        Failure::unavailable(format!(
            "no server responds at {host}:{port}: {}; is it running? name another by --url",
            output::external(&error.to_string())
        ))
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(|error| unavailable(&error))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut head = hyper::Request::builder()
        .method(if request.body.is_empty() { "GET" } else { "POST" })
        .uri(path)
        .header(header::HOST, uri.authority().map_or(host, |authority| authority.as_str()))
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(bearer) = &request.bearer {
        head = head.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    }
    if let Some(origin) = &request.origin {
        head = head.header(header::ORIGIN, origin);
    }
    let request = head.body(Full::new(Bytes::from(request.body.clone()))).map_err(|error| unavailable(&error))?;
    if !secure {
        return exchange(TokioIo::new(stream), request).await.map_err(|error| unavailable(&error));
    }
    let tls = tls_client::config(None, None).map_err(|error| unavailable(&error))?;
    let connector = TlsConnector::from(Arc::new(tls));
    let name = rustls_pki_types::ServerName::try_from(bare.to_owned()).map_err(|error| unavailable(&error))?;
    let stream = connector.connect(name, stream).await.map_err(|error| unavailable(&error))?;
    exchange(TokioIo::new(stream), request).await.map_err(|error| unavailable(&error))
}

async fn exchange<S>(stream: S, request: hyper::Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// Returns the body of a response as text: what the server sent, not printable.
pub(super) async fn text(response: Response<Incoming>) -> CommandResult<String> {
    let body = Limited::new(response.into_body(), MAX_TEXT).collect().await;
    let incomplete = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::unavailable(format!("the response is incomplete: {}", output::external(&error.to_string())))
    };
    Ok(String::from_utf8_lossy(&body.map_err(incomplete)?.to_bytes()).into_owned())
}

/// Sends a request to `url`, and prints the JSON of its response.
///
/// # Errors
/// The server does not respond, or rejects it. The text has its error and its hint.
pub(super) fn request_json(request: &Request, url: &str) -> CommandResult {
    run(async {
        let response = with_timeout(send(request)).await?;
        let status = response.status();
        let text = with_timeout(text(response)).await?;
        if status.is_success() {
            output::json(&text);
            return Ok(());
        }
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let part = |name: &str| output::external(body[name].as_str().unwrap_or_default());
        let message = format!("{url} rejected it ({status}): {}; {}", part("error"), part("hint"));
        Err(Failure::unavailable(message))
    })
}

/// Gives up a request, or the reading of its response, after [`TIMEOUT`].
pub(super) async fn with_timeout<T>(request: impl Future<Output = CommandResult<T>>) -> CommandResult<T> {
    let late = || Failure::unavailable(format!("the server did not respond within {} s", TIMEOUT.as_secs()));
    tokio::time::timeout(TIMEOUT, request).await.unwrap_or_else(|_| Err(late()))
}
