//! Start-up and shutdown.
//!
//! [`Server::start`] binds the listeners first, so that a busy port is reported before anything else happens. Then it
//! starts the shards, then the engines that push into them. [`Server::run`] accepts connections until its shutdown
//! future completes. Then readiness fails, the listeners close, and the connections are closed over the drain timeout. With
//! [`Shutdown::Replaced`], another server has the listening sockets, and clients wait for it, so all this is as short as
//! possible.

mod reload;

pub use reload::Reloader;

use crate::address_limits::{self, AddressLimits};
use crate::application::{
    ApplicationClient, Forwarder, HookSender, RequestAuthorizer, SpanExporter, TurtedAuthorizer, UserUpdates,
    keep_key_set,
};
use crate::authorize::{Authorizer, Authorizers, DialectJoins, DialectRooms, PublishAuthorizer, RoomsOfUsers};
use crate::byte_budget::ByteBudget;
use crate::capability::{Engine, Engines};
use crate::config::application::Application;
use crate::config::namespace::{BoundKeys, Namespace as NamespaceConfig};
use crate::config::report::Report;
use crate::config::{Config, limits::Limits, listen::Listen, turted};
use crate::deflate::Deflate;
use crate::engine::Fanout;
use crate::engine::memory::{self, Memory, Restored, RestoredStore, StoredNamespace};
use crate::engine::redis::{self, Redis};
use crate::hooks::{Recorder, keep_journal};
use crate::http::{
    self, Bound, BoundHandover, BoundSocket, ConsoleAccess, Endpoint, Http, HttpService, Inherited, ListenError,
    ListeningSocket, NotificationsSource, TurtedPush,
};
use crate::mailbox::MailboxSettings;
use crate::metrics::Metrics;
use crate::namespace::{Namespace, Namespaces, RefreshSettings, RoomLimits};
use crate::pages::VisitorCookie;
use crate::protocols::{self, Mount, REGISTRY};
use crate::revocation::RevocationList;
use crate::shard::{self, Shards};
use crate::sources;
use crate::store::{Loading, OpenStore, Store, StoreError};
use crate::token::{RemoteKeys, TokenVerifier};
use reload::Used;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Interval at which a shutdown checks whether all connections are closed.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Time that a shutdown may take after the drain timeout, for the last close frames.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// The longest drain of a server that is replaced: clients that reconnect meanwhile wait for the new one.
const REPLACED_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a server that is replaced waits for requests on sockets that it has accepted.
const LAST_REQUESTS_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum size that an engine adds to a publication for its position. Bytes.
const POSITION_BYTES: usize = 64;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The operating system refuses a thread or an epoll instance.
    #[error("the operating system refuses a thread or a descriptor: {0}")]
    System(#[from] io::Error),
    /// The configuration names a protocol or dialect that does not exist.
    #[error("{0}")]
    Names(Report),
    /// The Redis settings of a namespace contradict each other.
    #[error("invalid Redis settings for namespace {0}: {1}")]
    Redis(String, String),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificates for requests to the application cannot be used.
    #[error("invalid settings for requests to the application of namespace {0}: {1}")]
    Application(String, String),
    /// The certificates for the receiver of spans cannot be used.
    #[error("invalid settings for traces: {0}")]
    Traces(String),
}

/// A server that listens.
pub struct Server {
    http: Arc<Http>,
    public: Vec<Bound>,
    /// The listeners for the pushes of one namespace each, with their endpoints.
    push: Vec<(Bound, Arc<dyn Endpoint>)>,
    publish_socket: Option<BoundSocket>,
    handover: Option<BoundHandover>,
    admin: Option<Bound>,
    shards: Shards,
    threads: Vec<JoinHandle<()>>,
    drain_timeout: Duration,
    /// Whether programs on this machine may publish without a key, through listeners that do not say it themselves.
    publish_locally: bool,
    reloader: Reloader,
    /// Closed when everything else has ended.
    store: Option<OpenStore>,
}

/// Why a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It stops.
    Stop,
    /// Another server has its listening sockets, and starts as soon as this one has ended.
    Replaced,
}

// === impl Server ===

impl Server {
    /// Starts a server. It accepts nothing before [`Server::run`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        protocols::validate(&config, "configuration").map_err(StartError::Names)?;
        Self::start_inheriting(config, Inherited::default()).await
    }

    /// Starts a server that listens on these sockets, which another program has opened, and on others for the addresses that
    /// they do not have.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_inheriting(config: Config, inherited: Inherited) -> Result<Self, StartError> {
        protocols::validate(&config, "configuration").map_err(StartError::Names)?;
        let registered = |mount: &Mount<'_>| REGISTRY.iter().filter_map(|one| (one.mount)(mount)).collect();
        Self::start_on(config, inherited, registered).await
    }

    /// Starts a server with these endpoints instead of those of the registry.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_with(
        config: Config,
        endpoints: impl FnOnce(&Mount<'_>) -> Vec<Arc<dyn Endpoint>>,
    ) -> Result<Self, StartError> {
        Self::start_on(config, Inherited::default(), endpoints).await
    }

    async fn start_on(
        mut config: Config,
        mut inherited: Inherited,
        endpoints: impl FnOnce(&Mount<'_>) -> Vec<Arc<dyn Endpoint>>,
    ) -> Result<Self, StartError> {
        let used = Arc::new(Mutex::new(Used::new(&config)));
        let mut bind = |listen: &Listen| Bound::bind_or_take(listen, &mut inherited);
        let public = config.listen.iter().map(&mut bind).collect::<Result<Vec<_>, _>>()?;
        let push = push_listeners(&config, &mut bind)?;
        let admin = config.admin.as_ref().map(|admin| bind(&admin.listen)).transpose()?;
        let mut bind = |path: &Path| BoundSocket::bind_or_take(path, &mut inherited);
        let publish_socket = config.publish_socket.as_deref().map(&mut bind).transpose()?;
        let mut bind = |path: &Path| BoundHandover::bind_or_take(path, &mut inherited);
        let handover = config.handover_socket.as_deref().map(&mut bind).transpose()?;
        inherited.finish()?;
        if config.autodetect_engine {
            redis::autodetect::choose_engine(&mut config).await;
        }
        let metrics = Arc::new(Metrics::default());
        let mut store = open_store(&config, &metrics)?;
        let mut limits = config.limits.clone();
        let open_files = rlimit::getrlimit(rlimit::Resource::NOFILE).ok().map(|(soft, _)| soft);
        limits.max_connections = possible_connections(limits.max_connections, open_files);
        let namespaces = Arc::new(namespaces(&config));
        let mounted = endpoints(&Mount { config: &config, namespaces: &namespaces });
        let endpoints = connectors(&config).into_iter().chain(mounted).collect();
        let count = config.shards.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from).min(64));
        let engines = Arc::new(Engines::default());
        let addresses = Arc::new(AddressLimits::new(address_settings(&limits)));
        let poll_responses = Arc::new(ByteBudget::new(limits.send_buffers_total));
        let deflate = config.deflate.map(|min_size| Deflate::new(min_size, Arc::clone(&metrics)));
        let (shards, threads) = shard::start(
            count,
            &shard_settings(&limits, &addresses, &poll_responses, deflate.as_ref()),
            &namespaces,
            &engines,
            &metrics,
        )?;
        set_providers(&config, &namespaces, &shards, &metrics)?;
        let mut started = Vec::with_capacity(config.namespaces.len());
        for (id, one) in config.namespaces.iter_mut().enumerate() {
            if let Some(presence) = &mut one.presence {
                presence.max_members_per_room = limits.max_present_per_room;
                presence.max_members = limits.max_present;
                presence.max_info = limits.max_presence_info;
            }
            let fanout = Fanout::new(shards.clone(), Arc::clone(&namespaces), id as u16, Arc::clone(&metrics));
            let restored = store.as_mut().and_then(|(open, restored)| Some((restored.pop_front()??, open.store())));
            started.push(start_engine(one, fanout, &limits, restored)?);
        }
        start_hooks(&config, &namespaces, &started, &metrics)?;
        start_spans(&config, &namespaces, &metrics)?;
        engines.set(started);
        sources::start(&config, &engines, &metrics, |id| {
            Fanout::new(shards.clone(), Arc::clone(&namespaces), id, Arc::clone(&metrics))
        })
        .map_err(|(namespace, error)| StartError::Redis(namespace, error))?;
        let is_open = config.namespaces.iter().all(NamespaceConfig::is_open);
        let console = match config.console {
            Some(true) => ConsoleAccess::Everyone,
            Some(false) => ConsoleAccess::Off,
            None if is_open => ConsoleAccess::Everyone,
            None if config.selected.is_development() => ConsoleAccess::ThisMachine,
            None => ConsoleAccess::Off,
        };
        let settings = http::Settings {
            console,
            origins: config.origins,
            publish_origins: config.publish_origins,
            hosts: config.hosts,
            trusted_proxies: config.trusted_proxies,
            deflate: config.deflate.is_some(),
            audit: config.audit,
            admin_key: config.admin.as_ref().and_then(|admin| admin.key.clone()),
            addresses: Arc::clone(&addresses),
            max_http_connections: limits.max_http_connections,
            open_files,
            max_message_size: limits.max_message_size,
            max_publish_size: limits.max_publish_size,
            max_notified_users: limits.max_notified_users,
            request_timeout: limits.request_timeout,
            keep_alive_timeout: limits.keep_alive_timeout,
            write_timeout: limits.write_timeout,
        };
        let http = Arc::new(Http::new(
            settings,
            shards.clone(),
            namespaces,
            engines,
            metrics,
            endpoints,
            Arc::clone(&poll_responses),
        ));
        let store = store.map(|(open, _)| open);
        if let Some(store) = &store {
            store.allow_checkpoints();
        }
        let (drain_timeout, publish_locally) = (config.drain_timeout, config.publish_locally);
        let certificates = public.iter().chain(push.iter().map(|(bound, _)| bound)).filter_map(Bound::certificate);
        let reloader = Reloader {
            http: Arc::clone(&http),
            addresses,
            poll_responses,
            deflate,
            certificates: certificates.cloned().collect(),
            signal: watch::Sender::new(()),
            used,
        };
        Ok(Self {
            http,
            public,
            push,
            publish_socket,
            handover,
            admin,
            shards,
            threads,
            drain_timeout,
            publish_locally,
            reloader,
            store,
        })
    }

    /// Makes this server use another configuration, also while it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// The URLs of the public listeners.
    pub fn urls(&self) -> Vec<String> {
        self.public.iter().map(Bound::url).collect()
    }

    /// The URLs of the listeners for pushes.
    pub fn push_urls(&self) -> Vec<String> {
        self.push.iter().map(|(bound, _)| bound.url()).collect()
    }

    /// The URL of the admin listener, if there is one.
    pub fn admin_url(&self) -> Option<String> {
        self.admin.as_ref().map(Bound::url)
    }

    /// The counters.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.http.metrics)
    }

    /// All listening sockets, for a server that replaces this one. They stay open as long as the result exists.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn share_sockets(&self) -> io::Result<Vec<ListeningSocket>> {
        let push = self.push.iter().map(|(bound, _)| bound);
        let bound = self.public.iter().chain(push).chain(&self.admin).map(Bound::share);
        let publish_socket = self.publish_socket.iter().map(BoundSocket::share);
        bound.chain(publish_socket).chain(self.handover.iter().map(BoundHandover::share)).collect()
    }

    /// Serves until `shutdown` completes, then closes all connections.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let stop = async {
            shutdown.await;
            Shutdown::Stop
        };
        self.run_until(stop).await;
    }

    /// Serves until `shutdown` completes, then closes all connections and the store.
    pub async fn run_until(self, shutdown: impl Future<Output = Shutdown>) -> Shutdown {
        let (stop_tx, stop_rx) = watch::channel(false);
        // Never sent: the admin listener serves until this is dropped, so that the shutdown can be watched.
        let (_admin_stop_tx, admin_stop_rx) = watch::channel(false);
        let mut accepting = Vec::new();
        for bound in self.public {
            tracing::info!(url = %bound.url(), "listening");
            let service =
                HttpService::public(&self.http, bound.publishes_locally().unwrap_or(self.publish_locally));
            accepting.push(tokio::spawn(bound.serve(service, self.reloader.signal.subscribe(), stop_rx.clone())));
        }
        for (bound, endpoint) in self.push {
            tracing::info!(url = %bound.url(), "listening for pushes");
            let service = HttpService::push(&self.http, endpoint);
            accepting.push(tokio::spawn(bound.serve(service, self.reloader.signal.subscribe(), stop_rx.clone())));
        }
        if let Some(bound) = self.publish_socket {
            tracing::info!(path = %bound.path().display(), "listening for publishers on this machine");
            accepting.push(tokio::spawn(bound.serve(HttpService::publish_socket(&self.http), stop_rx.clone())));
        }
        if let Some(bound) = self.handover {
            tracing::info!(path = %bound.path().display(), "listening for connections that the application hands over");
            // A client is not a program on this machine, whatever its address is.
            accepting.push(tokio::spawn(bound.serve(HttpService::public(&self.http, false), stop_rx.clone())));
        }
        if let Some(bound) = self.admin {
            tracing::info!(url = %bound.url(), "listening for administration");
            tokio::spawn(bound.serve(
                HttpService::admin(&self.http),
                self.reloader.signal.subscribe(),
                admin_stop_rx,
            ));
        }
        let shutdown = shutdown.await;
        let is_replaced = shutdown == Shutdown::Replaced;
        let drain_timeout =
            if is_replaced { self.drain_timeout.min(REPLACED_DRAIN_TIMEOUT) } else { self.drain_timeout };
        let connections = &self.http.metrics.connections;
        tracing::info!(connections = connections.load(Relaxed), ?drain_timeout, "stopping");
        // What was accepted before a replacement is still served, so that no request fails.
        self.http.draining.store(!is_replaced, SeqCst);
        let _ = stop_tx.send(true);
        for task in accepting {
            let _ = task.await;
        }
        if is_replaced {
            until(LAST_REQUESTS_TIMEOUT, || !self.http.awaits_requests()).await;
            self.http.draining.store(true, SeqCst);
        }
        self.shards.drain(drain_timeout.as_millis() as u64);
        until(drain_timeout + SHUTDOWN_GRACE, || connections.load(Relaxed) == 0).await;
        if is_replaced {
            until(LAST_REQUESTS_TIMEOUT, || !self.http.serves_requests()).await;
        }
        self.shards.stop();
        let threads = self.threads;
        let ended = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, ended).await;
        let recorders = || self.http.namespaces.iter().filter_map(|one| one.recorder.as_ref());
        until(SHUTDOWN_GRACE, || recorders().all(|one| one.is_flushed())).await;
        let _ = tokio::task::spawn_blocking(move || drop(self.store)).await;
        tracing::info!("stopped");
        shutdown
    }
}

/// Waits until a condition holds, and no longer than the timeout.
async fn until(timeout: Duration, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(DRAIN_POLL_INTERVAL).await;
        }
    };
    let _ = tokio::time::timeout(timeout, holds).await;
}

fn namespaces(config: &Config) -> Namespaces {
    let limits = RoomLimits {
        max_rooms: config.limits.max_rooms_per_connection,
        max_name_bytes: config.limits.max_room_name,
    };
    let mut namespaces = Namespaces::default();
    for one in &config.namespaces {
        let tokens = one.token.clone().map(|settings| {
            let remote = one.key_set.as_ref().map(|_| Arc::<RemoteKeys>::default());
            Arc::new(TokenVerifier::new(&one.name, limits.max_name_bytes, settings).with_remote(remote))
        });
        let revocations = tokens.as_ref().map_or_else(Arc::default, |tokens| Arc::clone(tokens.revocations()));
        let dialect_joins = Arc::default();
        namespaces.add(Namespace {
            id: 0,
            name: one.name.as_str().into(),
            authorizers: authorizers(one, tokens.as_ref(), &revocations, &dialect_joins),
            tokens,
            provider: OnceLock::new(),
            observer: OnceLock::new(),
            caller: OnceLock::new(),
            revocations,
            recorder: one.hooks.as_ref().map(|hooks| Arc::new(Recorder::new(hooks.events.clone(), hooks.journal))),
            publish: PublishAuthorizer::new(one.publish_keys.clone()),
            is_secured: !one.is_open(),
            protocols: one.protocols.iter().map(|one| one.name.clone()).collect(),
            dialects: one.dialects.iter().map(|one| one.name.clone()).collect(),
            dialect_joins,
            visitors: visitors(one),
            web_service: one.web_service.clone(),
            refreshes: refresh_settings(one),
            connection_state: one.connection_state.clone(),
            allows_eio3: one.allows_eio3,
            ends_expired_memberships: one.ends_expired_memberships,
            limits,
        });
    }
    namespaces
}

/// Recognizes visitors whose pages are named after the handshake. With `pakyow`, the handshake names them.
fn visitors(config: &NamespaceConfig) -> Option<VisitorCookie> {
    let pages = config.pages.as_ref().filter(|_| !config.has_closed_protocol())?;
    Some(pages.visitors(&config.name))
}

/// How refreshes of Turbo are merged in a namespace. `None`: it has none, or they are not merged.
fn refresh_settings(config: &NamespaceConfig) -> Option<RefreshSettings> {
    let cable = config.serves_action_cable().then(|| config.action_cable.clone().unwrap_or_default())?;
    let interval = cable.refresh_interval.as_millis() as u64;
    (interval > 0).then_some(RefreshSettings { interval, window: cable.refresh_window.as_millis() as u64 })
}

/// The connections that the limit of open files allows. Addresses share these, so that one of them cannot use up the files.
fn possible_connections(max_connections: usize, open_files: Option<u64>) -> usize {
    let files =
        open_files.map_or(usize::MAX, |files| usize::try_from(http::unreserved(files)).unwrap_or(usize::MAX));
    max_connections.min(files)
}

/// Sets what says who a connection is, for the namespaces whose application does.
fn set_providers(
    config: &Config,
    namespaces: &Arc<Namespaces>,
    shards: &Shards,
    metrics: &Arc<Metrics>,
) -> Result<(), StartError> {
    for (id, one) in config.namespaces.iter().enumerate() {
        let client = |application| {
            ApplicationClient::new(application, Arc::clone(metrics))
                .map_err(|error| StartError::Application(one.name.clone(), error))
        };
        let remote = namespaces.get(id as u16).tokens.as_ref().and_then(|tokens| tokens.remote());
        if let (Some(key_set), Some(keys)) = (&one.key_set, remote) {
            let client = client(&key_set.application)?;
            let name = Arc::clone(&namespaces.get(id as u16).name);
            tokio::spawn(keep_key_set(name, key_set.clone(), client, Arc::clone(keys)));
        }
        if let Some(application) = one.turted.as_ref().and_then(|turted| turted.application.as_ref()) {
            let client = client(application)?;
            let namespace = namespaces.get(id as u16);
            tracing::info!(
                namespace = one.name,
                application = client.target(),
                "the application decides about users or channels"
            );
            let places = application.concurrency + application.queue;
            let authorizer = TurtedAuthorizer::new(client, &namespace.name, shards.clone(), places);
            namespace.dialect_joins.set_application(Arc::new(authorizer));
        }
        if let Some(calls) = &one.calls {
            let client = client(&calls.application)?;
            tracing::info!(namespace = one.name, application = client.target(), "clients may call the application");
            let forwarder = Forwarder::new(&namespaces.get(id as u16).name, calls.clone(), client, shards.clone());
            let _ = namespaces.get(id as u16).caller.set(Arc::new(forwarder));
        }
        let Some(auth) = &one.auth else { continue };
        let authorizing = client(&auth.application)?;
        tracing::info!(
            namespace = one.name,
            application = authorizing.target(),
            "the application says who a connection is"
        );
        let provider = RequestAuthorizer::new(auth, authorizing, namespaces, id as u16, shards.clone());
        let namespace = namespaces.get(id as u16);
        let _ = namespace.provider.set(Arc::new(provider));
        if let Some(settings) = &namespace.web_service
            && let Some(url) = &settings.update_user_url
        {
            let application = Application { url: url.clone(), ..auth.application.clone() };
            let (notifying, concurrency) = (client(&application)?, application.concurrency);
            tracing::info!(
                namespace = one.name,
                application = notifying.target(),
                "the application is notified of users who connect and disconnect"
            );
            let updates = UserUpdates::new(url, notifying, settings, &namespace.name, concurrency, metrics);
            let _ = namespace.observer.set(Arc::new(updates));
        }
    }
    Ok(())
}

/// Starts to notify the application, for the namespaces that have hooks.
fn start_hooks(
    config: &Config,
    namespaces: &Arc<Namespaces>,
    engines: &[Engine],
    metrics: &Arc<Metrics>,
) -> Result<(), StartError> {
    for (id, (one, engine)) in config.namespaces.iter().zip(engines).enumerate() {
        let namespace = namespaces.get(id as u16);
        let (Some(hooks), Some(recorder), Some(journal)) = (&one.hooks, &namespace.recorder, &engine.journal)
        else {
            continue;
        };
        let client = ApplicationClient::new(&hooks.application, Arc::clone(metrics))
            .map_err(|error| StartError::Application(one.name.clone(), error))?;
        tracing::info!(
            namespace = one.name,
            application = client.target(),
            "the application is notified of events"
        );
        let (name, recorder) = (Arc::clone(&namespace.name), Arc::clone(recorder));
        tokio::spawn(keep_journal(
            Arc::clone(&name),
            Arc::clone(&recorder),
            Arc::clone(journal),
            Arc::clone(metrics),
        ));
        let sender = HookSender {
            namespace: name,
            hooks: hooks.clone(),
            client,
            journal: Arc::clone(journal),
            recorder,
            metrics: Arc::clone(metrics),
        };
        tokio::spawn(sender.run());
    }
    Ok(())
}

/// Starts to export spans, if that is configured.
fn start_spans(config: &Config, namespaces: &Arc<Namespaces>, metrics: &Arc<Metrics>) -> Result<(), StartError> {
    let Some(traces) = &config.traces else { return Ok(()) };
    let client = ApplicationClient::new(&traces.application, Arc::clone(metrics)).map_err(StartError::Traces)?;
    let Some(queue) = metrics.spans.start(traces.queue) else { return Ok(()) };
    tracing::info!(receiver = client.target(), "spans of sampled publications are exported");
    let (authorization, namespaces) = (traces.authorization.clone(), Arc::clone(namespaces));
    let exporter = SpanExporter { client, authorization, namespaces, metrics: Arc::clone(metrics), queue };
    tokio::spawn(exporter.run());
    Ok(())
}

/// Who may join the rooms of a namespace. With identities and without a secret, only identities and tokens open rooms.
fn authorizers(
    config: &NamespaceConfig,
    tokens: Option<&Arc<TokenVerifier>>,
    revocations: &Arc<RevocationList>,
    dialect_joins: &Arc<DialectJoins>,
) -> Authorizers {
    let keys = || {
        Authorizers::new(
            &config.name,
            config.secrets.clone(),
            config.max_key_lifetime,
            config.bound_keys == BoundKeys::Require,
        )
    };
    let chain = if config.decides_by_dialect() {
        Authorizers::from(vec![Box::new(DialectRooms(Arc::clone(dialect_joins))) as Box<dyn Authorizer>])
    } else if config.is_open_to_users() {
        // Every room is open, but only to who has a token, or a key for the room that the application has signed.
        Authorizers::from(Vec::new()).with_identities(revocations, tokens).with_rooms_of_users()
    } else if config.is_open() {
        keys()
    } else if !config.secrets.is_empty() {
        keys().with_identities(revocations, tokens)
    } else {
        let of_users: Vec<Box<dyn Authorizer>> = match config.is_declared_open && config.auth.is_some() {
            // Every room is open, but only to connections that the application knows.
            true => vec![Box::new(RoomsOfUsers)],
            false => Vec::new(),
        };
        Authorizers::from(of_users).with_identities(revocations, tokens)
    };
    let by_protocol = config.serves_action_cable() || config.pages.is_some();
    let chain = match by_protocol && !config.decides_by_dialect() {
        true => chain.with_dialect_rooms(dialect_joins),
        false => chain,
    };
    chain.with_revocations(revocations)
}

/// A listener that serves one endpoint alone.
type BoundEndpoint = (Bound, Arc<dyn Endpoint>);

/// The listeners for pushes alone, with their endpoints.
fn push_listeners(
    config: &Config,
    bind: &mut impl FnMut(&Listen) -> Result<Bound, ListenError>,
) -> Result<Vec<BoundEndpoint>, StartError> {
    let mut all = Vec::new();
    for (id, push) in pushes(config) {
        if let Some(listen) = &push.listen {
            let endpoint: Arc<dyn Endpoint> = Arc::new(TurtedPush::new(id, push));
            all.push((bind(listen)?, endpoint));
        }
    }
    Ok(all)
}

/// The endpoints of old publishers on the public listeners.
fn connectors(config: &Config) -> Vec<Arc<dyn Endpoint>> {
    let pushes = pushes(config).filter(|(_, push)| push.listen.is_none());
    let mut all: Vec<Arc<dyn Endpoint>> =
        pushes.map(|(id, push)| Arc::new(TurtedPush::new(id, push)) as Arc<dyn Endpoint>).collect();
    for (id, namespace) in config.namespaces.iter().enumerate() {
        if let Some(notifications) = namespace.notifications.as_ref().filter(|one| one.sources.has_http) {
            all.push(Arc::new(NotificationsSource::new(id as u16, notifications)));
        }
    }
    all
}

/// How backends push, by the id of the namespace.
fn pushes(config: &Config) -> impl Iterator<Item = (u16, &turted::Push)> {
    config
        .namespaces
        .iter()
        .enumerate()
        .filter_map(|(id, one)| Some((id as u16, one.turted.as_ref()?.push.as_ref()?)))
}

fn address_settings(limits: &Limits) -> address_limits::Settings {
    address_limits::Settings {
        max_connections: limits.max_connections,
        max_connections_per_address: limits.max_connections_per_address,
        handshakes_per_second: limits.handshakes_per_second_per_address,
        room_requests_per_second: limits.room_requests_per_second_per_address,
        wrong_keys_per_second: limits.wrong_keys_per_second_per_address,
    }
}

fn shard_settings(
    limits: &Limits,
    addresses: &Arc<AddressLimits>,
    poll_responses: &Arc<ByteBudget>,
    deflate: Option<&Arc<Deflate>>,
) -> shard::Settings {
    shard::Settings {
        write_timeout: limits.write_timeout.as_millis() as u64,
        max_message_size: limits.max_message_size,
        send_buffer: limits.send_buffer,
        send_buffers_total: limits.send_buffers_total,
        poll_responses: Arc::clone(poll_responses),
        messages_per_second: limits.packets_per_second,
        joins_per_second: limits.joins_per_second,
        max_rooms_per_connection: u32::try_from(limits.max_rooms_per_connection).unwrap_or(u32::MAX),
        max_memberships: limits.max_memberships,
        bytes_per_second: limits.bytes_per_second,
        max_roomless_per_address: limits.max_roomless_per_address,
        max_roomless: limits.max_connections.div_ceil(2),
        deflate: deflate.cloned(),
        addresses: Arc::clone(addresses),
    }
}

/// What the mailboxes of a namespace store. `None`: it has none.
pub fn mailbox_settings(config: &NamespaceConfig, limits: &Limits) -> Option<MailboxSettings> {
    config.mailbox.as_ref().map(|mailbox| MailboxSettings {
        count: mailbox.count,
        bytes: mailbox.bytes,
        age: mailbox.age,
        keep_unknown: mailbox.keep_unknown,
        max_message: limits.max_mailbox_message.min(mailbox.bytes),
        max_mailboxes: limits.max_mailboxes,
        max_memory: limits.max_mailbox_memory,
    })
}

/// What each namespace keeps in the store. One with Redis keeps nothing.
pub fn stored_namespaces(config: &Config) -> Vec<StoredNamespace> {
    let of = |one: &NamespaceConfig| StoredNamespace {
        name: one.name.clone(),
        history: one.history.clone(),
        mailboxes: mailbox_settings(one, &config.limits),
        journal: one.hooks.as_ref().map(|hooks| hooks.journal),
        serves_cable: one.serves_action_cable(),
        has_pages: one.pages.is_some(),
    };
    config.namespaces.iter().filter(|one| one.redis.is_none()).map(of).collect()
}

/// The store, and what each namespace of the configuration had, if it has no Redis.
type ReadStore = (OpenStore, VecDeque<Option<Restored>>);

/// Opens and reads the store, if there is one.
fn open_store(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<ReadStore>, StoreError> {
    let Some(settings) = &config.store else { return Ok(None) };
    let began = Instant::now();
    let loading = Loading::open(settings)?;
    let RestoredStore { open, namespaces } =
        memory::restore(loading, &stored_namespaces(config), Arc::clone(metrics))?;
    let mut restored = namespaces.into_iter();
    let of = |one: &NamespaceConfig| if one.redis.is_none() { restored.next() } else { None };
    let namespaces = config.namespaces.iter().map(of).collect();
    let took = began.elapsed();
    tracing::info!(folder = %settings.folder.display(), ?took, "the store was read");
    Ok(Some((open, namespaces)))
}

fn start_engine(
    config: &NamespaceConfig,
    fanout: Fanout,
    limits: &Limits,
    restored: Option<(Restored, &Store)>,
) -> Result<Engine, StartError> {
    let max_publication_bytes = limits.max_publish_size + POSITION_BYTES;
    let mailboxes = mailbox_settings(config, limits);
    let pages = config.pages.as_ref().map(|pages| pages.settings);
    let engine = match &config.redis {
        None => Memory::start(fanout, config.history.clone(), mailboxes, config.presence.clone(), pages, restored),
        Some(redis) => Redis::start(redis, config, fanout, max_publication_bytes, mailboxes)
            .map_err(|error| StartError::Redis(config.name.clone(), error))?,
    };
    let redis = config.redis.as_ref().map(ToString::to_string);
    let (secured, history) = (!config.is_open(), config.history.is_on());
    tracing::info!(namespace = config.name, engine = engine.kind, redis, secured, history, "namespace");
    Ok(engine)
}
