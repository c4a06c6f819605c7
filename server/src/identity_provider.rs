//! The interface to what says who a connection is, and may have to wait for it.
//!
//! Shards know this trait only. [`crate::application`] implements it.

use crate::client::Client;
use crate::history::RequestId;
use crate::identity::Identity;
use crate::outcome::Outcome;
use crate::token::TokenError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The decision about a connection.
pub type IdentityResult = Result<Arc<Identity>, TokenError>;

/// Says who a connection is.
pub trait IdentityProvider: fmt::Debug + Send + Sync {
    /// Decides now, or replies to `request.reply_to` later, in any case and within a time that it limits.
    fn identify(&self, request: IdentityRequest) -> Outcome<IdentityResult>;

    /// The parts of a connection's request that it uses.
    fn listed(&self) -> &Listed;

    /// How long a connection stays open after its identity has expired.
    fn grace(&self) -> Duration;
}

/// The parts of a request that a provider uses.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Headers, in lower case.
    pub headers: Vec<Box<str>>,
    /// Cookies.
    pub cookies: Vec<Box<str>>,
    /// All cookies, as one text.
    pub all_cookies: bool,
    /// Parameters of the query.
    pub query: Vec<Box<str>>,
}

/// A connection to decide about.
pub struct IdentityRequest {
    /// The destination of a later reply.
    pub reply_to: IdentityReplyTo,
    /// The client, for its share of what may wait.
    pub client: Client,
    /// The listed headers and cookies that its request had.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The listed cookies that its request had.
    pub cookies: Vec<(Box<str>, Box<str>)>,
    /// The listed parameters that it sent to enter the namespace.
    pub query: Vec<(Box<str>, Box<str>)>,
    /// The token that it sent.
    pub token: Option<Box<str>>,
}

/// The destination of a reply: a request of one connection, which may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityReplyTo {
    /// The shard.
    pub shard: u8,
    /// The connection's slot on the shard.
    pub slot: u32,
    /// The namespace's id.
    pub namespace: u16,
    /// The number of the request on the shard.
    pub id: u32,
}

/// The reply to an [`IdentityRequest`].
#[derive(Debug)]
pub struct IdentityReply {
    /// The request.
    pub reply_to: IdentityReplyTo,
    /// The decision.
    pub result: IdentityResult,
    /// What the client receives about a rejection, instead of the error's text.
    pub reason: Option<Arc<str>>,
}

/// A request of a protocol to identify its connection.
#[derive(Debug, Clone, Copy)]
pub struct Identify<'a> {
    /// The namespace's id.
    pub namespace: u16,
    /// The token that the client sent. `None`: it sent none.
    pub token: Option<&'a str>,
    /// The parameters that the provider lists, as the client sent them.
    pub query: &'a [(Box<str>, Box<str>)],
    /// The protocol's own id of the request, to find it again when the reply arrives.
    pub request: RequestId,
}

// === impl IdentityRequest ===

impl fmt::Debug for IdentityRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers, cookies, parameters and the token are secrets.
        f.debug_struct("IdentityRequest").field("reply_to", &self.reply_to).finish_non_exhaustive()
    }
}
