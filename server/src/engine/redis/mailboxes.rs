//! The capability *mailboxes* of the Redis engine. One script stores a message and notifies the servers; another
//! acknowledges. Notices have a channel and a connection of their own, so that neither delays publications.
//!
//! A notice that is lost with a connection costs nothing: after each new subscription the shards read the mailboxes of
//! their connections again, and each notice names the message before it.

use super::super::Fanout;
use super::client;
use super::mailbox_store::MessageStore;
use super::mailbox_users::{Due, MailboxUsers};
use super::script::{Script, ScriptError};
use crate::capability::{Pending, Unavailable};
use crate::config::redis::Redis as RedisConfig;
use crate::fair_turns::{FairLanes, Turn};
use crate::mailbox::{
    Acknowledgement, MailboxAction, MailboxEvent, MailboxNotice, MailboxPage, MailboxReply, MailboxRequest,
    MailboxResult, MailboxSettings, Mailboxes, MessageId, NewMessage, PageRequest, Removed, Stored, StoredMessage,
};
use crate::outcome::Outcome;
use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike, EventInterface, KeysInterface, PubsubInterface};
use fred::types::{Message, Value};
use futures_util::future::join_all;
use nodevent_protocol::history::Scope;
use nodevent_protocol::mailbox::{
    self as scripts, MailboxKeys, Notice, acknowledge_args, device_args, device_keys, user_and_device,
};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;

/// Commands of one task that wait for Redis at a time.
const PIPELINE: usize = 128;
/// Interval at which places of mailboxes that do not exist any more are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Places that are examined at a time.
const SWEEP_SIZE: usize = 200;
/// Requests of connections that are with Redis at a time: publications use the same connection, and one request may read a
/// page or name a thousand messages.
const REQUESTS_AT_ONCE: usize = 4;
/// How long a request waits for its turn, behind those that wait for Redis.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after Redis did not respond.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The mailboxes of one namespace.
#[derive(Debug, Clone)]
pub(super) struct MailboxesInRedis(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: MailboxSettings,
    client: Client,
    subscriber: SubscriberClient,
    /// Whether the channel was subscribed on the last connection.
    is_subscribed: AtomicBool,
    fanout: Fanout,
    scope: Scope,
    channel: String,
    users: MailboxUsers,
    /// The turns of the requests of connections: clients one after another.
    turns: FairLanes<REQUESTS_AT_ONCE>,
    /// Runs what a shard must not wait for.
    runtime: Handle,
    store: Script,
    read: Script,
    acknowledge: Script,
    seen: Script,
    device: Script,
    place: Script,
    free: Script,
    sample: Script,
}

// === impl MailboxesInRedis ===

impl MailboxesInRedis {
    /// Starts the tasks of a namespace's mailboxes. `client` is the connection that publishes.
    ///
    /// # Errors
    /// Returns a message if the settings of Redis cannot be used.
    pub(super) fn start(
        settings: MailboxSettings,
        redis: &RedisConfig,
        client: Client,
        fanout: Fanout,
    ) -> Result<Self, String> {
        let scope = redis.scope();
        let subscriber = client::builder(redis)?.build_subscriber_client().map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared {
            users: MailboxUsers::new(settings.age),
            turns: FairLanes::default(),
            channel: scope.mailbox_channel(fanout.name()),
            settings,
            client,
            subscriber,
            is_subscribed: AtomicBool::new(false),
            fanout,
            scope,
            runtime: Handle::current(),
            store: Script::new(scripts::STORE),
            read: Script::new(scripts::READ),
            acknowledge: Script::new(scripts::ACKNOWLEDGE),
            seen: Script::new(scripts::SEEN),
            device: Script::new(scripts::DEVICE),
            place: Script::new(scripts::PLACE),
            free: Script::new(scripts::FREE),
            sample: Script::new(scripts::SAMPLE),
        });
        tokio::spawn(Arc::clone(&shared).receive());
        tokio::spawn(client::supervise_client(shared.subscriber.clone(), redis.to_string()));
        if shared.settings.age.is_zero() {
            tokio::spawn(Arc::clone(&shared).sweep_places());
        } else {
            tokio::spawn(Arc::clone(&shared).keep_mailboxes());
        }
        Ok(Self(shared))
    }

    /// Whether notices arrive.
    pub(super) fn is_ready(&self) -> bool {
        self.0.is_subscribed.load(Relaxed) && self.0.subscriber.is_connected()
    }
}

// === impl Shared ===

impl Shared {
    fn keys(&self, user: &str) -> MailboxKeys {
        self.scope.mailbox(self.fanout.name(), user)
    }

    async fn store(&self, new: &NewMessage<'_>) -> Result<Stored, ScriptError> {
        let Self { client, store, place, scope, settings, .. } = self;
        for name in self.users.new_devices(new.user) {
            self.keep_device(&name, self.users.lease().unwrap_or_default()).await?;
        }
        let store = MessageStore { client, store, place, scope, namespace: self.fanout.name(), settings };
        store.store(new, self.users.is_connected(new.user)).await
    }

    /// Makes a device known to Redis, and keeps its mailbox from now on. Zero: without a limit.
    async fn keep_device(&self, name: &str, keep: Duration) -> Result<(), ScriptError> {
        let keys = device_keys(&self.scope, self.fanout.name(), name);
        let args = device_args(name, keep).into_iter().map(Value::from).collect();
        let dropped: u64 = self.device.run(&self.client, keys, args).await?;
        self.users.device_is_known(name);
        if dropped > 0 {
            self.fanout.metrics().mailbox_dropped.fetch_add(dropped, Relaxed);
            let namespace = self.fanout.name();
            tracing::warn!(namespace, dropped, "a user has too many devices; the oldest one was forgotten");
        }
        Ok(())
    }

    async fn free_place(&self, user: &str) -> Result<i64, ScriptError> {
        let places = self.scope.mailbox_places(self.fanout.name());
        self.free.run(&self.client, vec![places], vec![user.into()]).await
    }

    /// Reads a page. `keeps`: for a connection of the user.
    async fn read(&self, user: &str, page: PageRequest, keeps: bool) -> Result<MailboxPage, ScriptError> {
        if keeps && user_and_device(user).1.is_some() {
            self.keep_device(user, self.users.lease().unwrap_or_default()).await?;
        }
        let keep = self.users.lease().filter(|_| keeps).map(|lease| lease.as_millis().to_string());
        let args =
            [page.after.to_string(), page.count.to_string(), page.bytes.to_string(), keep.unwrap_or_default()];
        let args = args.into_iter().map(Value::from).collect();
        let (newest, unread, more, flat): (String, u64, u64, Vec<String>) =
            self.read.run(&self.client, self.keys(user).all(), args).await?;
        page_of(page.after, &newest, unread, more == 1, &flat).ok_or_else(|| {
            tracing::warn!(
                namespace = self.fanout.name(),
                "a mailbox in Redis has entries that this program did not store; it is not read"
            );
            ScriptError::from_redis("ERR unexpected value in a mailbox")
        })
    }

    async fn acknowledge(&self, user: &str, which: &Acknowledgement) -> Result<Removed, ScriptError> {
        let args = acknowledge_args(&self.channel, user, self.settings.age, which);
        let args = args.into_iter().map(Value::from).collect();
        let (count, unread): (u64, u64) = self.acknowledge.run(&self.client, self.keys(user).all(), args).await?;
        if self.settings.age.is_zero() && count > 0 && unread == 0 {
            // If it fails, the sweep does it.
            let _ = self.free_place(user).await;
        }
        Ok(Removed { count, unread })
    }

    /// Waits until a client may use Redis for the mailbox of this user.
    async fn turn(&self, user: &str, client: crate::client::Client) -> Result<Turn, Unavailable> {
        let (_ticket, turn) = self.turns.wait(user, client);
        let turn = tokio::time::timeout(TURN_TIMEOUT, turn).await.ok().and_then(Result::ok);
        turn.ok_or_else(|| Unavailable { engine: "Redis", reason: "too many requests for mailboxes wait".into() })
    }

    /// Passes notices to the shards, and subscribes after each connect.
    async fn receive(self: Arc<Self>) {
        let mut connected = self.subscriber.reconnect_rx();
        let mut messages = self.subscriber.message_rx();
        loop {
            tokio::select! {
                connection = connected.recv() => match connection {
                    Ok(_) | Err(RecvError::Lagged(_)) => self.subscribe().await,
                    Err(RecvError::Closed) => return,
                },
                message = messages.recv() => match message {
                    Ok(message) => self.on_notice(&message).await,
                    Err(RecvError::Lagged(count)) => {
                        self.fanout.metrics().engine_lagged_messages.fetch_add(count, Relaxed);
                        self.fanout.mailbox_notices_lost();
                    }
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    async fn subscribe(&self) {
        match self.subscriber.subscribe(self.channel.clone()).await {
            // What was stored since the last subscription ended has no notice here.
            Ok(()) => {
                self.is_subscribed.store(true, Relaxed);
                self.fanout.mailbox_notices_lost();
            }
            Err(error) => {
                self.is_subscribed.store(false, Relaxed);
                let namespace = self.fanout.name();
                tracing::warn!(
                    namespace,
                    error = error.details(),
                    "could not subscribe to mailboxes; reconnecting"
                );
                client::force_reconnect(&self.subscriber).await;
            }
        }
    }

    async fn on_notice(&self, message: &Message) {
        let Some(notice) = message.value.as_bytes().and_then(Notice::parse) else { return };
        let notice = match notice {
            Notice::Stored { user, id, previous, unread, text } => {
                let message = Arc::new(StoredMessage { id, text });
                MailboxNotice { user, unread, event: MailboxEvent::Stored { message, previous } }
            }
            Notice::Acknowledged { user, acknowledgement, unread } => {
                MailboxNotice { user, unread, event: MailboxEvent::Acknowledged(acknowledgement) }
            }
        };
        // Users who are connected to other servers only cost nothing else here.
        if self.users.is_connected(&notice.user) {
            self.fanout.notify(notice).await;
        }
    }

    /// Keeps the mailboxes of connected users, and lets the age of others run from when they left.
    async fn keep_mailboxes(self: Arc<Self>) {
        loop {
            let due = self.users.take_due(PIPELINE).await;
            let kept = join_all(due.iter().map(|Due { user, keep }| async {
                if user_and_device(user).1.is_some() {
                    return self.keep_device(user, *keep).await;
                }
                let args = vec![Value::from(keep.as_millis().to_string())];
                self.seen.run::<i64>(&self.client, self.keys(user).all(), args).await.map(drop)
            }));
            let failed: Vec<_> =
                due.iter().zip(kept.await).filter(|(_, kept)| kept.is_err()).map(|(due, _)| &*due.user).collect();
            if !failed.is_empty() {
                self.users.retry(&failed);
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }

    /// Frees the places of mailboxes that have expired with their last message, or whose acknowledgement was interrupted.
    async fn sweep_places(self: Arc<Self>) {
        let places = self.scope.mailbox_places(self.fanout.name());
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            if !self.client.is_connected() {
                continue;
            }
            let args = vec![SWEEP_SIZE.to_string().into()];
            let users: Result<Vec<String>, _> = self.sample.run(&self.client, vec![places.clone()], args).await;
            for user in users.unwrap_or_default() {
                let exists: Result<i64, _> = self.client.exists(self.keys(&user).state).await;
                if exists == Ok(0) {
                    let _ = self.free_place(&user).await;
                }
            }
        }
    }
}

impl Mailboxes for MailboxesInRedis {
    fn settings(&self) -> &MailboxSettings {
        &self.0.settings
    }

    fn store<'a>(&'a self, message: &'a NewMessage<'a>) -> Pending<'a, Stored> {
        Box::pin(async move { self.0.store(message).await.map_err(unavailable) })
    }

    fn read<'a>(&'a self, user: &'a str, page: PageRequest) -> Pending<'a, MailboxPage> {
        Box::pin(async move { self.0.read(user, page, false).await.map_err(unavailable) })
    }

    fn acknowledge<'a>(&'a self, user: &'a str, acknowledgement: &'a Acknowledgement) -> Pending<'a, Removed> {
        Box::pin(async move { self.0.acknowledge(user, acknowledgement).await.map_err(unavailable) })
    }

    fn request(&self, request: MailboxRequest) -> Outcome<MailboxReply> {
        let shared = Arc::clone(&self.0);
        self.0.runtime.spawn(async move {
            let MailboxRequest { reply_to, user, action } = request;
            let turn = shared.turn(&user, reply_to.client).await;
            let result = match action {
                MailboxAction::Read(page) => MailboxResult::Read(match &turn {
                    Ok(_) => shared.read(&user, page, true).await.map_err(unavailable),
                    Err(error) => Err(error.clone()),
                }),
                MailboxAction::Acknowledge { acknowledgement, request } => {
                    let result = match &turn {
                        Ok(_) => shared.acknowledge(&user, &acknowledgement).await.map_err(unavailable),
                        Err(error) => Err(error.clone()),
                    };
                    MailboxResult::Acknowledged { request, result }
                }
            };
            drop(turn);
            shared.fanout.mailbox_reply(MailboxReply { reply_to, result });
        });
        Outcome::Pending
    }

    fn connected(&self, user: &str) {
        self.0.users.connected(user);
    }

    fn disconnected(&self, user: &str) {
        self.0.users.disconnected(user);
    }
}

/// A page from its parts. `None`: another program has changed the mailbox. The ids grow, so that a page always leads on, and
/// each message is a JSON object, because clients receive its text as it is.
fn page_of(after: MessageId, newest: &str, unread: u64, has_more: bool, flat: &[String]) -> Option<MailboxPage> {
    let (mut messages, mut last) = (Vec::with_capacity(flat.len() / 2), after);
    for pair in flat.chunks_exact(2) {
        let id = MessageId::parse(&pair[0]).filter(|id| *id > last)?;
        if !scripts::is_message(&pair[1]) {
            return None;
        }
        last = id;
        messages.push(Arc::new(StoredMessage { id, text: pair[1].as_str().into() }));
    }
    let leads_on = !has_more || !messages.is_empty();
    let newest = MessageId::parse(newest).filter(|_| leads_on)?;
    Some(MailboxPage { messages, newest, unread, has_more })
}

fn unavailable(error: ScriptError) -> Unavailable {
    error.unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(has_more: bool, flat: &[&str]) -> Option<MailboxPage> {
        let flat: Vec<String> = flat.iter().map(|text| (*text).to_owned()).collect();
        page_of(MessageId::parse("5").unwrap(), "9", 2, has_more, &flat)
    }

    #[test]
    fn a_page_that_our_scripts_did_not_store_is_not_accepted() {
        let read = page(true, &["6", r#"{"id":"6"}"#, "8", r#"{"event": "e"}"#]).unwrap();
        assert_eq!((read.messages.len(), read.newest.to_string(), read.has_more), (2, "9".to_owned(), true));
        assert!(page(false, &[]).is_some());
        for (has_more, flat) in [
            (true, &[] as &[&str]),
            (true, &["5", "{}"]),
            (true, &["6", "{}", "6", "{}"]),
            (false, &["8", "{}", "7", "{}"]),
            (false, &["x", "{}"]),
            (false, &["6", ""]),
            (false, &["6", "7"]),
            (false, &["6", "{}]}"]),
            (false, &["6", "{}\u{1e}41/other,"]),
            (false, &["6", "{\"a\":\"\u{1e}\"}"]),
        ] {
            assert_eq!(page(has_more, flat), None, "{flat:?}");
        }
    }
}
