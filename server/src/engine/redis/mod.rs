//! The engine in Redis: any number of servers, nothing kept in one of them.
//!
//! Publishing and hearing use a connection each ([`link`]). Both come back by themselves, with growing pauses; while
//! Redis is away, publishing fails within [`PATIENCE`] and browsers stay connected. A script ([`script`]) gives an
//! emission its offset, keeps it and publishes it in one step. A task per namespace ([`follower`]) passes on what is
//! heard, in order and without a gap, for the rooms that have members here ([`live`]). Whether emissions get through
//! is told by a probe: a message that this engine sends itself through Redis.

mod follower;
mod link;
mod live;
mod script;
mod turns;
mod visit;

pub use visit::{Visit, visit};

use super::{EngineError, Outlet, Read};
use crate::config::history::History;
use crate::config::namespace::Namespace as Settings;
use crate::config::redis::{Kind, Redis as Place};
use crate::metrics::Metrics;
use crate::shard::keeper::{Ask, Asked, Since};
use follower::{Follower, Sources};
use fred::clients::Client;
use fred::interfaces::{EventInterface, PubsubInterface};
use link::{Probe, Pulse, Upkeep};
use nodevent_protocol::emission::Emission;
use nodevent_protocol::history::{Keys, Position, Publish};
use script::Scripts;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use turns::Turns;

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
    questions: mpsc::UnboundedSender<Question>,
    outlet: Outlet,
    pulse: Pulse,
}

/// What a shard has to say to the follower.
#[derive(Debug)]
enum Question {
    /// A new member.
    Ask(Box<Ask>),
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
    /// Connects, now or as soon as Redis answers, and pushes what arrives into `outlet`. Emissions larger than
    /// `most` bytes are skipped.
    ///
    /// # Errors
    /// The settings contradict each other; the text says how.
    pub fn start(
        place: &Place,
        settings: &Settings,
        outlet: Outlet,
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
        let (pulse, scripts) = (Pulse::new(), Arc::new(Scripts::new()));
        let probe = format!("{CHANNEL_PREFIX}probe:{:032x}", rand::random::<u128>());
        let upkeep = Upkeep {
            subscriber: subscriber.clone(),
            channels: vec![outlet.name().to_owned(), probe.clone()],
            place: place.to_string(),
            metrics: Arc::clone(&metrics),
            pulse: pulse.clone(),
            anew: Arc::clone(&anew),
            standing,
        };
        let follower = Follower {
            publisher: publisher.clone(),
            subscriber: subscriber.clone(),
            scripts: Arc::clone(&scripts),
            outlet: outlet.clone(),
            history: settings.history.clone(),
            by_room: settings.fanout_by_room,
            sharded: settings.fanout_by_room && place.kind == Kind::Cluster,
            slotless: Arc::default(),
            most,
            probe: probe.clone(),
            pulse: pulse.clone(),
            live: HashMap::new(),
            leaving: HashSet::new(),
            to_read: Turns::default(),
            to_check: Turns::default(),
            reads: 0,
            results,
        };
        let sources =
            Sources { messages: subscriber.message_rx(), questions: asked, results: read, standing: stands };
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
            namespace: outlet.name().to_owned(),
            history: settings.history.clone(),
            by_room: settings.fanout_by_room,
            sharded: settings.fanout_by_room && place.kind == Kind::Cluster,
            questions,
            outlet,
            pulse,
        })
    }

    /// Publishes an emission. See [`super::Engine::publish`].
    ///
    /// # Errors
    /// [`EngineError::Away`].
    pub async fn publish(
        &self,
        emission: &Emission<'_>,
        once: Option<&str>,
    ) -> Result<Option<Position>, EngineError> {
        let keys = Keys::of(&self.namespace, &emission.room);
        let channel = if self.by_room { keys.channel() } else { self.namespace.clone() };
        let Some(kept) = self.history.of(&emission.room) else {
            let publish = async {
                link::standing(&self.publisher).await;
                self.publisher.publish::<i64, _, _>(channel, emission.text).await
            };
            return match tokio::time::timeout(PATIENCE, publish).await {
                Ok(Ok(_receivers)) => Ok(None),
                Ok(Err(error)) => Err(EngineError::Away(error.details().to_owned())),
                Err(_) => Err(EngineError::Away(format!("no answer within {} s", PATIENCE.as_secs()))),
            };
        };
        let publish = Publish {
            channel: &channel,
            text: emission.text,
            kept,
            fresh_epoch: rand::random(),
            once_age: kept.age,
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
            Since::Nothing | Since::Unreadable => None,
        };
        let keys = Keys::of(&self.namespace, room);
        let found = self.scripts.read(&self.publisher, &keys, after, None, kept).await?;
        let frames: Vec<_> = found.texts.iter().map(|text| self.outlet.frame(text)).collect();
        Ok(Some(Read::judge(found.position, found.skip, since, frames.into_iter())))
    }

    /// What a new member has missed; the answer comes through its shard's inbox.
    pub(super) fn ask(&self, ask: Ask) -> Asked {
        let follows = self.history.of(&ask.room).is_some() || self.by_room;
        if !follows {
            return Asked::NotKept;
        }
        match self.questions.send(Question::Ask(Box::new(ask))) {
            Ok(()) => Asked::Later,
            // The follower has ended, and the process is about to.
            Err(_) => Asked::Busy,
        }
    }

    /// A room has no members on that shard any more.
    pub(super) fn rest(&self, shard: u8, room: &str) {
        if self.history.of(room).is_some() || self.by_room {
            let _ = self.questions.send(Question::Rest { shard, room: room.into() });
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
