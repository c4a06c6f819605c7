//! Sends the calls of clients to the application, and reads its responses.
//!
//! The configuration fixes scheme, host and the beginning of the path. Of a client's message only method, path and body are
//! used; cookies are those of its connection's request. Each request is signed, so that the application knows that it comes
//! from the server, which has checked the origin of the page.

use super::client::{ApplicationClient, ApplicationError, ApplicationRequest, CallResponse};
use crate::calls::{
    Call, CallBody, CallError, CallReply, CallReplyTo, CallRequest, CallResult, Called, Caller, ConnectionEvent,
    CookieRule,
};
use crate::client::Client;
use crate::clock::now_ms;
use crate::config::calls::Calls;
use crate::fair_shares::FairShares;
use crate::origin::Origins;
use crate::outcome::Outcome;
use crate::shard::{Shards, ToShard};
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use nodevent_protocol::calls::{FORM, Signed, is_path, overriding_methods, sign};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// Headers of the application's response that clients never receive: they set cookies, or belong to one connection.
const NOT_FOR_CLIENTS: [&str; 9] = [
    "set-cookie",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const CONNECTION: HeaderName = HeaderName::from_static("x-nodevent-connection");
const NAMESPACE: HeaderName = HeaderName::from_static("x-nodevent-namespace");
const SIGNATURE: HeaderName = HeaderName::from_static("x-nodevent-signature");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The caller of one namespace.
#[derive(Debug)]
pub struct Forwarder {
    shared: Arc<Shared>,
    cookies: CookieRule,
    runtime: Handle,
}

#[derive(Debug)]
struct Shared {
    client: ApplicationClient,
    namespace: Arc<str>,
    settings: Calls,
    shards: Shards,
    /// The calls of each client for which there is no result yet, with what the application is notified of.
    pending: Mutex<FairShares>,
}

/// Replies to a call, also if its task ends early.
struct Reply<'a> {
    shared: &'a Shared,
    reply_to: Option<CallReplyTo>,
    client: Client,
    result: Option<CallResult>,
}

// === impl Forwarder ===

impl Forwarder {
    /// The caller of a namespace. Called on the runtime that runs its requests.
    pub fn new(namespace: &Arc<str>, settings: Calls, client: ApplicationClient, shards: Shards) -> Self {
        let cookies = settings.cookies.clone().map_or(CookieRule::All, CookieRule::Listed);
        let places = settings.application.concurrency + settings.application.queue;
        let (namespace, pending) = (Arc::clone(namespace), Mutex::new(FairShares::new(places)));
        let shared = Arc::new(Shared { client, namespace, settings, shards, pending });
        Self { shared, cookies, runtime: Handle::current() }
    }
}

impl Caller for Forwarder {
    fn call(&self, request: CallRequest) -> Outcome<CallError> {
        let client = request.client;
        {
            let mut pending = self.shared.pending();
            if pending.check(client).is_err() {
                return Outcome::Overloaded;
            }
            pending.add(client);
        }
        let prepared = match self.shared.prepare(&request) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.shared.pending().remove(client);
                return Outcome::Ready(error);
            }
        };
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            let mut reply = Reply { shared: &shared, reply_to: request.reply_to, client, result: None };
            let sent = shared.client.call(&prepared, Some(client)).await;
            reply.result = Some(shared.read(&request.call, sent));
        });
        Outcome::Pending
    }

    fn cookies(&self) -> &CookieRule {
        &self.cookies
    }

    fn origins(&self) -> &Origins {
        &self.shared.settings.origins
    }

    fn max_per_connection(&self) -> u16 {
        self.shared.settings.per_connection
    }

    fn has_handlers(&self) -> bool {
        self.shared.settings.handlers.is_some()
    }

    fn notifies(&self, event: ConnectionEvent) -> bool {
        match event {
            ConnectionEvent::Join => self.shared.settings.notifies_join,
            ConnectionEvent::Leave => self.shared.settings.notifies_leave,
        }
    }
}

// === impl Shared ===

impl Shared {
    fn pending(&self) -> MutexGuard<'_, FairShares> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a route may be called with this method. A field `_method` must not replace it with another one.
    fn is_method(&self, method: &str, path: &str, body: Option<&CallBody>) -> bool {
        let is_listed = |method: &str| self.settings.methods.iter().any(|one| one.eq_ignore_ascii_case(method));
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let query = if matches!(method, "GET" | "HEAD") { "" } else { query };
        let form = body.filter(|body| body.content_type == FORM).map(|body| String::from_utf8_lossy(&body.bytes));
        self.settings.methods.iter().any(|one| **one == *method)
            && overriding_methods(query).all(|method| is_listed(&method))
            && overriding_methods(form.as_deref().unwrap_or_default()).all(|method| is_listed(&method))
    }

    fn prepare(&self, request: &CallRequest) -> Result<ApplicationRequest, CallError> {
        let handlers = || self.settings.handlers.as_deref().ok_or(CallError::NoHandlers);
        let (method, path, content_type, body) = match &request.call {
            Call::Route { method, path, body } => {
                if !is_path(path) || self.is_of_handlers(path) {
                    return Err(CallError::BadPath);
                }
                if !self.is_method(method, path, body.as_ref()) {
                    return Err(CallError::BadMethod);
                }
                let content_type = body.as_ref().map(|body| body.content_type);
                let bytes = body.as_ref().map_or_else(Bytes::new, |body| Bytes::copy_from_slice(&body.bytes));
                (&**method, &**path, content_type, bytes)
            }
            Call::Handler { name, message } => {
                let name = Value::from(&**name);
                let body = format!(r#"{{"type":"message","action":{name},"message":{message}}}"#);
                ("POST", handlers()?, Some("application/json"), body.into())
            }
            Call::Command { name, message } => {
                let body = format!(r#"{{"type":"command","command":"{name}","message":{message}}}"#);
                ("POST", handlers()?, Some("application/json"), body.into())
            }
            Call::Event(event) => {
                let kind = match event {
                    ConnectionEvent::Join => "join",
                    ConnectionEvent::Leave => "leave",
                };
                ("POST", handlers()?, Some("application/json"), json!({"type": kind}).to_string().into())
            }
        };
        let above = self.settings.application.url.path().trim_end_matches('/');
        let path = PathAndQuery::try_from(format!("{above}{path}")).map_err(|_| CallError::BadPath)?;
        let signed = Signed {
            namespace: &self.namespace,
            method,
            // What is written on the wire.
            target: path.as_str(),
            connection: &request.connection,
            cookie: request.cookies.as_deref().unwrap_or_default(),
            body: &body,
        };
        let signature = sign(self.settings.secret.as_bytes(), now_ms() / 1000, &signed);
        let text = |text: &str| HeaderValue::from_str(text).map_err(|_| CallError::BadCall);
        let mut headers = HeaderMap::new();
        if let Some(cookies) = &request.cookies {
            let mut cookies = text(cookies)?;
            cookies.set_sensitive(true);
            headers.insert(header::COOKIE, cookies);
        }
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(CONNECTION, text(&request.connection)?);
        headers.insert(NAMESPACE, text(&self.namespace)?);
        headers.insert(SIGNATURE, text(&signature)?);
        headers.insert(FORWARDED_FOR, text(&request.address.to_string())?);
        let proto = if request.is_secure { "https" } else { "http" };
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| CallError::BadMethod)?;
        Ok(ApplicationRequest { method, path: Some(path), headers, body })
    }

    /// Whether a path belongs to the handlers, which only the server calls.
    fn is_of_handlers(&self, path: &str) -> bool {
        let Some(handlers) = &self.settings.handlers else { return false };
        let path = path.split('?').next().unwrap_or_default();
        // Another spelling of the same path is one too.
        let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().to_lowercase();
        let is_below = |rest: &str| rest.is_empty() || rest.starts_with(['/', '.', ';']);
        path.strip_prefix(&*handlers.to_lowercase()).is_some_and(is_below)
    }

    /// The result of a call. Logs everything that is not a response.
    fn read(&self, call: &Call, sent: Result<CallResponse, ApplicationError>) -> CallResult {
        let error = match sent {
            Ok(response) => match called(response) {
                Ok(response) if matches!(call, Call::Event(_)) && response.status >= 300 => {
                    let namespace = &*self.namespace;
                    tracing::info!(
                        namespace,
                        status = response.status,
                        "application: join or leave was not accepted"
                    );
                    return Ok(response);
                }
                Ok(response) => return Ok(response),
                Err(error) => error,
            },
            Err(error) => {
                let (namespace, target) = (&*self.namespace, self.client.target());
                match error {
                    ApplicationError::Overloaded | ApplicationError::BreakerOpen => {
                        tracing::debug!(namespace, target = target, reason = %error, "application: a call was not sent");
                    }
                    _ => tracing::warn!(namespace, target = target, reason = %error, "application: a call failed"),
                }
                call_error(&error)
            }
        };
        Err(error)
    }
}

/// The response of the application, as clients receive it.
fn called(response: CallResponse) -> CallResult {
    let mut headers = Map::new();
    for (name, value) in &response.headers {
        let name = name.as_str();
        if NOT_FOR_CLIENTS.contains(&name) {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        match headers.get_mut(name) {
            Some(Value::String(all)) => {
                all.push_str(", ");
                all.push_str(&value);
            }
            _ => drop(headers.insert(name.to_owned(), value.into())),
        }
    }
    let body = String::from_utf8(response.body.into()).map_err(|_| CallError::NotText)?;
    let headers = Value::Object(headers).to_string();
    Ok(Called { status: response.status.as_u16(), headers: headers.into(), body: body.into() })
}

fn call_error(error: &ApplicationError) -> CallError {
    match error {
        ApplicationError::Timeout(_) => CallError::Timeout,
        ApplicationError::TooLarge(_) => CallError::TooLarge,
        ApplicationError::Streamed => CallError::Streamed,
        ApplicationError::BreakerOpen => CallError::BreakerOpen,
        ApplicationError::Overloaded => CallError::Busy,
        ApplicationError::Unreachable(_) | ApplicationError::Redirect(_) | ApplicationError::Failed(_) => {
            CallError::Unreachable
        }
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        self.shared.pending().remove(self.client);
        let Some(reply_to) = self.reply_to else { return };
        let result = self.result.take().unwrap_or(Err(CallError::Unreachable));
        // The inbox always has a place for a reply: the shard limits how many it requests.
        let reply = CallReply { reply_to, client: self.client, result };
        self.shared.shards.send(reply_to.shard, ToShard::Called(Box::new(reply)));
    }
}
