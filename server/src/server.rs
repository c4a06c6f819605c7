//! The start-up, told as a story, and the way down.
//!
//! [`Server::start`] binds the listeners first, so that a busy port is told before anything else happens; then the
//! shards stand, then the engines push into them, then the edge lets browsers in. [`Server::run`] ends when its
//! shutdown future does: readiness fails, nothing is accepted any more, connections leave spread over the drain.

use crate::admission::Admission;
use crate::config::namespace::Namespace as NamespaceConfig;
use crate::config::redis::Redis as RedisConfig;
use crate::config::{Config, limits::Limits};
use crate::dialect::{Dialect, NodEvent};
use crate::edge::{self, Bound, Edge, ListenError};
use crate::engine::memory::Memory;
use crate::engine::redis::Redis;
use crate::engine::{Engine, Engines, Fanout};
use crate::metrics::Metrics;
use crate::namespace::{Namespaces, RoomLimits};
use crate::shard::keeper::RoomHistory;
use crate::shard::{self, Above, Shards};
use nodevent_protocol::engine_io::session::Timing;
use std::future::Future;
use std::io;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How long Redis on localhost is given to answer when no configuration names an engine.
const CHOICE: Duration = Duration::from_millis(500);
/// How often the way down looks whether everybody has left.
const LOOK: Duration = Duration::from_millis(20);
/// What a drain may take longer than asked, for farewells.
const GRACE: Duration = Duration::from_millis(500);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener cannot stand.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The operating system refuses a thread or an epoll instance.
    #[error("the operating system refuses a thread or a descriptor: {0}")]
    System(#[from] io::Error),
    /// The settings of a Redis contradict each other.
    #[error("the redis of {0} cannot be used: {1}")]
    Redis(String, String),
}

/// A server that listens.
pub struct Server {
    edge: Arc<Edge>,
    public: Vec<Bound>,
    admin: Option<Bound>,
    shards: Shards,
    threads: Vec<JoinHandle<()>>,
    drain: Duration,
}

// === impl Server ===

impl Server {
    /// Starts a server. It accepts nothing before [`Server::run`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Above::SocketIo, |_| Arc::new(NodEvent)).await
    }

    /// Starts a server whose namespaces speak what `dialect` answers for their names, above what `above` says.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_with(
        mut config: Config,
        above: Above,
        dialect: impl Fn(&str) -> Arc<dyn Dialect>,
    ) -> Result<Self, StartError> {
        let public = config.listen.iter().map(Bound::bind).collect::<Result<Vec<_>, _>>()?;
        let admin = config.admin.as_ref().map(Bound::bind).transpose()?;
        if config.choose_engine {
            choose_engine(&mut config).await;
        }
        let metrics = Arc::new(Metrics::default());
        let limits = config.limits.clone();
        let mut namespaces = Namespaces::default();
        for one in &config.namespaces {
            let admission = Admission::new(one.secrets.clone(), one.max_key_lifetime, one.publish_key.clone());
            let room_limits = RoomLimits { rooms: limits.max_rooms_per_connection, name: limits.max_room_name };
            namespaces.add(&one.name, admission, room_limits, dialect(&one.name));
        }
        let namespaces = Arc::new(namespaces);
        let count = config.shards.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from).min(64));
        let settings = shard_settings(&limits, above);
        let keeper = Arc::new(OnceLock::new());
        let (shards, threads) = shard::start(count, &settings, &namespaces, &keeper, &metrics)?;
        let mut engines = Vec::with_capacity(config.namespaces.len());
        for (number, one) in config.namespaces.iter().enumerate() {
            let fanout = Fanout::new(shards.clone(), Arc::clone(&namespaces), number as u16, Arc::clone(&metrics));
            engines.push(start_engine(one, fanout, &metrics, limits.max_publish_size)?);
        }
        let engines = Arc::new(Engines::new(engines));
        let _ = keeper.set(Arc::clone(&engines) as Arc<dyn RoomHistory>);
        let open = config.namespaces.iter().all(|one| one.secrets.is_empty());
        let edge_settings = edge::Settings {
            console: config.console.unwrap_or(open),
            origins: config.origins,
            max_connections: limits.max_connections,
            max_payload: limits.max_message_size,
            max_publish: limits.max_publish_size,
            request_timeout: limits.handshake_timeout,
            write_stall: limits.write_timeout,
            path: config.path,
        };
        let edge = Arc::new(Edge::new(edge_settings, shards.clone(), namespaces, engines, metrics));
        Ok(Self { edge, public, admin, shards, threads, drain: config.drain_timeout })
    }

    /// Where the server listens, as one would type it.
    pub fn urls(&self) -> Vec<String> {
        self.public.iter().map(Bound::url).collect()
    }

    /// Where the admin listener listens, if there is one.
    pub fn admin_url(&self) -> Option<String> {
        self.admin.as_ref().map(Bound::url)
    }

    /// What is counted.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.edge.metrics)
    }

    /// Serves until `shutdown` is done, then lets everybody leave.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopping) = watch::channel(false);
        // Never said: the admin listener serves until this is dropped, so that the way down can be watched.
        let (_to_the_end, ending) = watch::channel(false);
        let mut accepting = Vec::new();
        for bound in self.public {
            tracing::info!(url = %bound.url(), "listening");
            let site = self.edge.public();
            accepting.push(tokio::spawn(bound.serve(site, stopping.clone())));
        }
        if let Some(bound) = self.admin {
            tracing::info!(url = %bound.url(), "listening for administration");
            tokio::spawn(bound.serve(self.edge.admin(), ending));
        }
        shutdown.await;
        let connections = &self.edge.metrics.connections;
        tracing::info!(connections = connections.load(Relaxed), drain = ?self.drain, "stopping");
        self.edge.draining.store(true, SeqCst);
        let _ = stop.send(true);
        for task in accepting {
            let _ = task.await;
        }
        self.shards.drain(self.drain.as_millis() as u64);
        let all_left = async {
            while connections.load(Relaxed) > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(self.drain + GRACE, all_left).await;
        self.shards.stop();
        let threads = self.threads;
        let ended = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = tokio::time::timeout(GRACE, ended).await;
        tracing::info!("stopped");
    }
}

fn shard_settings(limits: &Limits, above: Above) -> shard::Settings {
    let millis = |duration: Duration| duration.as_millis() as u64;
    shard::Settings {
        timing: Timing {
            ping_interval: millis(limits.ping_interval),
            ping_timeout: millis(limits.ping_timeout),
            upgrade_timeout: millis(limits.handshake_timeout),
        },
        connect_timeout: millis(limits.connect_timeout),
        write_stall: millis(limits.write_timeout),
        max_payload: limits.max_message_size,
        outbox: limits.send_buffer,
        packets_per_second: limits.packets_per_second,
        joins_per_second: limits.joins_per_second,
        above,
    }
}

fn start_engine(
    config: &NamespaceConfig,
    fanout: Fanout,
    metrics: &Arc<Metrics>,
    most: usize,
) -> Result<Engine, StartError> {
    let secured = !config.secrets.is_empty();
    let engine = match &config.redis {
        None => Engine::Memory(Memory::new(fanout, config.history.clone())),
        Some(redis) => {
            let engine = Redis::start(redis, config, fanout, Arc::clone(metrics), most)
                .map_err(|error| StartError::Redis(config.name.clone(), error))?;
            Engine::Redis(engine)
        }
    };
    let place = config.redis.as_ref().map(ToString::to_string);
    let history = config.history.is_on();
    tracing::info!(namespace = config.name, engine = engine.name(), redis = place, secured, history, "namespace");
    Ok(engine)
}

/// Without a configuration: Redis on localhost if it answers, else memory.
async fn choose_engine(config: &mut Config) {
    let redis = RedisConfig::default();
    let answers = tokio::time::timeout(CHOICE, ping(&redis.hosts[0].0, redis.hosts[0].1)).await;
    if matches!(answers, Ok(Ok(true))) {
        tracing::info!(
            %redis,
            "engine: Redis answers on this machine; to pin it, write `/nodevent: {{redis: {{host: localhost}}}}`"
        );
        config.namespaces[0].redis = Some(redis);
    } else {
        tracing::info!(
            "engine: memory, since no Redis answers on localhost:6379; to pin it, write `/nodevent: {{}}`"
        );
    }
}

async fn ping(host: &str, port: u16) -> io::Result<bool> {
    let mut link = TcpStream::connect((host, port)).await?;
    link.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    link.read_exact(&mut answer).await?;
    Ok(&answer == b"+PONG\r\n")
}
