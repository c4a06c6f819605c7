//! `POST /push/`: the REST push connector of TURTED.
//!
//! A push is a publication to users, channels and all connections; [`nodevent_protocol::turted`] reads it. The password
//! is in the body, so pages of other origins gain nothing from a visit, and the CORS headers are those of TURTED.
//!
//! # Source
//! TURTED 3.3.6 (`RestPushConnector`).

use super::audit::{Audit, Outcome};
use super::{Endpoint, Http, PeerAddr, ResponseFuture, body, publish, reply};
use crate::authorize::{Publisher, constant_time_eq};
use crate::client::Client;
use crate::config::turted::Push as Settings;
use crate::fair_turns::FairTurns;
use crate::namespace::Namespace;
use crate::publish_key::PublishKey;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use body::BodyError;
use hyper::ext::ReasonPhrase;
use nodevent_protocol::turted::Push;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The body of a response to another method, as the old server sends it.
const WRONG_METHOD: &str = "<html><body><h1>Method not supported</h1></body></html>";
/// Its status line.
const WRONG_METHOD_PHRASE: ReasonPhrase = ReasonPhrase::from_static(b"Method not supported");

/// The endpoint of one namespace.
pub struct TurtedPush {
    namespace: u16,
    path: String,
    /// The password, as a publish key for every target.
    key: Arc<PublishKey>,
    /// Whether it has a listener of its own, on which every path is its.
    is_alone: bool,
    /// The password is in the body, so bodies of programs without it are read, too: one at a time, and clients one after
    /// another.
    turns: Arc<FairTurns>,
}

// === impl TurtedPush ===

impl TurtedPush {
    /// The endpoint of the namespace with this id.
    pub fn new(namespace: u16, settings: &Settings) -> Self {
        let key = settings.password.clone();
        Self {
            namespace,
            path: settings.path.clone(),
            key: Arc::new(PublishKey { id: "turted.push".to_owned(), key, limit: None, may_revoke: false }),
            is_alone: settings.listen.is_some(),
            turns: Arc::default(),
        }
    }

    async fn respond(&self, http: &Http, request: Request) -> Response {
        // The old server looks for its path anywhere in the URL.
        if self.is_alone && !request.uri().to_string().contains(&self.path) {
            return Response::new(Body::empty());
        }
        match *request.method() {
            Method::OPTIONS => with_cors(Response::new(Body::empty()), origin_of(&request)),
            Method::POST => {
                let origin = origin_of(&request);
                let response = self.push(http, request).await.unwrap_or_else(|refusal| *refusal);
                with_cors(response, origin)
            }
            _ => {
                let mut response =
                    reply::with_type(StatusCode::METHOD_NOT_ALLOWED, "text/html", WRONG_METHOD.to_owned());
                response.extensions_mut().insert(WRONG_METHOD_PHRASE);
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("OPTIONS, POST"));
                response
            }
        }
    }

    async fn push(&self, http: &Http, request: Request) -> Result<Response, Box<Response>> {
        let namespace = http.namespaces.get(self.namespace);
        let client = PeerAddr::of(request.extensions());
        let publisher = Publisher::Key(Arc::clone(&self.key));
        let (parts, body) = request.into_parts();
        let audit = Audit::of_parts(http, namespace, &publisher, &parts);
        let body = body::read(http, body, http.settings().max_publish_size, client).await.map_err(|error| {
            Box::new(match error {
                BodyError::TooLarge => {
                    http.metrics.count_oversized_publish();
                    text(StatusCode::PAYLOAD_TOO_LARGE, "Data is too large; raise `limits: max_publish_size`")
                }
                BodyError::Timeout => reply::body_timeout(),
                BodyError::Overloaded => reply::busy(),
                BodyError::Incomplete => text(StatusCode::BAD_REQUEST, "Data was not json"),
            })
        })?;
        let not_json = |_| {
            http.metrics.rejected_requests.fetch_add(1, Relaxed);
            Box::new(text(StatusCode::BAD_REQUEST, "Data was not json"))
        };
        // What a program without the password sends is not read any further.
        let password = {
            let (_ticket, turn) = self.turns.wait(Client::of(client));
            let _turn = turn.await;
            // Other requests have their turns in between.
            tokio::task::yield_now().await;
            Push::password(&body)
        };
        self.authorize(http, namespace, password.map_err(not_json)?.as_deref(), &parts)?;
        let push = Push::parse(&body).map_err(not_json)?;
        let ok = Ok(text(StatusCode::OK, "OK"));
        let Some(publication) = push.publication() else { return ok };
        let published = Push::published(&publication).map_err(|invalid| {
            http.metrics.count_invalid_publish(&invalid);
            Box::new(text(StatusCode::PAYLOAD_TOO_LARGE, &format!("Data is not deliverable: {invalid}")))
        })?;
        let publications = [published];
        let result = publish::publish_all(http, namespace, &publications, None, &publisher, client).await;
        audit.log(&publications, if result.is_ok() { Outcome::Published } else { Outcome::Failed });
        if result.is_err() {
            http.metrics.failed_publishes.fetch_add(1, Relaxed);
        }
        result.and(ok)
    }

    /// Compares the password. Counts, logs and limits wrong ones.
    fn authorize(
        &self,
        http: &Http,
        namespace: &Namespace,
        password: Option<&str>,
        parts: &Parts,
    ) -> Result<(), Box<Response>> {
        if password.is_some_and(|password| constant_time_eq(password.as_bytes(), self.key.key.as_bytes())) {
            return Ok(());
        }
        http.metrics.rejected_requests.fetch_add(1, Relaxed);
        let (client, reason) = (PeerAddr::of(&parts.extensions), "the password of the push is missing or wrong");
        tracing::warn!(namespace = &*namespace.name, %client, reason, "push rejected");
        Audit::log_rejected_key(http, &namespace.name, client, reason);
        match password.map(|_| http.settings().addresses.wrong_key(client)) {
            Some(Err(limit)) => Err(http.refuse_address(client, limit)),
            _ => Err(Box::new(text(StatusCode::UNAUTHORIZED, "Wrong auth data"))),
        }
    }
}

impl Endpoint for TurtedPush {
    fn matches(&self, path: &str) -> bool {
        // With and without the slash at the end.
        path.starts_with(&*self.path) || path == self.path.trim_end_matches('/')
    }

    fn is_for_programs(&self) -> bool {
        true
    }

    fn serve<'a>(&'a self, http: &'a Http, request: Request) -> ResponseFuture<'a> {
        Box::pin(self.respond(http, request))
    }
}

fn text(status: StatusCode, body: &str) -> Response {
    reply::text(status, body.to_owned())
}

fn origin_of(request: &Request) -> HeaderValue {
    request.headers().get(header::ORIGIN).cloned().unwrap_or(HeaderValue::from_static("*"))
}

/// The headers with which the old server lets pages read its response.
fn with_cors(mut response: Response, origin: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("OPTIONS, POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    response
}
