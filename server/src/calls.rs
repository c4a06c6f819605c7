//! Calls: requests that a client sends to the application over its connection.
//!
//! Shards know this interface only; [`crate::application`] implements it. A client chooses path, method and body. The
//! configuration chooses everything else.

use crate::client::Client;
use crate::origin::Origins;
use crate::outcome::Outcome;
use std::fmt;
use std::net::IpAddr;

/// What the message of a response has besides its headers and its body, at most: the fields, the call's number or id, the
/// name of the namespace, and the head of a frame. Bytes.
const MAX_WRAPPING: usize = 1024;

/// Sends the calls of one namespace to its application.
pub trait Caller: fmt::Debug + Send + Sync {
    /// Sends a call, and replies to `request.reply_to` later, in any case and within a time that it limits.
    /// [`Outcome::Ready`]: it was rejected.
    fn call(&self, request: CallRequest) -> Outcome<CallError>;

    /// The cookies that it passes on.
    fn cookies(&self) -> &CookieRule;

    /// The origins of pages that may call, besides the server's own host.
    fn origins(&self) -> &Origins;

    /// Calls of one connection that may be pending.
    fn max_per_connection(&self) -> u16;

    /// Whether the application has handlers for messages.
    fn has_handlers(&self) -> bool;

    /// Whether the application is notified of an event.
    fn notifies(&self, event: ConnectionEvent) -> bool;
}

/// The cookies of a connection's request that are passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CookieRule {
    /// All of them.
    All,
    /// Those with these names.
    Listed(Vec<Box<str>>),
}

/// What a client calls.
#[derive(Clone)]
pub enum Call {
    /// A route of the application.
    Route {
        /// The method.
        method: Box<str>,
        /// Path and query.
        path: Box<str>,
        /// The body.
        body: Option<CallBody>,
    },
    /// A handler of the application, with a message: the text of a JSON object.
    Handler {
        /// Its name.
        name: Box<str>,
        /// The message.
        message: Box<str>,
    },
    /// A command that the server sends to the handlers on behalf of a client, which cannot send it as a message: the text of a
    /// JSON object.
    Command {
        /// Its name.
        name: &'static str,
        /// What it is about.
        message: Box<str>,
    },
    /// A notification without a reply.
    Event(ConnectionEvent),
}

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// Its subscriptions are active.
    Join,
    /// It has ended.
    Leave,
}

/// The body of a call.
#[derive(Clone)]
pub struct CallBody {
    /// The type.
    pub content_type: &'static str,
    /// The bytes.
    pub bytes: Box<[u8]>,
}

/// A call with what is known about its connection.
pub struct CallRequest {
    /// The destination of the reply. `None`: there is none.
    pub reply_to: Option<CallReplyTo>,
    /// The client, for its share of what may wait.
    pub client: Client,
    /// Its address.
    pub address: IpAddr,
    /// The call.
    pub call: Call,
    /// The id of the connection, for the application.
    pub connection: Box<str>,
    /// The cookies of the connection's request, as one header.
    pub cookies: Option<Box<str>>,
    /// Whether its page was loaded by HTTPS.
    pub is_secure: bool,
}

/// The destination of a reply: a connection that may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallReplyTo {
    /// The shard.
    pub shard: u8,
    /// The connection's slot.
    pub slot: u32,
    /// The slot's occupant.
    pub generation: u32,
    /// The namespace's id.
    pub namespace: u16,
    /// The protocol's own number of the call.
    pub number: u64,
}

/// The reply to a call.
#[derive(Debug)]
pub struct CallReply {
    /// The call.
    pub reply_to: CallReplyTo,
    /// The client that called.
    pub client: Client,
    /// The result.
    pub result: CallResult,
}

/// The result of a call.
pub type CallResult = Result<Called, CallError>;

/// The application's response to a call.
#[derive(Clone)]
pub struct Called {
    /// The status.
    pub status: u16,
    /// The text of a JSON object: the headers, with names in lower case.
    pub headers: Box<str>,
    /// The body.
    pub body: Box<str>,
}

/// Why a call has no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{}", self.as_str())]
pub enum CallError {
    /// The path cannot be called.
    BadPath,
    /// The call is not one.
    BadCall,
    /// The method is not one of those that may be called.
    BadMethod,
    /// Pages of this origin may not call.
    BadOrigin,
    /// The application has no handlers.
    NoHandlers,
    /// The connection has too many calls that are pending.
    TooManyCalls,
    /// The namespace has no calls.
    NotConfigured,
    /// The application cannot be reached, or has closed the connection.
    Unreachable,
    /// The response is larger than allowed.
    TooLarge,
    /// The response goes on and on.
    Streamed,
    /// The response is not text.
    NotText,
    /// Too many calls wait for the application.
    Busy,
    /// The circuit breaker is open.
    BreakerOpen,
    /// There was no response in time.
    Timeout,
}

// === impl CallError ===

impl CallError {
    /// The status of the reply to the client.
    pub fn status(self) -> u16 {
        match self {
            Self::BadPath | Self::BadCall => 400,
            Self::BadOrigin => 403,
            Self::NoHandlers => 404,
            Self::BadMethod => 405,
            Self::TooManyCalls => 429,
            Self::NotConfigured => 501,
            Self::Unreachable | Self::TooLarge | Self::Streamed | Self::NotText => 502,
            Self::Busy | Self::BreakerOpen => 503,
            Self::Timeout => 504,
        }
    }

    /// The text for the client. It says nothing about the application's address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadPath => "bad path",
            Self::BadCall => "bad call",
            Self::BadMethod => "method not allowed",
            Self::BadOrigin => "origin not allowed",
            Self::NoHandlers => "no message handler",
            Self::TooManyCalls => "too many calls",
            Self::NotConfigured => "calls are not configured",
            Self::Unreachable | Self::BreakerOpen => "application unavailable",
            Self::TooLarge => "response too large",
            Self::Streamed => "response is streamed",
            Self::NotText => "response is not text",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
        }
    }

    /// The label in the metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadPath => "bad_path",
            Self::BadCall => "bad_call",
            Self::BadMethod => "bad_method",
            Self::BadOrigin => "bad_origin",
            Self::NoHandlers => "no_handlers",
            Self::TooManyCalls => "too_many",
            Self::NotConfigured => "not_configured",
            Self::Unreachable => "unreachable",
            Self::TooLarge => "too_large",
            Self::Streamed => "streamed",
            Self::NotText => "not_text",
            Self::Busy => "busy",
            Self::BreakerOpen => "breaker_open",
            Self::Timeout => "timeout",
        }
    }
}

// === impl Call ===

impl Call {
    /// A call of a route with a body of JSON, which is sent if the method has one.
    pub fn with_json(method: &str, path: &str, body: Option<&str>) -> Self {
        let method = method.to_ascii_uppercase();
        let has_body = !matches!(method.as_str(), "GET" | "HEAD" | "DELETE");
        let body = body
            .filter(|body| has_body && *body != "null")
            .map(|body| CallBody { content_type: "application/json", bytes: body.as_bytes().into() });
        Self::Route { method: method.into(), path: path.into(), body }
    }
}

// === impl Called ===

impl Called {
    /// The text of a JSON object, for clients.
    pub fn text(&self) -> String {
        let body = serde_json::Value::from(&*self.body);
        format!(r#"{{"status":{},"headers":{},"body":{body}}}"#, self.status, self.headers)
    }

    /// Whether the message with this response is longer. What a protocol adds to the text is short.
    pub fn is_longer_than(&self, bytes: usize) -> bool {
        // In JSON a byte has six characters at most.
        let most = MAX_WRAPPING + self.headers.len() + 6 * self.body.len();
        most > bytes && MAX_WRAPPING + self.text().len() > bytes
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What clients send may be secret.
        f.write_str(match self {
            Self::Route { .. } => "Route(…)",
            Self::Handler { .. } => "Handler(…)",
            Self::Command { .. } => "Command(…)",
            Self::Event(ConnectionEvent::Join) => "Join",
            Self::Event(ConnectionEvent::Leave) => "Leave",
        })
    }
}

impl fmt::Debug for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Called").field("status", &self.status).finish_non_exhaustive()
    }
}

// === impl CallRequest ===

impl fmt::Debug for CallRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallRequest").field("reply_to", &self.reply_to).finish_non_exhaustive()
    }
}
