//! The engine in Redis: any number of servers, nothing kept in one of them.
//!
//! Publishing and hearing use a connection each ([`link`]). Both come back by themselves, with growing pauses; while
//! Redis is away, publishing fails within [`COMMAND_TIMEOUT`] and browsers stay connected. A script ([`script`]) gives an
//! publication its offset, keeps it and publishes it in one step. A task per namespace ([`subscriber`]) passes on what is
//! heard, in order and without a gap, for the rooms that have members here ([`room_state`]). Whether publications get through
//! is told by a probe: a message that this engine sends itself through Redis.

mod client_config;
mod diagnose;
mod link;
mod room_state;
mod script;
mod subscriber;
mod unique_queue;

pub use diagnose::{RedisDiagnosis, visit};

use super::Fanout;
use crate::capability::{Engine, Health, Pending, Publish as PublishTo, ReadHistory, Unavailable};
use crate::config::history::History;
use crate::config::namespace::Namespace as Settings;
use crate::config::redis::{Kind, Redis as Place};
use crate::history::{Recovery, RecoveryReply, RecoveryRequest, RoomHistory, Since};
use crate::metrics::Metrics;
use crate::outcome::Outcome;
use fred::clients::Client;
use fred::interfaces::{EventInterface, PubsubInterface};
use link::{HealthProbe, LinkHealth, Resubscriber};
use nodevent_protocol::history::{Keys, Position, Publish};
use nodevent_protocol::publication::PublicationRef;
use script::Scripts;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use subscriber::{Inputs, NamespaceSubscriber};
use tokio::sync::{Notify, mpsc, watch};
use unique_queue::UniqueQueue;

/// How long anything asked of Redis may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that may wait between the link and the follower. Beyond it the oldest are lost, noticed, and read again.
const BACKLOG: usize = 8192;
/// What the names of all our keys and channels begin with, but for the namespaces' own channels.
const CHANNEL_PREFIX: &str = "nodevent:";

/// The engine of one namespace.
#[derive(Debug)]
pub struct Redis {
    publisher: Client,
    scripts: Arc<Scripts>,
    namespace: String,
    history: History,
    /// Whether each room has a channel of its own.
    channel_per_room: bool,
    /// Whether that channel lives in its slot of a cluster only.
    sharded: bool,
    commands: mpsc::UnboundedSender<Command>,
    health: LinkHealth,
}

/// What a shard has to say to the follower.
#[derive(Debug)]
enum Command {
    /// A new member.
    Recover(Box<RecoveryRequest>),
    /// A room has no members on that shard any more.
    RoomEmpty {
        /// The shard.
        shard: u8,
        /// The room.
        room: Box<str>,
    },
}

// === impl Redis ===

impl Redis {
    /// Connects, now or as soon as Redis answers, and pushes what arrives into `fanout`. Publications larger than
    /// `max_publication_bytes` bytes are skipped.
    ///
    /// # Errors
    /// The settings contradict each other; the text says how.
    pub fn start(
        place: &Place,
        settings: &Settings,
        fanout: Fanout,
        metrics: Arc<Metrics>,
        max_publication_bytes: usize,
    ) -> Result<Engine, String> {
        let publisher = link::builder(place)?.build().map_err(|error| error.to_string())?;
        let subscriber = link::builder(place)?.build_subscriber_client().map_err(|error| error.to_string())?;
        // Bounded by what the shards let be asked at a time.
        let (commands_tx, commands_rx) = mpsc::unbounded_channel();
        let (results_tx, results_rx) = mpsc::channel(BACKLOG);
        let (subscriptions_tx, subscriptions_rx) = watch::channel(0);
        let resubscribe = Arc::new(Notify::new());
        let (health, scripts) = (LinkHealth::new(), Arc::new(Scripts::new()));
        let probe = format!("{CHANNEL_PREFIX}probe:{:032x}", rand::random::<u128>());
        let upkeep = Resubscriber {
            subscriber: subscriber.clone(),
            channels: vec![fanout.name().to_owned(), probe.clone()],
            place: place.to_string(),
            metrics: Arc::clone(&metrics),
            health: health.clone(),
            resubscribe: Arc::clone(&resubscribe),
            subscriptions: subscriptions_tx,
        };
        let follower = NamespaceSubscriber {
            publisher: publisher.clone(),
            subscriber: subscriber.clone(),
            scripts: Arc::clone(&scripts),
            fanout: fanout.clone(),
            history: settings.history.clone(),
            channel_per_room: settings.channel_per_room,
            sharded_pubsub: settings.channel_per_room && place.kind == Kind::Cluster,
            sharded_pubsub_unsupported: Arc::default(),
            max_publication_bytes,
            probe: probe.clone(),
            health: health.clone(),
            rooms: HashMap::new(),
            unsubscribing: HashSet::new(),
            read_queue: UniqueQueue::default(),
            check_queue: UniqueQueue::default(),
            reads_in_flight: 0,
            results: results_tx,
        };
        let sources = Inputs {
            messages: subscriber.message_rx(),
            commands: commands_rx,
            results: results_rx,
            subscriptions: subscriptions_rx,
        };
        tokio::spawn(upkeep.run());
        tokio::spawn(follower.run(sources));
        let probe = HealthProbe {
            publisher: publisher.clone(),
            subscriber: subscriber.clone(),
            channel: probe,
            place: place.to_string(),
            requires_writes: settings.history.is_on(),
            clustered: place.kind == Kind::Cluster,
            health: health.clone(),
            resubscribe,
            metrics,
        };
        tokio::spawn(probe.run());
        tokio::spawn(link::supervise_client(publisher.clone(), place.to_string()));
        tokio::spawn(link::supervise_client(subscriber, place.to_string()));
        let redis = Arc::new(Self {
            publisher,
            scripts,
            namespace: fanout.name().to_owned(),
            history: settings.history.clone(),
            channel_per_room: settings.channel_per_room,
            sharded: settings.channel_per_room && place.kind == Kind::Cluster,
            commands: commands_tx,
            health,
        });
        Ok(Engine {
            kind: "redis",
            publish: Arc::clone(&redis) as _,
            history: Arc::clone(&redis) as _,
            read_history: Arc::clone(&redis) as _,
            health: redis,
        })
    }

    async fn publish(
        &self,
        publication: &PublicationRef<'_>,
        idempotency_key: Option<&str>,
    ) -> Result<Option<Position>, Unavailable> {
        let keys = Keys::of(&self.namespace, &publication.room);
        let channel = if self.channel_per_room { keys.channel() } else { self.namespace.clone() };
        let Some(retention) = self.history.of(&publication.room) else {
            let publish = async {
                link::wait_connected(&self.publisher).await;
                self.publisher.publish::<i64, _, _>(channel, publication.text).await
            };
            return match tokio::time::timeout(COMMAND_TIMEOUT, publish).await {
                Ok(Ok(_receivers)) => Ok(None),
                Ok(Err(error)) => Err(script::unavailable(error.details().to_owned())),
                Err(_) => Err(script::timed_out()),
            };
        };
        let publish = Publish {
            channel: &channel,
            text: publication.text,
            retention,
            fresh_epoch: rand::random(),
            idempotency_ttl: retention.age,
            sharded: self.sharded,
        };
        self.scripts.publish(&self.publisher, &keys, &publish, idempotency_key).await
    }

    async fn read(&self, room: &str, since: Since) -> Result<Option<Recovery>, Unavailable> {
        let Some(retention) = self.history.of(room) else { return Ok(None) };
        let after = match since {
            Since::Position(position) => Some(position.offset),
            Since::Beginning => Some(0),
            Since::FirstJoin | Since::Invalid => None,
        };
        let keys = Keys::of(&self.namespace, room);
        let slice = self.scripts.read(&self.publisher, &keys, after, None, retention).await?;
        let publications = slice.publications(room);
        Ok(Some(Recovery::select(slice.position, slice.jump, since, publications.into_iter())))
    }

    /// Whether the subscriber keeps track of a room's members: for its history, or for its channel.
    fn tracks(&self, room: &str) -> bool {
        self.channel_per_room || self.history.of(room).is_some()
    }
}

impl PublishTo for Redis {
    fn publish<'a>(
        &'a self,
        publication: &'a PublicationRef<'a>,
        idempotency_key: Option<&'a str>,
    ) -> Pending<'a, Option<Position>> {
        Box::pin(self.publish(publication, idempotency_key))
    }
}

impl RoomHistory for Redis {
    fn recover(&self, request: RecoveryRequest) -> Outcome<Option<RecoveryReply>> {
        if !self.tracks(&request.room) {
            return Outcome::Ready(None);
        }
        match self.commands.send(Command::Recover(Box::new(request))) {
            Ok(()) => Outcome::Pending,
            // The subscriber has stopped, and the process is about to.
            Err(_) => Outcome::Overloaded,
        }
    }

    fn has_history(&self, room: &str) -> bool {
        self.history.of(room).is_some()
    }

    fn room_empty(&self, shard: u8, room: &str) {
        if self.tracks(room) {
            let _ = self.commands.send(Command::RoomEmpty { shard, room: room.into() });
        }
    }
}

impl ReadHistory for Redis {
    fn read<'a>(&'a self, room: &'a str, since: Since) -> Pending<'a, Option<Recovery>> {
        Box::pin(self.read(room, since))
    }
}

impl Health for Redis {
    fn is_ready(&self) -> bool {
        self.health.is_ready()
    }
}
