//! The application behind the server: requests to it, and what its responses mean.
//!
//! `client` is the one bounded HTTP client, with its circuit breaker (`breaker`), its turns (`slots`) and its addresses
//! (`resolver`). [`RequestAuthorizer`] asks the application who a connection is, with a `cache`, and [`TurtedAuthorizer`]
//! about the users and channels of one dialect; `response` reads its responses, and `site` writes and reads those of the
//! dialect `web_service`. `key_set` reads the public keys of tokens from it. `hook_sender` notifies it (`hook_attempts`
//! decides when), and `user_updates` as SocketIO Web Service did. `span_exporter` sends spans to their receiver with the same client. `calls` passes the calls of clients on. The target of
//! every request is fixed by the configuration: nothing that a client sends can change its scheme, host or path, except that
//! a call names a path below the one of its target.
//!
//! It knows the shards' inboxes, for its replies. It does not know connections, protocols or engines.

mod authorizer;
mod breaker;
mod cache;
mod calls;
mod client;
mod hook_attempts;
mod hook_sender;
mod key_set;
mod resolver;
mod response;
mod site;
mod slots;
mod span_exporter;
mod turted;
mod user_updates;

pub use authorizer::RequestAuthorizer;
pub use calls::Forwarder;
pub use client::{ApplicationClient, ApplicationError, ApplicationRequest, ApplicationResponse};
pub use hook_sender::HookSender;
pub use key_set::keep_key_set;
pub use span_exporter::SpanExporter;
pub use turted::TurtedAuthorizer;
pub use user_updates::UserUpdates;
