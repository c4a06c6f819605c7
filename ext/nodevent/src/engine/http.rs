//! Publishing to a NoDevent server: `POST /api/<namespace>/emit`, section 3 of protocol/README.md.
//!
//! One request is in flight at a time, with as many queued publications of one namespace as fit, which preserves the
//! order. A retried request carries the same idempotency key, so nothing is published twice.

use super::limited_io::LimitedConnector;
use super::{BatchOutcome, CONNECT_TIMEOUT, RESPONSE_TIMEOUT, TransientError, random};
use crate::queue::{Confirmation, PublicationRef, PublishResult};
use crate::target::HttpTarget;
use crate::text::printable;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use nodevent_protocol::history::Position;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use tokio::time::timeout;

/// The maximum of publications and bytes in one request; the server accepts 1 MB by default.
pub(super) const WINDOW: (usize, usize) = (256, 512 * 1024);
/// The maximum size of a response; those of a NoDevent server are smaller.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// A NoDevent server; see the head of this file.
pub(crate) struct Http {
    client: Client<LimitedConnector, Full<Bytes>>,
    url: String,
    address: Arc<str>,
    authorization: Option<HeaderValue>,
    /// Makes the idempotency keys of this publisher unique.
    nonce: String,
    /// The number of requests so far.
    requests: u64,
    /// The request to retry: its number of publications and its key.
    retry: Option<(usize, HeaderValue)>,
    /// The number of publications to send one by one, because the server rejected them as a batch.
    singles_left: usize,
}

/// The body of a response, successful or not.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServerReply {
    accepted: usize,
    /// Not read before they are needed: publications are accepted also if their positions are not positions.
    positions: Option<Box<RawValue>>,
    error: Option<String>,
    hint: Option<String>,
}

// === impl Http ===

impl Http {
    /// # Errors
    /// The URL or the publish key cannot be part of a request.
    pub(super) fn new(target: &HttpTarget) -> Result<Self, String> {
        let url = target.url.trim_end_matches('/').to_owned();
        let uri: Uri = url.parse().map_err(|error| format!("the url {url:?}: {error}"))?;
        if uri.scheme_str().is_none() || uri.host().is_none() {
            return Err(format!("the url {url:?} has no scheme or host; write it like http://localhost:8080"));
        }
        let authorization = match &target.publish_key {
            None => None,
            Some(key) => {
                let value = HeaderValue::from_str(&format!("Bearer {key}"));
                let mut value = value.map_err(|_| {
                    "the publish_key contains characters that are not allowed in a header".to_owned()
                })?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            client: client(uri.scheme_str() == Some("https"))?,
            address: url.as_str().into(),
            url,
            authorization,
            nonce: format!("{:016x}", random()),
            requests: 0,
            retry: None,
            singles_left: 0,
        })
    }

    pub(super) fn address(&self) -> &Arc<str> {
        &self.address
    }

    pub(super) async fn publish(&mut self, publications: &VecDeque<PublicationRef>) -> BatchOutcome {
        let (count, key) = match self.retry.take() {
            Some(retry) => retry,
            None => (self.batch_len(publications), self.key(publications)),
        };
        let request = match self.request(publications, count, &key) {
            Ok(request) => request,
            Err(reason) => return BatchOutcome { results: vec![Err(reason.into()); count], error: None },
        };
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| transient_error(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await;
            let broken_off = |error: Box<dyn std::error::Error + Send + Sync>| TransientError {
                reason: printable(&error.to_string()),
                not_sent: false,
            };
            Ok::<_, TransientError>((status, body.map_err(broken_off)?.to_bytes()))
        };
        let timed_out = || TransientError {
            reason: format!("no response within {} s", RESPONSE_TIMEOUT.as_secs()),
            not_sent: false,
        };
        match timeout(RESPONSE_TIMEOUT, exchange).await.unwrap_or_else(|_| Err(timed_out())) {
            Ok((status, body)) => self.handle_response(status, &body, count, key),
            Err(error) => {
                self.retry = Some((count, key));
                BatchOutcome { results: Vec::new(), error: Some(error) }
            }
        }
    }

    /// The number of publications in the next request.
    fn batch_len(&self, publications: &VecDeque<PublicationRef>) -> usize {
        match publications.front() {
            Some(first) if self.singles_left == 0 && first.idempotency_key.is_none() => publications
                .iter()
                .take_while(|other| other.channel == first.channel && other.idempotency_key.is_none())
                .count(),
            _ => 1,
        }
    }

    /// The publication's own idempotency key, or a new one for the request.
    fn key(&mut self, publications: &VecDeque<PublicationRef>) -> HeaderValue {
        self.requests += 1;
        let own = publications.front().and_then(|first| first.idempotency_key.as_deref());
        let own = own.and_then(|key| HeaderValue::from_bytes(key.as_bytes()).ok());
        let made = || HeaderValue::try_from(format!("{}-{}", self.nonce, self.requests));
        own.or_else(|| made().ok()).unwrap_or(HeaderValue::from_static("0"))
    }

    fn request(
        &self,
        publications: &VecDeque<PublicationRef>,
        count: usize,
        key: &HeaderValue,
    ) -> Result<Request<Full<Bytes>>, String> {
        let Some(first) = publications.front() else {
            return Err("nothing to publish".to_owned());
        };
        let body = if count == 1 { first.body.clone() } else { array(publications, count) };
        let uri = format!("{}/api/{}/emit", self.url, escape(first.channel.trim_start_matches('/')));
        let mut request =
            Request::post(uri).header(CONTENT_TYPE, "application/json").header("idempotency-key", key);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(body)).map_err(|error| format!("namespace {:?}: {error}", first.channel))
    }

    /// Turns a response into results, and decides what is retried.
    fn handle_response(&mut self, status: StatusCode, body: &[u8], count: usize, key: HeaderValue) -> BatchOutcome {
        // Serde would read an array as the fields in their order.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let reply: ServerReply =
            if is_object { serde_json::from_slice(body) } else { Ok(ServerReply::default()) }.unwrap_or_default();
        if status.is_success() && reply.accepted != count {
            // Any program may have the port, and most return 200 for anything. What it received is sent again.
            self.retry = Some((count, key));
            let reason = format!(
                "its response, with the status {}, does not confirm the publications; another program may have the port",
                status.as_u16()
            );
            return BatchOutcome::failed(reason, false);
        }
        if status.is_success() {
            self.singles_left = self.singles_left.saturating_sub(count);
            return BatchOutcome { results: accepted(reply, count), error: None };
        }
        let text = reply.text(&self.address, status, body);
        if status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
        {
            let taken = reply.accepted.min(count);
            if taken == 0 {
                self.retry = Some((count, key));
            } else {
                self.singles_left = self.singles_left.saturating_sub(taken);
            }
            return BatchOutcome {
                results: accepted(reply, taken),
                error: Some(TransientError { reason: text, not_sent: false }),
            };
        }
        if count > 1
            && matches!(status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::PAYLOAD_TOO_LARGE)
        {
            // One of them is invalid, or to a room that the key does not include, and must not make the others fail.
            self.singles_left = count;
            return BatchOutcome::default();
        }
        self.singles_left = self.singles_left.saturating_sub(count);
        BatchOutcome { results: vec![Err(text.into()); count], error: None }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("address", &self.address).finish_non_exhaustive()
    }
}

// === impl ServerReply ===

impl ServerReply {
    fn text(&self, address: &str, status: StatusCode, body: &[u8]) -> String {
        let error = match &self.error {
            Some(error) => printable(error),
            None => printable(&String::from_utf8_lossy(body)),
        };
        // A response without a hint is not from a NoDevent server but from a proxy or another program.
        let hint = self.hint.as_deref().map(printable);
        let hint = hint.as_deref().unwrap_or("check that `url:` is the server's address, and see its log");
        format!("{address} returned {}: {error}; {hint}", status.as_u16())
    }
}

fn accepted(reply: ServerReply, count: usize) -> Vec<PublishResult> {
    let positions = reply.positions.and_then(|list| serde_json::from_str::<Vec<Option<Box<str>>>>(list.get()).ok());
    let mut positions = positions.unwrap_or_default().into_iter();
    let mut next = || Position::parse(&positions.next()??);
    (0..count).map(|_| Ok(next().map_or(Confirmation::Accepted, Confirmation::Position))).collect()
}

fn array(publications: &VecDeque<PublicationRef>, count: usize) -> Bytes {
    let length = publications.iter().take(count).map(|publication| publication.body.len() + 1).sum::<usize>() + 2;
    let mut text = Vec::with_capacity(length);
    for (index, publication) in publications.iter().take(count).enumerate() {
        text.push(if index == 0 { b'[' } else { b',' });
        text.extend_from_slice(&publication.body);
    }
    text.push(b']');
    text.into()
}

/// Escapes a name as one path segment.
pub(super) fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Takes the innermost cause, which is the most specific: "Connection refused", not "client error (Connect)".
fn transient_error(error: &hyper_util::client::legacy::Error) -> TransientError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = cause.to_string();
        source = cause.source();
    }
    // The texts of TLS contain names from the server's certificate.
    TransientError { reason: printable(&reason), not_sent: error.is_connect() }
}

/// A client of HTTP/1.1, with TLS if `secure`.
///
/// # Errors
/// The certificates of the system cannot be read.
pub(super) fn client<B>(secure: bool) -> Result<Client<LimitedConnector, B>, String>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let builder = HttpsConnectorBuilder::new();
    let builder = if secure {
        let native = builder.with_native_roots();
        native.map_err(|error| format!("cannot read the system's certificates: {error}"))?
    } else {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?;
        builder.with_tls_config(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    };
    let connector = builder.https_or_http().enable_http1().wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new()).build(LimitedConnector(connector)))
}
