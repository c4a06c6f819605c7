//! The engine in Redis: any number of servers, nothing kept in one of them.
//!
//! Publishing and hearing use a connection each ([`link`]). Both come back by themselves, with growing pauses; while
//! Redis is away, publishing fails within [`PATIENCE`] and browsers stay connected. A script ([`script`]) gives an
//! publication its offset, keeps it and publishes it in one step. A task per namespace ([`subscriber`]) passes on what is
//! heard, in order and without a gap, for the rooms that have members here ([`room_state`]). Whether publications get through
//! is told by a probe: a message that this engine sends itself through Redis.

mod diagnose;
mod link;
mod room_state;
mod script;
mod subscriber;
mod unique_queue;

pub use diagnose::{RedisDiagnosis, visit};

use super::{EngineError, Fanout, Read};
use crate::config::history::History;
use crate::config::namespace::Namespace as Settings;
use crate::config::redis::{Kind, Redis as Place};
use crate::metrics::Metrics;
use crate::shard::keeper::{RecoveryOutcome, RecoveryRequest, Since};
use fred::clients::Client;
use fred::interfaces::{EventInterface, PubsubInterface};
use link::{LinkHealth, Probe, Resubscriber};
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
const PATIENCE: Duration = Duration::from_secs(5);
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
    by_room: bool,
    /// Whether that channel lives in its slot of a cluster only.
    sharded: bool,
    questions: mpsc::UnboundedSender<Command>,
    fanout: Fanout,
    pulse: LinkHealth,
}

/// What a shard has to say to the follower.
#[derive(Debug)]
enum Command {
    /// A new member.
    RecoveryRequest(Box<RecoveryRequest>),
    /// A room has no members on that shard any more.
    Rest {
        /// The shard.
        shard: u8,
        /// The room.
        room: Box<str>,
    },
}

// === impl Redis ===

impl Redis {
    /// Connects, now or as soon as Redis answers, and pushes what arrives into `fanout`. Publications larger than
    /// `most` bytes are skipped.
    ///
    /// # Errors
    /// The settings contradict each other; the text says how.
    pub fn start(
        place: &Place,
        settings: &Settings,
        fanout: Fanout,
        metrics: Arc<Metrics>,
        most: usize,
    ) -> Result<Self, String> {
        let publisher = link::builder(place)?.build().map_err(|error| error.to_string())?;
        let subscriber = link::builder(place)?.build_subscriber_client().map_err(|error| error.to_string())?;
        // Bounded by what the shards let be asked at a time.
        let (questions, asked) = mpsc::unbounded_channel();
        let (results, read) = mpsc::channel(BACKLOG);
        let (standing, stands) = watch::channel(0);
        let anew = Arc::new(Notify::new());
        let (pulse, scripts) = (LinkHealth::new(), Arc::new(Scripts::new()));
        let probe = format!("{CHANNEL_PREFIX}probe:{:032x}", rand::random::<u128>());
        let upkeep = Resubscriber {
            subscriber: subscriber.clone(),
            channels: vec![fanout.name().to_owned(), probe.clone()],
            place: place.to_string(),
            metrics: Arc::clone(&metrics),
            pulse: pulse.clone(),
            anew: Arc::clone(&anew),
            standing,
        };
        let follower = NamespaceSubscriber {
            publisher: publisher.clone(),
            subscriber: subscriber.clone(),
            scripts: Arc::clone(&scripts),
            fanout: fanout.clone(),
            history: settings.history.clone(),
            by_room: settings.channel_per_room,
            sharded: settings.channel_per_room && place.kind == Kind::Cluster,
            slotless: Arc::default(),
            most,
            probe: probe.clone(),
            pulse: pulse.clone(),
            live: HashMap::new(),
            leaving: HashSet::new(),
            to_read: UniqueQueue::default(),
            to_check: UniqueQueue::default(),
            reads: 0,
            results,
        };
        let sources =
            Inputs { messages: subscriber.message_rx(), questions: asked, results: read, standing: stands };
        tokio::spawn(upkeep.run());
        tokio::spawn(follower.run(sources));
        let probe = Probe {
            publisher: publisher.clone(),
            subscriber: subscriber.clone(),
            channel: probe,
            place: place.to_string(),
            keeps: settings.history.is_on(),
            clustered: place.kind == Kind::Cluster,
            pulse: pulse.clone(),
            anew,
            metrics,
        };
        tokio::spawn(probe.run());
        tokio::spawn(link::keep_up(publisher.clone(), place.to_string()));
        tokio::spawn(link::keep_up(subscriber, place.to_string()));
        Ok(Self {
            publisher,
            scripts,
            namespace: fanout.name().to_owned(),
            history: settings.history.clone(),
            by_room: settings.channel_per_room,
            sharded: settings.channel_per_room && place.kind == Kind::Cluster,
            questions,
            fanout,
            pulse,
        })
    }

    /// Publishes a publication. See [`super::Engine::publish`].
    ///
    /// # Errors
    /// [`EngineError::Away`].
    pub async fn publish(
        &self,
        publication: &PublicationRef<'_>,
        once: Option<&str>,
    ) -> Result<Option<Position>, EngineError> {
        let keys = Keys::of(&self.namespace, &publication.room);
        let channel = if self.by_room { keys.channel() } else { self.namespace.clone() };
        let Some(kept) = self.history.of(&publication.room) else {
            let publish = async {
                link::standing(&self.publisher).await;
                self.publisher.publish::<i64, _, _>(channel, publication.text).await
            };
            return match tokio::time::timeout(PATIENCE, publish).await {
                Ok(Ok(_receivers)) => Ok(None),
                Ok(Err(error)) => Err(EngineError::Away(error.details().to_owned())),
                Err(_) => Err(EngineError::Away(format!("no answer within {} s", PATIENCE.as_secs()))),
            };
        };
        let publish = Publish {
            channel: &channel,
            text: publication.text,
            kept,
            fresh_epoch: rand::random(),
            idempotency_ttl: kept.age,
            sharded: self.sharded,
        };
        self.scripts.publish(&self.publisher, &keys, &publish, once).await
    }

    /// Reads what came after a position. `None`: the room has no history.
    ///
    /// # Errors
    /// [`EngineError::Away`].
    pub async fn read(&self, room: &str, since: Since) -> Result<Option<Read>, EngineError> {
        let Some(kept) = self.history.of(room) else { return Ok(None) };
        let after = match since {
            Since::Position(position) => Some(position.offset),
            Since::Beginning => Some(0),
            Since::FirstJoin | Since::Invalid => None,
        };
        let keys = Keys::of(&self.namespace, room);
        let found = self.scripts.read(&self.publisher, &keys, after, None, kept).await?;
        let frames: Vec<_> = found.texts.iter().map(|text| self.fanout.frame(text)).collect();
        Ok(Some(Read::judge(found.position, found.jump, since, frames.into_iter())))
    }

    /// What a new member has missed; the answer comes through its shard's inbox.
    pub(super) fn ask(&self, ask: RecoveryRequest) -> RecoveryOutcome {
        let follows = self.history.of(&ask.room).is_some() || self.by_room;
        if !follows {
            return RecoveryOutcome::NoHistory;
        }
        match self.questions.send(Command::RecoveryRequest(Box::new(ask))) {
            Ok(()) => RecoveryOutcome::Pending,
            // The follower has ended, and the process is about to.
            Err(_) => RecoveryOutcome::Overloaded,
        }
    }

    /// A room has no members on that shard any more.
    pub(super) fn rest(&self, shard: u8, room: &str) {
        if self.history.of(room).is_some() || self.by_room {
            let _ = self.questions.send(Command::Rest { shard, room: room.into() });
        }
    }

    /// Whether the room has a history.
    pub(super) fn keeps(&self, room: &str) -> bool {
        self.history.of(room).is_some()
    }

    /// Whether a probe came back lately.
    pub fn is_ready(&self) -> bool {
        self.pulse.is_fresh()
    }
}
