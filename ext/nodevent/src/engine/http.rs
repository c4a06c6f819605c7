//! Publishing to a NoDevent server: `POST /api/<namespace>/emit`, section 3 of protocol/README.md.
//!
//! One request is under way at a time, with as many waiting publications of one namespace as fit, so the order is kept.
//! A request that is repeated carries the same idempotency key, so nothing is published twice.

use super::{CONNECT_PATIENCE, PATIENCE, Progress, Trouble, random};
use crate::queue::{Answer, PublicationRef, Settled};
use crate::target::HttpTarget;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use std::collections::VecDeque;
use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use tokio::time::timeout;

/// Publications and bytes of one request; the server takes 1 MB.
pub(super) const WINDOW: (usize, usize) = (256, 512 * 1024);
/// No answer of ours is longer.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// See the head of this file.
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    address: Arc<str>,
    authorization: Option<HeaderValue>,
    /// Makes the idempotency keys of this publisher unlike those of all others.
    nonce: String,
    /// Requests ever made.
    requests: u64,
    /// The request that must be repeated: how many publications, under which key.
    again: Option<(usize, HeaderValue)>,
    /// So many publications go one by one, because the server refused them together.
    alone: usize,
}

/// What the server says, well or not.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    accepted: usize,
    positions: Vec<Option<Box<str>>>,
    error: Option<String>,
    remedy: Option<String>,
}

// === impl Http ===

impl Http {
    /// # Errors
    /// The URL or the key cannot be part of a request.
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
                let mut value =
                    value.map_err(|_| "the publish_key has characters no header can have".to_owned())?;
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
            again: None,
            alone: 0,
        })
    }

    pub(super) fn address(&self) -> &Arc<str> {
        &self.address
    }

    pub(super) async fn publish(&mut self, publications: &VecDeque<PublicationRef>) -> Progress {
        let (count, key) = match self.again.take() {
            Some(again) => again,
            None => (self.together(publications), self.key(publications)),
        };
        let request = match self.request(publications, count, &key) {
            Ok(request) => request,
            Err(reason) => return Progress { settled: vec![Err(reason.into()); count], trouble: None },
        };
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| trouble(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
            let cut = |error: Box<dyn std::error::Error + Send + Sync>| Trouble {
                reason: error.to_string(),
                unsent: false,
            };
            Ok::<_, Trouble>((status, body.map_err(cut)?.to_bytes()))
        };
        let late = || Trouble { reason: format!("no answer within {} s", PATIENCE.as_secs()), unsent: false };
        match timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(late())) {
            Ok((status, body)) => self.understand(status, &body, count, key),
            Err(trouble) => {
                self.again = Some((count, key));
                Progress { settled: Vec::new(), trouble: Some(trouble) }
            }
        }
    }

    /// How many of the first publications go in one request.
    fn together(&self, publications: &VecDeque<PublicationRef>) -> usize {
        match publications.front() {
            Some(first) if self.alone == 0 && first.idempotency_key.is_none() => publications
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

    fn understand(&mut self, status: StatusCode, body: &[u8], count: usize, key: HeaderValue) -> Progress {
        let said: Said = serde_json::from_slice(body).unwrap_or_default();
        if status.is_success() {
            self.alone = self.alone.saturating_sub(count);
            return Progress { settled: accepted(said, count), trouble: None };
        }
        let text = said.text(&self.address, status, body);
        if status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
        {
            let taken = said.accepted.min(count);
            if taken == 0 {
                self.again = Some((count, key));
            } else {
                self.alone = self.alone.saturating_sub(taken);
            }
            return Progress {
                settled: accepted(said, taken),
                trouble: Some(Trouble { reason: text, unsent: false }),
            };
        }
        if count > 1 && matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE) {
            // One of them is bad and must not take the others with it.
            self.alone = count;
            return Progress::default();
        }
        self.alone = self.alone.saturating_sub(count);
        Progress { settled: vec![Err(text.into()); count], trouble: None }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("address", &self.address).finish_non_exhaustive()
    }
}

// === impl Said ===

impl Said {
    fn text(&self, address: &str, status: StatusCode, body: &[u8]) -> String {
        let error = self.error.clone().unwrap_or_else(|| {
            let text = String::from_utf8_lossy(body);
            text.chars().take(200).map(|char| if char.is_control() { ' ' } else { char }).collect()
        });
        // What names no remedy is no NoDevent server: a proxy before it, or somebody else.
        let remedy = self.remedy.as_deref().unwrap_or("see that `url:` is the server's address, and its log");
        format!("{address} answered {}: {error}; {remedy}", status.as_u16())
    }
}

fn accepted(said: Said, count: usize) -> Vec<Settled> {
    let mut positions = said.positions.into_iter();
    (0..count).map(|_| Ok(positions.next().flatten().map_or(Answer::Accepted, Answer::Position))).collect()
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

/// The namespace as one segment of a path.
fn escape(namespace: &str) -> String {
    let mut text = String::with_capacity(namespace.len());
    for byte in namespace.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The innermost cause says more than the outermost: "Connection refused", not "client error (Connect)".
fn trouble(error: &hyper_util::client::legacy::Error) -> Trouble {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = cause.to_string();
        source = cause.source();
    }
    Trouble { reason, unsent: error.is_connect() }
}

fn client(secure: bool) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, String> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_PATIENCE));
    let builder = HttpsConnectorBuilder::new();
    let builder = if secure {
        let native = builder.with_native_roots();
        native.map_err(|error| format!("the certificates of this machine cannot be read: {error}"))?
    } else {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?;
        builder.with_tls_config(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    };
    let connector = builder.https_or_http().enable_http1().wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}
