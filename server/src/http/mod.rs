//! HTTP: the listeners, and what every endpoint needs.
//!
//! Protocols mount [`Endpoint`]s here; this module does not know any of them. A request that becomes a WebSocket is
//! handed to a shard, socket and all. Nothing here stores anything about a connection.
//!
//! In reading order: `listener` (accept), `handover` (from the application), `connection` (one socket, over `timed_stream`
//! and `coalesced_stream`), `router` (paths), [`endpoint`] (what a protocol
//! mounts), [`websocket`] (the handshake), [`query`], [`body`], [`reply`], `publish`, [`room_request`], `room_history`,
//! `user_path`, `user_connections`, `mailbox`, `notify`, `hooks`, the endpoints of old publishers (`send` with `form`,
//! `turted_push`, `notifications`), `health`, `console`, `assets`.

mod admission;
mod assets;
mod audit;
pub mod body;
mod coalesced_stream;
mod connection;
pub mod connections;
mod console;
pub mod endpoint;
pub mod event_stream;
mod form;
mod handover;
mod head_scanner;
mod health;
mod history_body;
mod hooks;
mod inherited;
mod listener;
mod mailbox;
mod notifications;
mod notify;
mod pages;
mod peer;
mod presence;
mod proxy_protocol;
mod publish;
mod publish_socket;
pub mod query;
mod refused_origins;
mod reload;
pub mod reply;
mod request_phase;
mod request_token;
mod revoke;
mod room_history;
pub mod room_request;
mod router;
mod send;
mod timed_stream;
mod tls;
mod tls_handshake;
mod turted_push;
mod unix_socket;
mod user_connections;
mod user_path;
pub mod websocket;

pub use console::ConsoleAccess;
pub use endpoint::{Endpoint, ResponseFuture};
pub use handover::BoundHandover;
pub use inherited::{Inherited, ListeningSocket, Origin as SocketOrigin};
pub use listener::{Bound, ListenError};
pub use notifications::NotificationsSource;
pub use peer::PeerAddr;
pub use publish::is_application_handshake;
pub use publish_socket::BoundSocket;
pub use reload::ReloadRequest;
pub use request_token::cookies;
pub use router::HttpService;
pub(crate) use tls::Certificate;
pub use tls::TlsError;
pub use turted_push::TurtedPush;

use crate::address_limits::{AddressLimit, AddressLimits, ConnectionPermit, NoPlace};
use crate::byte_budget::ByteBudget;
use crate::capability::Engines;
use crate::clock::now_ms;
use crate::config::hosts::Hosts;
use crate::config::proxies::TrustedProxies;
use crate::connect_info::{ConnectInfo, ConnectInfoPool, VisitorIdentities};
use crate::identity_provider::Listed;
use crate::metrics::Metrics;
use crate::namespace::{Namespace, Namespaces};
use crate::origin::Origins;
use crate::pages::VisitorKey;
use crate::protocol::JoinError;
use crate::shard::Shards;
use crate::token::TokenSource;
use admission::Admission;
pub(crate) use admission::unreserved;
use arc_swap::ArcSwap;
use assets::Assets;
use audit::Audit;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use history_body::HistoryResponses;
use mailbox::MailboxReads;
use nodevent_protocol::key::Secret;
use refused_origins::RefusedOrigins;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;

/// The settings of all listeners.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The pages that may connect.
    pub origins: Origins,
    /// The pages that may publish, with a key.
    pub publish_origins: Origins,
    /// The hosts that requests of clients may name.
    pub hosts: Hosts,
    /// The proxies whose forwarding headers count.
    pub trusted_proxies: TrustedProxies,
    /// To whom the console page is served.
    pub console: ConsoleAccess,
    /// Whether WebSockets may use permessage-deflate.
    pub deflate: bool,
    /// Whether publishes and rejected keys are logged.
    pub audit: bool,
    /// The key that requests of the admin listener must have.
    pub admin_key: Option<Secret>,
    /// What each address may do.
    pub addresses: Arc<AddressLimits>,
    /// The maximum number of sockets that are not WebSockets.
    pub max_http_connections: usize,
    /// The limit of open files of this process, if there is one.
    pub open_files: Option<u64>,
    /// The largest message from a client, and so the largest body of a POST on long-polling. Bytes.
    pub max_message_size: usize,
    /// The largest body of a publish. Bytes.
    pub max_publish_size: usize,
    /// Users of one request to notify.
    pub max_notified_users: usize,
    /// Timeout of the head of a request, and then of its body.
    pub request_timeout: Duration,
    /// Time for which an idle connection is kept open for its next request.
    pub keep_alive_timeout: Duration,
    /// Maximum time for which a socket may accept nothing of a response.
    pub write_timeout: Duration,
}

/// The state that every request can reach.
pub struct Http {
    /// The settings, which a reload replaces.
    current_settings: ArcSwap<Settings>,
    /// The threads that own the connections.
    pub shards: Shards,
    /// The namespaces.
    pub namespaces: Arc<Namespaces>,
    /// Their engines.
    pub engines: Arc<Engines>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Whether the server is shutting down.
    pub draining: AtomicBool,
    endpoints: Vec<Arc<dyn Endpoint>>,
    assets: Assets,
    admission: Admission,
    admission_of_admin: Admission,
    admission_of_publishers: Admission,
    connect_infos: ConnectInfoPool,
    /// Where a request may contain a token.
    token_sources: Vec<TokenSource>,
    /// The headers and cookies of a request that a connection keeps.
    listed: Listed,
    history_responses: HistoryResponses,
    mailbox_reads: MailboxReads,
    tls_turns: tls_handshake::Turns,
    bodies: Arc<ByteBudget>,
    /// What responses to polls hold that are not written.
    pub poll_responses: Arc<ByteBudget>,
    refused_origins: Mutex<RefusedOrigins>,
    /// Where requests for a reload go. Empty: the server was not started from a file.
    reloads: OnceLock<mpsc::Sender<ReloadRequest>>,
}

// === impl Http ===

impl Http {
    /// Returns the state that the requests of a server reach.
    pub fn new(
        settings: Settings,
        shards: Shards,
        namespaces: Arc<Namespaces>,
        engines: Arc<Engines>,
        metrics: Arc<Metrics>,
        endpoints: Vec<Arc<dyn Endpoint>>,
        poll_responses: Arc<ByteBudget>,
    ) -> Self {
        let (draining, assets) = (AtomicBool::new(false), Assets::new());
        let connect_infos = ConnectInfoPool::default();
        let token_sources = namespaces.token_sources().cloned().collect();
        let listed = namespaces.listed();
        let admission = Admission::new(settings.max_http_connections, settings.open_files);
        let (history_responses, bodies) = (HistoryResponses::default(), body::budget());
        Self {
            admission,
            admission_of_admin: Admission::of_programs(settings.open_files),
            admission_of_publishers: Admission::of_programs(settings.open_files),
            current_settings: ArcSwap::from_pointee(settings),
            shards,
            namespaces,
            engines,
            metrics,
            draining,
            endpoints,
            assets,
            connect_infos,
            token_sources,
            listed,
            history_responses,
            mailbox_reads: MailboxReads::default(),
            tls_turns: tls_handshake::Turns::default(),
            bodies,
            poll_responses,
            refused_origins: Mutex::default(),
            reloads: OnceLock::new(),
        }
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        self.current_settings.load_full()
    }

    /// Whether a socket was accepted on which a request is awaited or arriving.
    pub(crate) fn awaits_requests(&self) -> bool {
        self.has_any(request_phase::RequestPhase::awaits_request)
    }

    /// Whether a request is being served.
    pub(crate) fn serves_requests(&self) -> bool {
        self.has_any(request_phase::RequestPhase::is_serving)
    }

    fn has_any(&self, is_it: fn(&request_phase::RequestPhase) -> bool) -> bool {
        [&self.admission, &self.admission_of_publishers].into_iter().any(|admission| admission.has_any(is_it))
    }

    /// The requests of `POST /reload`, which the caller carries out. Only the first call receives any.
    pub(crate) fn reload_requests(&self) -> mpsc::Receiver<ReloadRequest> {
        let (sender, receiver) = mpsc::channel(reload::MAX_WAITING);
        let _ = self.reloads.set(sender);
        receiver
    }

    /// Replaces the settings. Requests that are being served keep what they have read.
    pub(crate) fn set_settings(&self, settings: Settings) {
        self.current_settings.store(Arc::new(settings));
    }

    /// Decides about a handshake, or a response that is as long as a connection. Counts and logs. The connection counts
    /// as long as the permit exists.
    ///
    /// # Errors
    /// The response that refuses it: the server is shutting down, it has as many connections as allowed, or the client's
    /// address has.
    pub fn admit_connection(&self, client: IpAddr) -> Result<ConnectionPermit, Box<Response>> {
        if self.draining.load(Relaxed) {
            return Err(Box::new(reply::busy()));
        }
        self.settings().addresses.handshake(client).map_err(|reason| match reason {
            NoPlace::Address(limit) => self.refuse_address(client, limit),
            NoPlace::Server => {
                self.metrics.rejected_connections.fetch_add(1, Relaxed);
                tracing::warn!(%client, "connection refused: `limits: max_connections` is reached, or the limit of open files");
                Box::new(reply::busy())
            }
        })
    }

    /// Decides about the upgrade of a connection to a WebSocket, which is a handshake too. Counts and logs.
    ///
    /// # Errors
    /// The response that refuses it.
    pub fn admit_upgrade(&self, client: IpAddr) -> Result<(), Box<Response>> {
        self.settings().addresses.upgrade(client).map_err(|limit| self.refuse_address(client, limit))
    }

    /// Counts and logs a join that was rejected over HTTP, and its wrong key, if it had one.
    ///
    /// # Errors
    /// The response to an address that has sent too many wrong keys.
    pub fn reject_join(
        &self,
        namespace: &Namespace,
        client: IpAddr,
        error: JoinError,
    ) -> Result<(), Box<Response>> {
        self.metrics.rejected_joins.fetch_add(1, Relaxed);
        tracing::info!(namespace = &*namespace.name, reason = error.as_str(), %client, "join rejected");
        Audit::log_rejected_key(self, &namespace.name, client, error.as_str());
        match error {
            JoinError::WrongKey(_) => {
                self.settings().addresses.wrong_key(client).map_err(|limit| self.refuse_address(client, limit))
            }
            _ => Ok(()),
        }
    }

    /// Counts and logs a request that a limit of its address refuses. Returns the response.
    fn refuse_address(&self, client: IpAddr, limit: AddressLimit) -> Box<Response> {
        self.metrics.count_address_limit(limit);
        tracing::warn!(%client, reason = limit.key(), "request refused: a limit of its address is reached");
        Box::new(reply::too_many_requests(limit.key()))
    }

    /// The parts of its request that a connection keeps.
    pub fn connect_info(&self, request: &Parts, permit: ConnectionPermit) -> ConnectInfo {
        let origin = request.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        let query = request.uri.query().unwrap_or_default();
        let peer = PeerAddr::of(&request.extensions);
        let listed = request_token::listed(&self.listed, request);
        let info = self.connect_infos.connect_info(peer, origin, query, listed, Some(permit));
        info.with_token(request_token::find(&self.token_sources, request))
            .with_query(request_token::listed_query(&self.listed, request))
            .with_visitors(self.visitors(request))
            .with_identities(self.identities(request))
    }

    /// Who the visitor is, as the application knows by the cookies of the request. Another site's page sends them too.
    fn identities<'a>(&self, request: &'a Parts) -> Option<&'a VisitorIdentities> {
        let identities =
            request.extensions.get::<VisitorIdentities>().filter(|identities| !identities.is_empty())?;
        let is_trusted = self.settings().origins.trust(&request.headers);
        if !is_trusted {
            let client = PeerAddr::of(&request.extensions);
            tracing::info!(
                %client,
                "what the application says about a visitor is not used, because the page may connect only as every page \
                 may; if it is yours, list its origin under `origins`"
            );
        }
        is_trusted.then_some(identities)
    }

    /// The visitor who sends a request, as the namespaces recognize them.
    fn visitors(&self, request: &Parts) -> Vec<(u16, VisitorKey)> {
        let now = now_ms() / 1000;
        let of = |namespace: &Namespace| {
            let key = namespace.visitors.as_ref()?.key(request_token::cookies(&request.headers), now)?;
            Some((namespace.id, key))
        };
        self.namespaces.iter().filter_map(of).collect()
    }
}
