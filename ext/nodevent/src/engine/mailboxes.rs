//! Stores messages in the mailboxes of users, straight in Redis: with the scripts and the limits of the servers, which Redis
//! notifies in the same step.
//!
//! A server knows that a user is connected a moment before Redis does. So a message to a user who has never been connected
//! before may find the user unknown during that moment.

use super::lazy_client::{LazyClient, Script};
use super::redis_config;
use crate::process::Process;
use crate::signal::Signal;
use crate::target::{EngineTarget, MailboxTarget, Target};
use crate::text::printable;
use fred::prelude::Error;
use nodevent_protocol::history::Scope;
use nodevent_protocol::mailbox::{self, Create, PLACE, STORE, Store, StoreReply};
use nodevent_protocol::notification::Notification;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::time::timeout_at;

/// The ids of the stored messages, in the order of the users. `None`: the user is not known, and nothing was stored.
pub(crate) type Ids = Vec<Option<String>>;

/// A request to store a message; the caller waits for the signal.
pub(crate) type NotifyReply = Arc<Signal<Option<Result<Ids, NotifyError>>>>;

/// Why a message was not stored, or not for all users.
#[derive(Debug)]
pub(crate) enum NotifyError {
    /// It is invalid or too large. Nothing was stored.
    Invalid(String),
    /// The engine has rejected it, or did not reply in time.
    Failed(String),
}

/// Stores messages; see the head of this file.
pub(crate) struct Notifier {
    shared: Arc<Shared>,
    process: &'static Process,
}

struct Shared {
    client: LazyClient,
    scope: Scope,
    namespace: String,
    limits: MailboxTarget,
    store: Script,
    place: Script,
}

// === impl Notifier ===

impl Notifier {
    /// `None`: the target is a server, has no mailboxes, or is invalid.
    pub(crate) fn new(target: &Target, process: &'static Process) -> Option<Self> {
        let EngineTarget::Redis(redis) = &target.engine else { return None };
        let shared = Shared {
            client: LazyClient::new(redis_config::config(redis).ok()?),
            scope: Scope::new(redis.prefix.as_deref(), redis.db)?,
            namespace: redis.namespace.clone(),
            limits: redis.mailbox.clone()?,
            store: Script::new(STORE),
            place: Script::new(PLACE),
        };
        Some(Self { shared: Arc::new(shared), process })
    }

    /// Starts to store a message: the text of a JSON object, as it would be sent to a server.
    pub(crate) fn notify(&self, json: Vec<u8>, deadline: Instant) -> NotifyReply {
        let reply = NotifyReply::default();
        let (shared, result) = (Arc::clone(&self.shared), Arc::clone(&reply));
        self.process.spawn_task(async move {
            let stored = timeout_at(deadline.into(), shared.notify(&json)).await;
            // The caller has given up at the same moment.
            let stored = stored.unwrap_or_else(|_| Err(NotifyError::Failed("no response in time".to_owned())));
            result.change(|value| *value = Some(stored));
        });
        reply
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.process.spawn_task(async move { shared.client.quit().await });
    }
}

// === impl Shared ===

impl Shared {
    async fn notify(&self, json: &[u8]) -> Result<Ids, NotifyError> {
        let notification = Notification::parse(json, self.limits.max_users)
            .map_err(|invalid| NotifyError::Invalid(format!("{}; {}", invalid.error, invalid.hint)))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let text = mailbox::message_text(&notification.event, notification.message, now);
        let max = self.limits.max_message;
        if text.len() > max {
            let reason = format!(
                "the message is larger than {max} bytes; send less, or raise `limits: max_mailbox_message` and \
                 `mailbox: bytes`"
            );
            return Err(NotifyError::Invalid(reason));
        }
        let mut ids = Ids::with_capacity(notification.users.len());
        for user in &notification.users {
            ids.push(self.store(user, &text, &notification).await?);
        }
        Ok(ids)
    }

    /// Stores the message for one user.
    async fn store(
        &self,
        user: &str,
        text: &str,
        notification: &Notification<'_>,
    ) -> Result<Option<String>, NotifyError> {
        let MailboxTarget { count, bytes, age, .. } = self.limits;
        let mut create = if self.limits.keep_unknown || age.is_zero() { Create::NeedsPlace } else { Create::Never };
        let keys = self.scope.mailbox(&self.namespace, user);
        loop {
            let mut names = keys.all();
            names.extend(notification.key.as_deref().map(|key| keys.idempotency(key)));
            let channel = self.scope.mailbox_channel(&self.namespace);
            let (ttl, idempotency_ttl) = (notification.ttl, mailbox::idempotency_ttl(age));
            let store = Store { channel: &channel, text, user, count, bytes, age, create, ttl, idempotency_ttl };
            let reply =
                self.client.run::<(String, String, u64, u64)>(&self.store, names, store.args().into()).await;
            let (status, id, _unread, dropped) = reply.map_err(|error| failed(&error))?;
            match StoreReply::read(&status, &id, dropped) {
                Some(StoreReply::Stored { id, .. } | StoreReply::Duplicate(id)) => return Ok(Some(id.to_string())),
                Some(StoreReply::Unknown) => return Ok(None),
                Some(StoreReply::NeedsPlace) if create == Create::NeedsPlace => self.take_place(user).await?,
                _ => return Err(NotifyError::Failed("unexpected reply of Redis".to_owned())),
            }
            create = Create::Always;
        }
    }

    /// Takes a place for the mailbox of a user who was never seen.
    async fn take_place(&self, user: &str) -> Result<(), NotifyError> {
        let places = vec![self.scope.mailbox_places(&self.namespace)];
        let args = mailbox::place_args(user, self.limits.age, self.limits.max_mailboxes);
        match self.client.run::<i64>(&self.place, places, args).await.map_err(|error| failed(&error))? {
            1 => Ok(()),
            _ => Err(NotifyError::Failed(
                "there is no place for another mailbox; raise `limits: max_mailboxes`, or name only users who exist"
                    .to_owned(),
            )),
        }
    }
}

fn failed(error: &Error) -> NotifyError {
    NotifyError::Failed(printable(error.details()))
}
