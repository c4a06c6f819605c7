//! Stores one message for one user: the calls of the scripts, and what their replies mean.

use super::script::{Script, ScriptError};
use crate::mailbox::{MailboxSettings, NewMessage, Stored};
use fred::clients::Client;
use fred::types::Value;
use nodevent_protocol::history::Scope;
use nodevent_protocol::mailbox::{Create, Store, StoreReply, place_args};

/// What storing needs.
pub(super) struct MessageStore<'a> {
    pub(super) client: &'a Client,
    /// The script that stores.
    pub(super) store: &'a Script,
    /// The script that takes a place for the mailbox of a user who was never seen.
    pub(super) place: &'a Script,
    pub(super) scope: &'a Scope,
    pub(super) namespace: &'a str,
    pub(super) settings: &'a MailboxSettings,
}

// === impl MessageStore ===

impl MessageStore<'_> {
    /// Stores a message. `is_connected`: the user is connected, even if Redis has not been notified yet.
    ///
    /// # Errors
    /// [`ScriptError`]: Redis may have the message or not.
    pub(super) async fn store(&self, new: &NewMessage<'_>, is_connected: bool) -> Result<Stored, ScriptError> {
        let mut create = match self.settings.stores_for_unknown() {
            true => Create::NeedsPlace,
            false if is_connected => Create::Always,
            false => Create::Never,
        };
        let keys = self.scope.mailbox(self.namespace, new.user);
        let channel = self.scope.mailbox_channel(self.namespace);
        loop {
            let mut names = keys.all();
            names.extend(new.idempotency_key.map(|key| keys.idempotency(key)));
            let store = Store {
                channel: &channel,
                text: new.text,
                user: new.user,
                count: self.settings.count,
                bytes: self.settings.bytes,
                age: self.settings.age,
                create,
                ttl: new.ttl,
                idempotency_ttl: self.settings.idempotency_ttl(),
            };
            let args = store.args().into_iter().map(Value::from).collect();
            let (status, id, _unread, dropped): (String, String, u64, u64) =
                self.store.run(self.client, names, args).await?;
            match StoreReply::read(&status, &id, dropped) {
                Some(StoreReply::Stored { id, dropped }) => return Ok(Stored::Stored { id, dropped }),
                Some(StoreReply::Duplicate(id)) => return Ok(Stored::Duplicate(id)),
                Some(StoreReply::Unknown) => return Ok(Stored::Unknown),
                Some(StoreReply::NeedsPlace) if create == Create::NeedsPlace => {
                    if !self.take_place(new).await? {
                        return Ok(Stored::Full);
                    }
                }
                _ => {
                    return Err(ScriptError::from_redis(
                        "ERR unexpected reply of the script that stores a message",
                    ));
                }
            }
            create = Create::Always;
        }
    }

    async fn take_place(&self, new: &NewMessage<'_>) -> Result<bool, ScriptError> {
        let args = place_args(new.user, self.settings.age, self.settings.max_mailboxes_for(new));
        let args = args.into_iter().map(Value::from).collect();
        let places = self.scope.mailbox_places(self.namespace);
        let taken: i64 = self.place.run(self.client, vec![places], args).await?;
        Ok(taken == 1)
    }
}
