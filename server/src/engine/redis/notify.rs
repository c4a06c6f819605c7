//! Stores a message in the mailboxes of users for `nodevent notify --redis`, without a running server.

use super::mailbox_store::MessageStore;
use super::script::{Script, ScriptError};
use super::{COMMAND_TIMEOUT, client};
use crate::clock::now_ms;
use crate::config::redis::Redis as RedisConfig;
use crate::mailbox::{MailboxSettings, NewMessage, Stored};
use fred::interfaces::ClientLike;
use nodevent_protocol::mailbox::{self as scripts, message_text};
use nodevent_protocol::notification::Notification;
use std::time::Duration;

/// Maximum time to close the connection.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a message was not stored, or not for all users.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// It is larger than this. Bytes.
    #[error(
        "the message is larger than {0} bytes; send less, or raise `limits: max_mailbox_message` and `mailbox: bytes`"
    )]
    TooLarge(usize),
    /// There is no place for another mailbox.
    #[error("there is no place for another mailbox; raise `limits: max_mailboxes`, or name only users who exist")]
    Full,
    /// Redis did not confirm it.
    #[error("{0}; the message may have been stored; with `--key` it can be sent again without a duplicate")]
    Unavailable(String),
    /// There is no connection to Redis.
    #[error("{0}; nothing was stored; start Redis, or correct `redis` of the namespace")]
    NotConnected(String),
}

/// Stores a message. Returns its id for each user; `None`: the user is not known.
///
/// # Errors
/// [`NotifyError`]. The message may have been stored for the first users.
pub async fn notify(
    redis: &RedisConfig,
    namespace: &str,
    settings: MailboxSettings,
    notification: &Notification<'_>,
) -> Result<Vec<Option<String>>, NotifyError> {
    let text = message_text(&notification.event, notification.message, now_ms());
    if text.len() > settings.max_message {
        return Err(NotifyError::TooLarge(settings.max_message));
    }
    let client = client::builder(redis).and_then(|builder| builder.build().map_err(|error| error.to_string()));
    let client = client.map_err(NotifyError::NotConnected)?;
    let connected = tokio::time::timeout(COMMAND_TIMEOUT, client.init()).await;
    connected
        .map_err(|_| NotifyError::NotConnected(format!("no response within {} s", COMMAND_TIMEOUT.as_secs())))?
        .map_err(|error| NotifyError::NotConnected(error.details().to_owned()))?;
    let (store, place, scope) = (Script::new(scripts::STORE), Script::new(scripts::PLACE), redis.scope());
    let store = MessageStore {
        client: &client,
        store: &store,
        place: &place,
        scope: &scope,
        namespace,
        settings: &settings,
    };
    let mut ids = Vec::with_capacity(notification.users.len());
    for user in &notification.users {
        let (ttl, idempotency_key) = (notification.ttl, notification.key.as_deref());
        let new = NewMessage { user, text: &text, ttl, idempotency_key, is_limited: false };
        let stored = store.store(&new, false).await;
        ids.push(
            match stored.map_err(|ScriptError { unavailable, .. }| NotifyError::Unavailable(unavailable.reason))? {
                Stored::Stored { id, .. } | Stored::Duplicate(id) => Some(id.to_string()),
                Stored::Unknown => None,
                Stored::Full => return Err(NotifyError::Full),
            },
        );
    }
    let _ = tokio::time::timeout(QUIT_TIMEOUT, client.quit()).await;
    Ok(ids)
}
