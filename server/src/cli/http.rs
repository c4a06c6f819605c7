//! One HTTP request, for the commands that speak to a running server.

use super::{Done, UNAVAILABLE};
use fred::types::config::TlsConnector;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Response, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What is asked. With a body it is a POST, without one a GET.
pub(super) struct Request {
    uri: Uri,
    /// The body, JSON.
    pub(super) body: String,
    /// What is shown as `Authorization: Bearer`.
    pub(super) bearer: Option<String>,
    /// The page that pretends to ask.
    pub(super) origin: Option<String>,
}

// === impl Request ===

impl Request {
    /// A request for `path` of the server at `url`. `Err` says what is wrong with the address.
    pub(super) fn new(url: &str, path: &str) -> Result<Self, String> {
        let wrong = || format!("`{url}` is no address of a server; write it like http://localhost:8080");
        let uri: Uri = format!("{}{path}", url.trim_end_matches('/')).parse().map_err(|_| wrong())?;
        let known = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        known.then_some(Self { uri, body: String::new(), bearer: None, origin: None }).ok_or_else(wrong)
    }
}

/// Runs a command that waits for the network; Ctrl-C ends it well.
pub(super) fn run(command: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| (UNAVAILABLE, format!("cannot start: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            done = command => done,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

/// Sends a request and waits for the head of its answer.
pub(super) async fn send(request: &Request) -> Result<Response<Incoming>, (u8, String)> {
    let uri = &request.uri;
    let host = uri.host().unwrap_or_default();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let away = |error: &dyn std::fmt::Display| {
        (UNAVAILABLE, format!("no server answers at {host}:{port}: {error}; is it running? name another by --url"))
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(|error| away(&error))?;
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
    let whole = head.body(Full::new(Bytes::from(request.body.clone()))).map_err(|error| away(&error))?;
    if !secure {
        return exchange(TokioIo::new(stream), whole).await.map_err(|error| away(&error));
    }
    // The roots of this machine, as the Redis client finds them.
    let TlsConnector::Rustls(connector) = TlsConnector::default_rustls().map_err(|error| away(&error))?;
    let name = rustls_pki_types::ServerName::try_from(bare.to_owned()).map_err(|error| away(&error))?;
    let stream = connector.connect(name, stream).await.map_err(|error| away(&error))?;
    exchange(TokioIo::new(stream), whole).await.map_err(|error| away(&error))
}

async fn exchange<S>(stream: S, request: hyper::Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// The body of an answer, as text.
pub(super) async fn text(answer: Response<Incoming>) -> Result<String, (u8, String)> {
    let body = answer.into_body().collect().await;
    let bytes = body.map_err(|error| (UNAVAILABLE, format!("the answer broke off: {error}")))?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
