//! The application behind the server: requests to it, and what its responses mean.
//!
//! `client` is the one bounded HTTP client, with its circuit breaker (`breaker`). [`RequestAuthorizer`] asks the application
//! who a connection is, with a `cache`; `response` reads its responses. `key_set` reads the public keys of tokens from it. The target of every request is fixed by the
//! configuration: nothing that a client sends can change its scheme, host or path.
//!
//! It knows the shards' inboxes, for its replies. It does not know connections, protocols or engines.

mod authorizer;
mod breaker;
mod cache;
mod client;
mod key_set;
mod response;
mod slots;

pub use authorizer::RequestAuthorizer;
pub use client::{ApplicationClient, ApplicationError, ApplicationRequest, ApplicationResponse};
pub use key_set::keep_key_set;
