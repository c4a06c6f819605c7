//! Publishing to Redis, pipelined: up to a window of commands is in flight on one connection.
//!
//! fred would reconnect by itself and resend the commands in flight after newer ones. To preserve the order, a
//! connection here is one fred client without reconnection: after the first error it is discarded with everything in
//! it, and the publications without a result are sent, in order, over the next one. So none is lost. In a room with a
//! history none is published twice, because the script recognises it. In a room without one, a publication whose reply
//! was lost may be published twice.
//!
//! What waits in the queue for rooms with a history is published in batches: many publications in one call of a script.

use super::redis_config;
use super::{BatchOutcome, CONNECT_TIMEOUT, RESPONSE_TIMEOUT, TransientError, random};
use crate::queue::{Confirmation, PublicationRef, PublishResult};
use crate::target::RedisTarget;
use crate::text::printable;
use bytes::Bytes;
use fred::bytes_utils::Str;
use fred::prelude::{
    Client, ClientLike, Config, Error, ErrorKind, KeysInterface, LuaInterface, PubsubInterface, ServerConfig,
};
use fred::types::{ConnectHandle, Expiration, SetOptions};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use nodevent_protocol::history::{self, Batch, Keys, Position, Publish, Retention, RetentionPolicy, Scope};
use nodevent_protocol::targets::{self, Published};
use nodevent_protocol::topic;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// The maximum of publications and bytes in flight, enough to hide the round-trip time.
pub(super) const WINDOW: (usize, usize) = (512, 4 * 1024 * 1024);
/// Time for a discarded connection to quit cleanly.
const QUIT_TIMEOUT: Duration = Duration::from_millis(500);

/// Time for which an idempotency key is remembered in a room without a history.
///
/// # Units
/// Seconds.
const IDEMPOTENCY_TTL: i64 = 5 * 60;
/// Publishes unless something was published under the key already; then it returns the first result.
const PUBLISH_IDEMPOTENT: &str = "\
local known = redis.call('GET', KEYS[1])
if known then return tonumber(known) end
local receivers = redis.call('PUBLISH', ARGV[1], ARGV[2])
redis.call('SET', KEYS[1], receivers, 'EX', ARGV[3])
return receivers";
/// The scripts that store and publish one publication, and several.
const SCRIPTS: [&str; 2] = [history::PUBLISH, history::PUBLISH_MANY];
/// Time for which the fingerprint of the secret is stored.
///
/// # Units
/// Seconds.
const FINGERPRINT_TTL: i64 = 3600;
/// Time for which a publication without its own key is recognised: longer than it is retried without a reply.
const RETRY_WINDOW: Duration = Duration::from_secs(60);

/// A Redis to publish to; see the head of this file.
pub(crate) struct Redis {
    config: Config,
    address: Arc<str>,
    options: Arc<PublishOptions>,
    connection: Option<Connection>,
    /// A warning from the last connect, for the log.
    warning: Option<String>,
}

/// The settings for publishing to this Redis.
#[derive(Clone)]
struct PublishOptions {
    /// The names of keys and channels.
    scope: Scope,
    namespace: String,
    /// The fingerprint of the secret that signs keys.
    fingerprint: Option<String>,
    retention: RetentionPolicy,
    /// Whether each room has its own channel.
    channel_per_room: bool,
    /// Whether channels are sharded by cluster slot (SPUBLISH).
    sharded_pubsub: bool,
    /// Whether the Redis is a cluster, where one call of a script is about one room.
    clustered: bool,
    /// The SHA-1 of the scripts that store and publish one publication, and several.
    script_shas: [String; 2],
    /// Makes the idempotency keys of this publisher unique.
    nonce: u64,
}

/// One fred client and its task.
struct Connection {
    client: Client,
    task: ConnectHandle,
    options: Arc<PublishOptions>,
}

// === impl Redis ===

impl Redis {
    /// # Errors
    /// The URL means nothing.
    pub(super) fn new(target: &RedisTarget) -> Result<Self, String> {
        let config = redis_config::config(target)?;
        let address = address(&config).into();
        let clustered = matches!(config.server, ServerConfig::Clustered { .. });
        let options = Arc::new(PublishOptions {
            scope: Scope::new(target.prefix.as_deref(), target.db).ok_or("invalid redis prefix")?,
            namespace: target.namespace.clone(),
            fingerprint: target.fingerprint.clone(),
            retention: target.history.clone(),
            channel_per_room: target.channel_per_room,
            sharded_pubsub: target.channel_per_room && clustered,
            clustered,
            script_shas: SCRIPTS.map(history::script_sha),
            nonce: random(),
        });
        Ok(Self { config, address, options, connection: None, warning: None })
    }

    pub(super) fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Connects, unless there is a connection that appears to be open.
    pub(super) async fn connect(&mut self) -> Result<(), TransientError> {
        if self.connection.as_ref().is_some_and(|connection| !connection.task.is_finished()) {
            return Ok(());
        }
        let connection = self.open().await;
        let connection = connection.map_err(|error| TransientError { reason: explain(&error), not_sent: true })?;
        self.warning = connection.compare_secrets(&self.address).await;
        self.connection = Some(connection);
        Ok(())
    }

    /// Returns the warning from the last connect, once.
    pub(super) fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    pub(super) async fn publish(&mut self, publications: &VecDeque<PublicationRef>) -> BatchOutcome {
        let Some(connection) = &mut self.connection else {
            return BatchOutcome::failed("not connected", true);
        };
        let outcome = connection.in_flight(publications).await;
        if outcome.error.is_some()
            && let Some(connection) = self.connection.take()
        {
            connection.abandon();
        }
        outcome
    }

    async fn open(&self) -> Result<Connection, Error> {
        let client = redis_config::builder(self.config.clone()).build()?;
        let connected = timeout(CONNECT_TIMEOUT, client.init()).await;
        let task = connected.map_err(|_| Error::new(ErrorKind::Timeout, "timeout while connecting"))??;
        let mut connection = Connection { client, task, options: Arc::clone(&self.options) };
        if self.options.retention.is_on() {
            // Loaded before anything is in flight: retrying after NOSCRIPT would change the order.
            let script_shas = connection.load().await?;
            connection.options = Arc::new(PublishOptions { script_shas, ..(*self.options).clone() });
        }
        Ok(connection)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("address", &self.address).finish_non_exhaustive()
    }
}

// === impl Connection ===

impl Connection {
    /// Loads the scripts that store and publish. Returns their SHA-1.
    async fn load(&self) -> Result<[String; 2], Error> {
        let client = &self.client;
        let load = async {
            if !client.is_clustered()
                && let Some(shas) = self.load_for_run().await
            {
                return Ok(shas);
            }
            for script in SCRIPTS {
                match client.is_clustered() {
                    true => client.script_load_cluster::<(), _>(script).await?,
                    false => client.script_load::<(), _>(script).await?,
                }
            }
            Ok(SCRIPTS.map(history::script_sha))
        };
        timeout(CONNECT_TIMEOUT, load)
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, "timeout while loading the script"))?
    }

    /// Loads the scripts for the run of Redis at the other end; see [`history::for_run`]. This connection is never opened again.
    /// `None`: the user may not do that, so the scripts have to ask Redis in each call. The nodes of a cluster are several runs.
    async fn load_for_run(&self) -> Option<[String; 2]> {
        let nothing = Vec::<String>::new;
        let run: String = self.client.eval(history::READ_RUN, nothing(), nothing()).await.ok()?;
        let mut shas = Vec::new();
        for script in SCRIPTS {
            let text = history::for_run(script, &run)?;
            shas.push(history::script_sha(&text));
            let loaded: String = self.client.eval(text, nothing(), nothing()).await.ok()?;
            if loaded != run {
                return None;
            }
        }
        shas.try_into().ok()
    }

    /// Compares the fingerprint of our secret with the one that the last server of the namespace stored; see
    /// `protocol/README.md` section 6. Returns a warning if they differ. Errors, such as a missing permission, do not
    /// matter.
    async fn compare_secrets(&self, address: &str) -> Option<String> {
        let PublishOptions { scope, namespace, fingerprint, .. } = &*self.options;
        let (key, own) = (scope.secrets(namespace), fingerprint.as_deref()?);
        let compare = async {
            let expires = Some(Expiration::EX(FINGERPRINT_TTL));
            let stored = self.client.set::<Option<String>, _, _>(&key, own, expires, Some(SetOptions::NX), false);
            match stored.await {
                Ok(Some(_)) | Err(_) => None,
                Ok(None) => self.client.get::<Option<String>, _>(&key).await.ok().flatten(),
            }
        };
        let other = timeout(CONNECT_TIMEOUT, compare).await.ok().flatten()?;
        let differs = other.split(',').all(|one| one != own);
        differs.then(|| {
            format!(
                "another server or application uses the channel {} of {address} with other secrets, so it may reject keys \
                 that are signed here; give both the same secret, or separate them with another `redis: {{db:}}` or \
                 `redis: {{prefix:}}`",
                scope.channel(namespace)
            )
        })
    }

    /// Sends all publications at once and collects the results in order, up to the first that must be retried.
    async fn in_flight(&mut self, publications: &VecDeque<PublicationRef>) -> BatchOutcome {
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        let calls = Calls { options: &self.options, publications, next: 0 };
        let mut replies: FuturesOrdered<_> = calls.map(|call| call.send(&self.client, &self.options)).collect();
        let mut results = Vec::with_capacity(publications.len());
        let reason = loop {
            // Biased, so that replies that arrived before the connection was lost are used.
            let reply = tokio::select! {
                biased;
                reply = replies.next() => reply,
                _ = &mut self.task => break "the connection was lost".to_owned(),
                () = sleep_until(deadline) => break format!("no response within {} s", RESPONSE_TIMEOUT.as_secs()),
            };
            match reply {
                Some(Ok(some)) => results.extend(some),
                Some(Err(error)) => break explain(&error),
                None => return BatchOutcome { results, error: None },
            }
        };
        BatchOutcome { results, error: Some(TransientError { reason, not_sent: false }) }
    }

    /// Closes the connection in the background.
    fn abandon(self) {
        tokio::spawn(async move {
            // Whether the QUIT still succeeds does not matter.
            let _ = timeout(QUIT_TIMEOUT, self.client.quit()).await;
            self.task.abort();
        });
    }
}

/// What is published with one command, or one set of copies.
enum Call<'a> {
    /// Consecutive publications with history, in one call of the script.
    Batch(Batch),
    One(&'a PublicationRef),
}

/// Divides publications into calls. The result depends on nothing else, so calls without a reply are repeated as they were.
struct Calls<'a> {
    options: &'a PublishOptions,
    publications: &'a VecDeque<PublicationRef>,
    next: usize,
}

/// A publication that can be in a batch.
struct InBatch<'a> {
    keys: Keys,
    channel: Str,
    sharded: bool,
    text: &'a str,
    retention: Retention,
}

// === impl PublishOptions ===

impl PublishOptions {
    /// What the script needs to publish a publication to one room or user with a history. `None`: it has several targets, no
    /// history, or an idempotency key of its own.
    fn in_batch<'a>(&self, publication: &'a PublicationRef) -> Option<InBatch<'a>> {
        if publication.idempotency_key.is_some() {
            return None;
        }
        let Ok(Published::One(one)) = targets::parse(&publication.body) else { return None };
        let retention = self.retention.of(&one.topic)?;
        let keys = self.scope.keys(&publication.channel, &one.topic);
        let (channel, sharded) = self.channel(publication, Some(&one.topic), Some(&keys));
        Some(InBatch { channel, sharded, text: one.text, retention, keys })
    }

    /// The channel of a topic, and whether it is sharded. All servers always subscribe to the channel of the namespace.
    fn channel(&self, publication: &PublicationRef, topic: Option<&str>, keys: Option<&Keys>) -> (Str, bool) {
        let is_all = topic == Some(topic::ALL);
        let channel = match keys {
            Some(keys) if self.channel_per_room && !is_all => keys.channel(),
            _ => self.scope.channel(&publication.channel),
        };
        (channel.into(), self.sharded_pubsub && !is_all)
    }
}

// === impl InBatch ===

impl InBatch<'_> {
    fn publish(&self) -> Publish<'_> {
        let Self { channel, sharded, text, retention, .. } = self;
        Publish {
            channel,
            text,
            retention: *retention,
            fresh_epoch: random(),
            idempotency_ttl: RETRY_WINDOW,
            sharded: *sharded,
        }
    }
}

// === impl Calls ===

impl<'a> Iterator for Calls<'a> {
    type Item = Call<'a>;

    fn next(&mut self) -> Option<Call<'a>> {
        let Self { options, publications, .. } = *self;
        let first = publications.get(self.next)?;
        self.next += 1;
        let Some(one) = options.in_batch(first) else { return Some(Call::One(first)) };
        let mut batch = Batch::new(options.nonce, first.number, &one.keys, &one.publish());
        while let Some(following) = publications.get(self.next)
            && !batch.is_full(following.body.len())
            && let Some(following) = options.in_batch(following)
            && (!options.clustered || following.keys == one.keys)
        {
            batch.add(&following.keys, &following.publish());
            self.next += 1;
        }
        Some(Call::Batch(batch))
    }
}

// === impl Call ===

impl Call<'_> {
    /// # Errors
    /// Errors that a retry may fix; what Redis will never accept is an `Ok` with an `Err(_)`.
    async fn send(self, client: &Client, options: &PublishOptions) -> Result<Vec<PublishResult>, Error> {
        let batch = match self {
            Self::One(publication) => {
                return publish(client, options, publication).await.map(|result| vec![result]);
            }
            Self::Batch(batch) => batch,
        };
        let count = batch.count();
        let (keys, args) = batch.into_call();
        let reply: Str = match client.evalsha(options.script_shas[1].as_str(), keys, args).await {
            Ok(reply) => reply,
            Err(error) if history::is_permanent(error.details()) => {
                return Ok(vec![Err(rejected(error.details()).into()); count]);
            }
            Err(error) => return Err(error),
        };
        let results = Batch::parse(&reply).filter(|results| results.len() == count);
        let results = results.ok_or_else(|| Error::new(ErrorKind::Protocol, "unexpected reply of the script"))?;
        let confirm = |(position, receivers)| Confirmation::Stored(receivers, position);
        Ok(results.into_iter().map(|one| one.map(confirm).map_err(|error| rejected(error).into())).collect())
    }
}

/// Publishes one publication, or its copies, all at once.
///
/// # Errors
/// Errors that a retry may fix; what Redis will never accept is an `Ok(Err(_))`.
async fn publish(
    client: &Client,
    options: &PublishOptions,
    publication: &PublicationRef,
) -> Result<PublishResult, Error> {
    let several = match targets::parse(&publication.body) {
        Ok(Published::Several(several)) => several,
        Ok(Published::One(one)) => {
            let copy =
                TargetCopy { topic: Some(one.topic.into_owned()), body: publication.body.clone(), number: None };
            return publish_copy(client, options, publication, copy).await;
        }
        // Text that is not a publication has no room and so no history; it is published unchanged.
        Err(_) => {
            let copy = TargetCopy { topic: None, body: publication.body.clone(), number: None };
            return publish_copy(client, options, publication, copy).await;
        }
    };
    // A retry gives the copies the same id.
    let own = || format!("{:016x}-{}", options.nonce, publication.number);
    let id = targets::id_of(&publication.idempotency_key.as_deref().map_or_else(own, str::to_owned));
    let copy = |number: usize| {
        let text = several.text(number, id);
        let topic = several.topic(number).to_owned();
        TargetCopy { topic: Some(topic), body: text.into(), number: Some(number) }
    };
    let mut replies: FuturesOrdered<_> =
        (0..several.count()).map(|number| publish_copy(client, options, publication, copy(number))).collect();
    let mut receivers = 0;
    while let Some(reply) = replies.next().await {
        match reply? {
            Ok(Confirmation::Receivers(count) | Confirmation::Stored(count, _)) => receivers = receivers.max(count),
            Ok(Confirmation::Position(_) | Confirmation::Accepted) => {}
            Err(reason) => return Ok(Err(reason)),
        }
    }
    Ok(Ok(Confirmation::Receivers(receivers)))
}

/// What is published to one target.
struct TargetCopy {
    /// The name of the topic. `None`: the text is not a publication.
    topic: Option<String>,
    body: Bytes,
    /// Its number among the copies of a publication that has several.
    number: Option<usize>,
}

/// Publishes one copy with the command that its topic and key require.
async fn publish_copy(
    client: &Client,
    options: &PublishOptions,
    publication: &PublicationRef,
    copy: TargetCopy,
) -> Result<PublishResult, Error> {
    let TargetCopy { topic, body, number } = copy;
    let keys = topic.as_deref().map(|topic| options.scope.keys(&publication.channel, topic));
    let retention = topic.as_deref().and_then(|topic| options.retention.of(topic));
    let (channel, sharded) = options.channel(publication, topic.as_deref(), keys.as_ref());
    let confirmation: Result<Confirmation, Error> = match (retention.zip(keys), &publication.idempotency_key) {
        (Some((retention, keys)), _) => {
            publish_with_history(client, options, publication, &body, (&channel, sharded), retention, &keys).await
        }
        (None, None) => client.publish(channel, body).await.map(Confirmation::Receivers),
        (None, Some(key)) => {
            // Copies share the channel of the namespace.
            let key = number.map_or_else(|| key.to_string(), |number| format!("{number}:{key}"));
            let key = options.scope.plain_idempotency(&channel, &key);
            let arguments = (channel, body, IDEMPOTENCY_TTL);
            client.eval(PUBLISH_IDEMPOTENT, vec![key], arguments).await.map(Confirmation::Receivers)
        }
    };
    match confirmation {
        Ok(confirmation) => Ok(Ok(confirmation)),
        Err(error) if history::is_permanent(error.details()) => Ok(Err(rejected(error.details()).into())),
        Err(error) => Err(error),
    }
}

/// Publishes through the script that adds the publication to the room's history. Always with an idempotency key, so that
/// a publication whose reply was lost is not published twice by a retry.
async fn publish_with_history(
    client: &Client,
    options: &PublishOptions,
    publication: &PublicationRef,
    body: &[u8],
    (channel, sharded): (&str, bool),
    retention: Retention,
    keys: &Keys,
) -> Result<Confirmation, Error> {
    let (idempotency_key, idempotency_ttl) = match &publication.idempotency_key {
        Some(key) => (keys.idempotency(key), retention.age),
        None => (keys.idempotency(&format!("{:016x}-{}", options.nonce, publication.number)), RETRY_WINDOW),
    };
    let text = std::str::from_utf8(body).unwrap_or_default().trim_matches([' ', '\t', '\n', '\r']);
    let publish = Publish { channel, text, retention, fresh_epoch: random(), idempotency_ttl, sharded };
    let names = vec![keys.position.clone(), keys.log.clone(), idempotency_key];
    let args: Vec<String> = publish.args().into();
    let (position, receivers, _before): (String, i64, i64) =
        client.evalsha(options.script_shas[0].as_str(), names, args).await?;
    // It was published, whatever the rest of the reply is.
    Ok(match Position::parse(&position) {
        Some(position) => Confirmation::Stored(receivers, position),
        None => Confirmation::Receivers(receivers),
    })
}

fn rejected(details: &str) -> String {
    let hint = match details.split(' ').next() {
        Some("NOPERM") => {
            "allow the Redis user to publish on the namespace, run EVALSHA and write the keys nodevent:*"
        }
        _ => "check the log of Redis, and whether another program uses its keys nodevent:*",
    };
    format!("Redis rejected the publication: {}; {hint}", printable(details))
}

fn explain(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Canceled => "the connection was lost".to_owned(),
        ErrorKind::IO => printable(&os_error_message(error.details())),
        ErrorKind::Auth => format!("{}; check redis: username and password", printable(error.details())),
        _ => printable(error.details()),
    }
}

/// Extracts the message from an operating system error, which fred prints in Rust's debug format.
fn os_error_message(details: &str) -> String {
    let begin = ["message: \"", "error: \""].iter().find_map(|word| details.split_once(word));
    let message = begin.and_then(|(_, rest)| rest.split_once('"'));
    message.map_or(details, |(message, _)| message).to_owned()
}

/// The address of Redis for people, without user and password.
fn address(config: &Config) -> String {
    let scheme = if config.tls.is_some() { "rediss" } else { "redis" };
    let database = config.database.map(|database| format!("/{database}")).unwrap_or_default();
    let list = |hosts: &[fred::types::config::Server]| {
        hosts.iter().map(|host| format!("{}:{}", host.host, host.port)).collect::<Vec<_>>().join(",")
    };
    match &config.server {
        ServerConfig::Sentinel { hosts, service_name, .. } => {
            format!("{scheme}-sentinel://{}{database} ({service_name})", list(hosts))
        }
        ServerConfig::Clustered { hosts, .. } => format!("{scheme}-cluster://{}", list(hosts)),
        other => format!("{scheme}://{}{database}", list(&other.hosts())),
    }
}
