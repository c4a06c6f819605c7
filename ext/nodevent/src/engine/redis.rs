//! Publishing to Redis, pipelined: up to a window of commands is in flight on one connection.
//!
//! fred would reconnect by itself and send again what was in flight, behind what it had sent since. To keep the
//! order, a connection here is one fred client with no second life: at the first sign of trouble it is thrown away
//! with all that is in it, and the publications without an answer go, in order, over the next one. None is lost so; and
//! in a room with a history none is published twice, since the script knows it again. In a room without one, an
//! publication whose answer was lost on the way may be.

use super::{CONNECT_PATIENCE, PATIENCE, Progress, Trouble, random};
use crate::queue::{Answer, PublicationRef, Settled};
use crate::target::RedisTarget;
use fred::bytes_utils::Str;
use fred::prelude::{
    Builder, Client, ClientLike, Config, Error, ErrorKind, LuaInterface, PubsubInterface, ServerConfig,
};
use fred::types::ConnectHandle;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use nodevent_protocol::history::{self, Keys, Publish, Retention, RetentionPolicy};
use nodevent_protocol::publication;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Publications and bytes in flight: enough that the way there and back is not felt.
pub(super) const WINDOW: (usize, usize) = (512, 4 * 1024 * 1024);
/// How long a connection that is given up may take to end in order.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long a second publication with the same idempotency key is taken for the first, in a room without a history.
/// In seconds.
const ONCE_FOR: i64 = 5 * 60;
/// Publishes where nothing was published under the key yet; answers as the first time otherwise.
const ONCE: &str = "\
local answered = redis.call('GET', KEYS[1])
if answered then return tonumber(answered) end
local receivers = redis.call('PUBLISH', ARGV[1], ARGV[2])
redis.call('SET', KEYS[1], receivers, 'EX', ARGV[3])
return receivers";
/// How long a publication that has no key of its own is known again: longer than it is tried again without an answer.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// See the head of this file.
pub(crate) struct Redis {
    config: Config,
    address: Arc<str>,
    keeping: Arc<Keeping>,
    connection: Option<Connection>,
}

/// How publications are given to this Redis.
struct Keeping {
    rules: RetentionPolicy,
    /// Whether each room has a channel of its own.
    by_room: bool,
    /// Whether that channel lives in its slot of a cluster only.
    sharded: bool,
    /// The name under which Redis remembers the script that keeps and publishes.
    script: String,
    /// What makes the keys of this publisher's publications its own.
    nonce: u64,
}

/// One fred client and its task.
struct Connection {
    client: Client,
    task: ConnectHandle,
    keeping: Arc<Keeping>,
}

// === impl Redis ===

impl Redis {
    /// # Errors
    /// The URL means nothing.
    pub(super) fn new(target: &RedisTarget) -> Result<Self, String> {
        let mut config =
            Config::from_url(&target.url).map_err(|error| format!("the address of Redis: {}", error.details()))?;
        config.fail_fast = true;
        if let Some(username) = &target.username {
            config.username = Some(username.clone());
        }
        if let Some(password) = &target.password {
            config.password = Some(password.clone());
        }
        if let ServerConfig::Sentinel { username, password, .. } = &mut config.server {
            *username = target.sentinel_username.clone().or_else(|| username.take());
            *password = target.sentinel_password.clone().or_else(|| password.take());
        }
        let address = address(&config).into();
        let clustered = matches!(config.server, ServerConfig::Clustered { .. });
        let keeping = Arc::new(Keeping {
            rules: target.history.rules(),
            by_room: target.fanout_by_room,
            sharded: target.fanout_by_room && clustered,
            script: history::script_sha(history::PUBLISH),
            nonce: random(),
        });
        Ok(Self { config, address, keeping, connection: None })
    }

    pub(super) fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Has a connection, as far as can be known without using it.
    pub(super) async fn connect(&mut self) -> Result<(), Trouble> {
        if self.connection.as_ref().is_some_and(|connection| !connection.task.is_finished()) {
            return Ok(());
        }
        let connection = self.open().await;
        self.connection = Some(connection.map_err(|error| Trouble { reason: explain(&error), unsent: true })?);
        Ok(())
    }

    pub(super) async fn publish(&mut self, publications: &VecDeque<PublicationRef>) -> Progress {
        let Some(connection) = &mut self.connection else {
            return Progress::trouble("there is no connection", true);
        };
        let progress = connection.in_flight(publications).await;
        if progress.trouble.is_some()
            && let Some(connection) = self.connection.take()
        {
            connection.abandon();
        }
        progress
    }

    async fn open(&self) -> Result<Connection, Error> {
        let mut builder = Builder::from_config(self.config.clone());
        builder.with_connection_config(|connection| {
            connection.connection_timeout = CONNECT_PATIENCE;
            connection.internal_command_timeout = CONNECT_PATIENCE;
            connection.max_command_attempts = 1;
            connection.tcp.nodelay = Some(true);
        });
        let client = builder.build()?;
        let connected = timeout(CONNECT_PATIENCE, client.init()).await;
        let task = connected.map_err(|_| Error::new(ErrorKind::Timeout, "no answer to the connection"))??;
        let connection = Connection { client, task, keeping: Arc::clone(&self.keeping) };
        if self.keeping.rules.is_on() {
            // Loaded before anything is in flight: a script that is not known would cost the publications their order.
            connection.load().await?;
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
    async fn load(&self) -> Result<(), Error> {
        let client = &self.client;
        let load = async {
            match client.is_clustered() {
                true => client.script_load_cluster::<(), _>(history::PUBLISH).await,
                false => client.script_load::<(), _>(history::PUBLISH).await,
            }
        };
        timeout(CONNECT_PATIENCE, load)
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, "no answer to SCRIPT LOAD"))?
    }

    /// Has all publications in flight at once and takes the answers in order, up to the first that says to try again.
    async fn in_flight(&mut self, publications: &VecDeque<PublicationRef>) -> Progress {
        let deadline = Instant::now() + PATIENCE;
        let mut answers: FuturesOrdered<_> =
            publications.iter().map(|publication| publish(&self.client, &self.keeping, publication)).collect();
        let mut settled = Vec::with_capacity(publications.len());
        let reason = loop {
            // In this order, so that answers that came before the end of the connection are not lost.
            let answer = tokio::select! {
                biased;
                answer = answers.next() => answer,
                _ = &mut self.task => break "the connection was lost".to_owned(),
                () = sleep_until(deadline) => break format!("no answer within {} s", PATIENCE.as_secs()),
            };
            match answer {
                Some(Ok(one)) => settled.push(one),
                Some(Err(error)) => break explain(&error),
                None => return Progress { settled, trouble: None },
            }
        };
        Progress { settled, trouble: Some(Trouble { reason, unsent: false }) }
    }

    /// Ends the connection behind the back of the next one.
    fn abandon(self) {
        tokio::spawn(async move {
            // Whether it could still say goodbye does not matter.
            let _ = timeout(FAREWELL, self.client.quit()).await;
            self.task.abort();
        });
    }
}

/// The one place that says how a publication is given to Redis.
///
/// # Errors
/// Only what another attempt may mend; what Redis will never take is an `Ok(Err(_))`.
async fn publish(client: &Client, keeping: &Keeping, publication: &PublicationRef) -> Result<Settled, Error> {
    // What is no publication has no room whose history it could be in; it is published as it is.
    let room = publication::parse(&publication.body).ok().map(|parsed| parsed.room.into_owned());
    let keys = room.as_deref().map(|room| Keys::of(&publication.channel, room));
    let channel = match &keys {
        Some(keys) if keeping.by_room => Str::from(keys.channel()),
        _ => Str::from(&*publication.channel),
    };
    let kept = room.as_deref().and_then(|room| keeping.rules.of(room));
    let receivers: Result<i64, _> = match (kept.zip(keys), &publication.idempotency_key) {
        (Some((kept, keys)), _) => keep(client, keeping, publication, &channel, kept, &keys).await,
        (None, None) => client.publish(channel, publication.body.clone()).await,
        (None, Some(key)) => {
            let key = format!("nodevent:once:{channel}:{key}");
            let arguments = (channel, publication.body.clone(), ONCE_FOR);
            client.eval(ONCE, vec![key], arguments).await
        }
    };
    match receivers {
        Ok(receivers) => Ok(Ok(Answer::Receivers(receivers))),
        Err(error) if is_final(&error) => Ok(Err(refused(error.details()).into())),
        Err(error) => Err(error),
    }
}

/// Publishes by the script, so that the publication has its place in the room's history. With a key of its own, so that
/// a publication whose answer was lost on the way is not published twice when it is tried again.
async fn keep(
    client: &Client,
    keeping: &Keeping,
    publication: &PublicationRef,
    channel: &str,
    kept: Retention,
    keys: &Keys,
) -> Result<i64, Error> {
    let (once, idempotency_ttl) = match &publication.idempotency_key {
        Some(key) => (keys.idempotency(key), kept.age),
        None => (keys.idempotency(&format!("{:016x}-{}", keeping.nonce, publication.number)), RETRY_FOR),
    };
    let text = std::str::from_utf8(&publication.body).unwrap_or_default().trim_matches([' ', '\t', '\n', '\r']);
    let publish = Publish { channel, text, kept, fresh_epoch: random(), idempotency_ttl, sharded: keeping.sharded };
    let names = vec![keys.position.clone(), keys.log.clone(), once];
    let args: Vec<String> = publish.args().into();
    let (_position, receivers, _before): (String, i64, i64) =
        client.evalsha(keeping.script.as_str(), names, args).await?;
    Ok(receivers)
}

/// Whether Redis has understood the command and will never take it.
fn is_final(error: &Error) -> bool {
    let code = error.details().split(' ').next().unwrap_or_default();
    matches!(code, "ERR" | "NOPERM" | "WRONGTYPE")
}

fn refused(details: &str) -> String {
    let remedy = match details.split(' ').next() {
        Some("NOPERM") => {
            "let the user in redis: publish on the namespace, run EVALSHA and write the keys nodevent:*"
        }
        _ => "see what else uses the keys nodevent:* of this Redis, and its log",
    };
    format!("Redis refused: {details}; {remedy}")
}

fn explain(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Canceled => "the connection was lost".to_owned(),
        ErrorKind::IO => plain(error.details()),
        ErrorKind::Auth => format!("{}; check redis: username and password", error.details()),
        _ => error.details().to_owned(),
    }
}

/// fred writes an operating system's error as Rust would print it for a programmer; a person wants its message.
fn plain(details: &str) -> String {
    let begin = ["message: \"", "error: \""].iter().find_map(|word| details.split_once(word));
    let message = begin.and_then(|(_, rest)| rest.split_once('"'));
    message.map_or(details, |(message, _)| message).to_owned()
}

/// Where Redis is, for a person: without user and password.
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
