//! The Redis engine: any number of servers share the histories in Redis and hold nothing themselves but connections.
//!
//! Each namespace has three clients: one to publish and to recover, one to subscribe, and one for histories over HTTP,
//! which connects at the first read ([`client`], [`subscription`], [`history_reader`]). With mailboxes there is one
//! more, for their notices ([`mailboxes`]). They reconnect by themselves. While Redis is unavailable, publishing fails
//! within [`COMMAND_TIMEOUT`] and browsers stay connected. A script ([`script`]) assigns a publication its offset,
//! stores it and publishes it in one step. One task per namespace ([`subscriber`]) delivers what arrives, in order and
//! without a gap, to the rooms that have members here ([`room_state`]). A probe ([`health`]) shows whether publications
//! get through.
//!
//! It does not know connections or encodings. **Architecture Invariant:** only this folder knows Redis.

pub mod autodetect;
mod backlog;
mod cable;
pub mod channels;
mod client;
mod client_config;
mod clock_check;
mod connection_states;
mod diagnose;
mod health;
mod history_pages;
mod history_reader;
mod hooks;
mod long_reads;
mod mailbox_store;
mod mailbox_users;
mod mailboxes;
mod notify;
mod pages;
mod periodic_check;
mod presence;
mod presence_script;
mod read_task;
mod revocations;
mod room_state;
mod rooms;
mod script;
mod secrets_check;
mod subscriber;
mod subscription;
pub mod tap;
mod unique_queue;
mod user_connections;
mod verified_script;
mod waiting;

pub use clock_check::MAX_SKEW_SECS;
pub use diagnose::{RedisDiagnosis, diagnose};
pub use notify::{NotifyError, notify};

use super::Fanout;
use crate::capability::{
    Engine, Health, HistoryRead, Pending, Publish as PublishTo, Publisher, ReadHistory, Revoke, Unavailable,
};
use crate::client::Client as Requester;
use crate::config::history::History;
use crate::config::namespace::Namespace as NamespaceConfig;
use crate::config::redis::{Kind, Redis as RedisConfig};
use crate::history::{RecoveryReply, RecoveryRequest, RoomHistory, Since};
use crate::mailbox::MailboxSettings;
use crate::outcome::Outcome;
use crate::revocation::Revocation;
use cable::CableInRedis;
use connection_states::StatesInRedis;
use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{EventInterface, PubsubInterface};
use health::{HealthProbe, LinkHealth};
use history_reader::HistoryReader;
use hooks::JournalInRedis;
use mailboxes::MailboxesInRedis;
use nodevent_protocol::history::{Keys, Position, Publish, Scope};
use nodevent_protocol::publication::PublicationRef;
use nodevent_protocol::topic;
use pages::PagesInRedis;
use presence::RedisPresence;
use script::{ScriptError, Scripts};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use subscriber::{Inputs, NamespaceSubscriber};
use subscription::Resubscriber;
use tokio::sync::{Notify, mpsc, watch};
use user_connections::UserConnectionsInRedis;

/// Maximum time for a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that may wait between the client and the subscriber, in the client's queue and in the [`backlog`]. Beyond it the
/// oldest are dropped, and the affected rooms are read from history.
const BACKLOG: usize = 8192;

/// The minimum of what one reply may have: a publication that is too large is reported rather than the end of the
/// connection. Bytes.
const MIN_REPLY: usize = 64 << 20;
/// What a reply has in addition to a publication, for each. Bytes.
const REPLY_OVERHEAD: usize = 64;

/// The engine of one namespace.
#[derive(Debug)]
pub struct Redis {
    shared: Arc<Shared>,
    history_reader: Arc<HistoryReader>,
    mailboxes: Option<MailboxesInRedis>,
    commands: mpsc::UnboundedSender<Command>,
}

/// State that the tasks of one engine share.
#[derive(Debug)]
struct Shared {
    /// Publishes and reads.
    publisher: Client,
    /// Subscribes. The channel of the namespace and the probe's are always subscribed.
    subscriber: SubscriberClient,
    scripts: Scripts,
    fanout: Fanout,
    history: History,
    /// Whether each room has a channel of its own.
    channel_per_room: bool,
    /// Whether that channel is in one slot of a cluster only.
    sharded_pubsub: bool,
    /// The names of keys and channels.
    scope: Scope,
    /// The channel of the namespace.
    channel: String,
    /// The channel of the probe, which no other server knows.
    probe_channel: String,
    /// The address of Redis without secrets, for the log.
    address: String,
    /// The most that the history of one room has. Bytes.
    max_history_bytes: usize,
    health: LinkHealth,
    /// Notified if there are revocations to read.
    revoked: Notify,
}

/// Commands from a shard to the subscriber.
#[derive(Debug)]
enum Command {
    /// Recovers what a new member has missed.
    Recover(Box<RecoveryRequest>),
    /// A room has no members on a shard any more.
    RoomEmpty {
        /// The shard.
        shard: u8,
        /// The room.
        room: Box<str>,
    },
}

/// The most that the history of one room has. Bytes.
fn max_history_bytes(history: &History, max_publication_bytes: usize) -> usize {
    let rules = &history.rules;
    let all = rules.prefixes.iter().map(|(_, retention)| retention).chain([&rules.default]);
    let size = all.flatten().map(|retention| retention.size).max().unwrap_or_default();
    size.saturating_mul(max_publication_bytes + REPLY_OVERHEAD).max(MIN_REPLY)
}

/// Limits what is read of one reply to the most that any namespace of this process needs. The longest replies are histories
/// that are read in one piece.
fn limit_replies(bytes: usize) {
    static NEEDED: AtomicUsize = AtomicUsize::new(0);
    redis_protocol::limit_replies(NEEDED.fetch_max(bytes, Relaxed).max(bytes));
}

// === impl Shared ===

impl Shared {
    /// Returns the keys of a room.
    fn keys(&self, room: &str) -> Keys {
        self.scope.keys(self.fanout.name(), room)
    }
}

// === impl Redis ===

impl Redis {
    /// Starts the engine, which connects as soon as Redis responds and pushes what arrives into `fanout`. Publications of
    /// more than `max_publication_bytes` are dropped and counted. It has mailboxes if there are settings for them.
    ///
    /// # Errors
    /// Returns a message if the settings cannot be used.
    pub fn start(
        redis: &RedisConfig,
        namespace: &NamespaceConfig,
        fanout: Fanout,
        max_publication_bytes: usize,
        mailboxes: Option<MailboxSettings>,
    ) -> Result<Engine, String> {
        let max_history_bytes = max_history_bytes(&namespace.history, max_publication_bytes);
        limit_replies(max_history_bytes);
        let scope = redis.scope();
        let shared = Arc::new(Shared {
            channel: scope.channel(fanout.name()),
            probe_channel: scope.own("probe", rand::random()),
            scope,
            publisher: client::builder(redis)?.build().map_err(|error| error.to_string())?,
            subscriber: client::builder(redis)?.build_subscriber_client().map_err(|error| error.to_string())?,
            scripts: Scripts::new(redis),
            fanout,
            history: namespace.history.clone(),
            channel_per_room: namespace.channel_per_room,
            sharded_pubsub: namespace.channel_per_room && redis.kind == Kind::Cluster,
            address: redis.to_string(),
            max_history_bytes,
            health: LinkHealth::new(),
            revoked: Notify::new(),
        });
        // The shards limit how many recoveries they request, also those whose clients have left. A room can only become
        // empty after a recovery for one of its members, so the rooms with members and the recoveries limit that too.
        let (commands_tx, commands_rx) = mpsc::unbounded_channel();
        let (results_tx, results_rx) = mpsc::channel(BACKLOG);
        let (subscription_gen_tx, subscription_gen_rx) = watch::channel(0);
        let resubscribe = Arc::new(Notify::new());
        let resubscriber = Resubscriber {
            shared: Arc::clone(&shared),
            channels: vec![shared.channel.clone(), shared.probe_channel.clone()],
            resubscribe: Arc::clone(&resubscribe),
            subscription_gen_tx,
        };
        tokio::spawn(revocations::run(Arc::clone(&shared), subscription_gen_rx.clone()));
        let (intake, backlog) = backlog::backlog(Arc::clone(&shared), max_publication_bytes);
        let inputs =
            Inputs { backlog, commands: commands_rx, results: results_rx, subscription_gen: subscription_gen_rx };
        let probe =
            HealthProbe { shared: Arc::clone(&shared), clustered: redis.kind == Kind::Cluster, resubscribe };
        tokio::spawn(resubscriber.run());
        tokio::spawn(intake.run(shared.subscriber.message_rx()));
        tokio::spawn(NamespaceSubscriber::new(Arc::clone(&shared), results_tx).run(inputs));
        tokio::spawn(probe.run());
        tokio::spawn(secrets_check::run(Arc::clone(&shared), secrets_check::fingerprints(&namespace.secrets)));
        tokio::spawn(clock_check::run(Arc::clone(&shared)));
        tokio::spawn(client::supervise_client(shared.publisher.clone(), shared.address.clone()));
        tokio::spawn(client::supervise_client(shared.subscriber.clone(), shared.address.clone()));
        let mailboxes = mailboxes
            .map(|settings| {
                MailboxesInRedis::start(settings, redis, shared.publisher.clone(), shared.fanout.clone())
            })
            .transpose()?;
        let history_reader = Arc::new(HistoryReader::new(redis.clone(), Arc::clone(&shared)));
        let lease = namespace.presence.as_ref().map(|settings| settings.lease);
        let connections = lease.map(|lease| UserConnectionsInRedis::start(&shared, lease) as _);
        let journal = shared.fanout.recorder().map(|recorder| {
            let keys = shared.scope.hooks(shared.fanout.name());
            Arc::new(JournalInRedis::new(recorder.limits(), shared.publisher.clone(), keys))
        });
        let pages =
            namespace.pages.as_ref().map(|pages| Arc::new(PagesInRedis::start(pages.settings, &shared)) as _);
        let presence = namespace
            .presence
            .clone()
            .map(|settings| RedisPresence::start(&shared, settings, journal.clone()) as _);
        let states =
            shared.fanout.has_connection_states().then(|| Arc::new(StatesInRedis::new(Arc::clone(&shared))) as _);
        let serves_cable = shared.fanout.is_served_by("action_cable");
        let cable = serves_cable.then(|| Arc::new(CableInRedis::start(&shared)) as _);
        let redis = Arc::new(Self { shared, history_reader, mailboxes, commands: commands_tx });
        Ok(Engine {
            kind: "redis",
            publish: Arc::clone(&redis) as _,
            history: Arc::clone(&redis) as _,
            read_history: Arc::clone(&redis) as _,
            mailboxes: redis.mailboxes.clone().map(|mailboxes| Arc::new(mailboxes) as _),
            revoke: Arc::clone(&redis) as _,
            presence,
            journal: journal.map(|journal| journal as _),
            pages,
            connections,
            states,
            cable,
            health: redis,
        })
    }

    async fn publish(
        &self,
        publication: &PublicationRef<'_>,
        idempotency_key: Option<&str>,
    ) -> Result<Option<Position>, Unavailable> {
        let Shared { publisher, scripts, channel, channel_per_room, sharded_pubsub, .. } = &*self.shared;
        let keys = self.shared.keys(&publication.topic);
        // All servers always subscribe to the channel of the namespace.
        let is_all = publication.topic == topic::ALL;
        let channel = if *channel_per_room && !is_all { keys.channel() } else { channel.clone() };
        let Some(retention) = self.shared.history.of(&publication.topic) else {
            let publish = async {
                client::wait_connected(publisher).await;
                publisher.publish::<i64, _, _>(channel, publication.text).await
            };
            return match tokio::time::timeout(COMMAND_TIMEOUT, publish).await {
                Ok(Ok(_receivers)) => Ok(None),
                Ok(Err(error)) => Err(ScriptError::from_redis(error.details()).unavailable),
                Err(_) => Err(ScriptError::timed_out().unavailable),
            };
        };
        let publish = Publish {
            channel: &channel,
            text: publication.text,
            retention,
            fresh_epoch: rand::random(),
            idempotency_ttl: retention.age,
            sharded: *sharded_pubsub && !is_all,
        };
        scripts.publish(publisher, &keys, &publish, idempotency_key).await
    }

    /// Returns whether the subscriber has a state for rooms with members: for their history, or for their channel.
    fn tracks(&self, room: &str) -> bool {
        self.shared.channel_per_room || self.shared.history.of(room).is_some()
    }
}

impl PublishTo for Redis {
    fn publish<'a>(
        &'a self,
        publication: &'a PublicationRef<'a>,
        idempotency_key: Option<&'a str>,
        _publisher: Publisher<'a>,
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
            // The subscriber has stopped: the process is about to exit.
            Err(_) => Outcome::Overloaded,
        }
    }

    fn may_wait(&self, room: &str) -> bool {
        self.tracks(room)
    }

    fn has_history(&self, room: &str) -> bool {
        self.shared.history.of(room).is_some()
    }

    fn follows_rooms(&self) -> bool {
        true
    }

    fn room_empty(&self, shard: u8, room: &str) {
        if self.tracks(room) {
            let _ = self.commands.send(Command::RoomEmpty { shard, room: room.into() });
        }
    }
}

impl ReadHistory for Redis {
    fn read<'a>(&'a self, room: &'a str, since: Since, client: Requester) -> Pending<'a, Option<HistoryRead>> {
        let read = self.history_reader.read(room, since, client);
        Box::pin(async { Ok(read.await?.map(|recovery| HistoryRead { recovery, idle: None })) })
    }
}

impl Revoke for Redis {
    fn revoke<'a>(&'a self, revocation: &'a Revocation) -> Pending<'a, ()> {
        Box::pin(revocations::revoke(&self.shared, revocation))
    }
}

impl Health for Redis {
    fn is_ready(&self) -> bool {
        self.shared.health.is_ready() && self.mailboxes.as_ref().is_none_or(MailboxesInRedis::is_ready)
    }
}
