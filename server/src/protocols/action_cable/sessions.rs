//! Sessions of the extended protocol: what a connection was subscribed to, for the next one of its client.
//!
//! An id is random, and a session belongs to one user: it is found only by both. It says what was subscribed to, and never
//! that it may be: the connection is admitted again, and every signed name is verified again.

use super::ActionCable;
use super::subscriptions::{Expects, Subscription};
use crate::cable::{CableQuery, CableWrite, MAX_SESSION};
use crate::close_reason::CloseReason;
use crate::history::Since;
use crate::outcome::Outcome;
use crate::protocol::{Core, Millis, NEVER};
use nodevent_protocol::action_cable::command::Identifier;
use nodevent_protocol::action_cable::frame;
use nodevent_protocol::action_cable::stored::CableKey;
use nodevent_protocol::page::PageHash;
use serde_json::value::RawValue;

/// The number of the request for a session. Those of subscriptions begin at 1.
pub(super) const REQUEST: u64 = 0;
/// The time within which the client of a restored connection asks for what it has missed. Milliseconds.
const HISTORY_TIMEOUT: Millis = 5_000;
/// The length of an id: hexadecimal digits.
const ID_DIGITS: usize = 32;

/// Whether a text can be the id of a session.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

// === impl ActionCable ===

impl ActionCable {
    /// Who the connection is. Empty: it has no identity.
    pub(super) fn user(&self, core: &dyn Core) -> Box<str> {
        core.identity(self.site.id).map_or_else(Box::default, |identity| identity.user.clone())
    }

    /// The connection is admitted. Welcomes it, or reads the session with which it continues.
    pub(super) fn enter(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        let restores = self.extended.as_mut().and_then(|extended| extended.restores.take());
        let Some(id) = restores else { return self.welcome(None, core) };
        let key = CableKey::session(&self.user(core), &id);
        match core.read_cable(self.site.id, CableQuery::Session { key }, REQUEST) {
            Outcome::Ready(found) => self.welcome(found.as_deref(), core),
            Outcome::Pending => {
                self.held.get_or_insert_default();
                Ok(())
            }
            Outcome::Overloaded => self.welcome(None, core),
        }
    }

    /// Sends the first frame.
    pub(super) fn welcome(&mut self, session: Option<&str>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let now = core.now();
        core.connected(self.site.id);
        if self.client.is_extended {
            let id = format!("{:032x}", rand::random::<u128>());
            core.enter_only_on_request();
            if self.site.settings.has_whispers
                && let Some(page) = PageHash::of(&id)
            {
                // A whisper excludes the connection that sends it.
                core.set_page(page);
            }
            self.restore(session, core);
            let identifiers: Vec<&str> = self.subscriptions.identifiers().collect();
            let text = match identifiers.is_empty() {
                true => frame::welcome(&id),
                false => frame::welcome_back(&id, &identifiers),
            };
            core.send_text(&text);
            let join_restored_at = if identifiers.is_empty() { NEVER } else { now + HISTORY_TIMEOUT };
            if let Some(extended) = &mut self.extended {
                (extended.session, extended.join_restored_at) = (Some(id.into()), join_restored_at);
            }
        } else {
            core.send_text(frame::WELCOME);
        }
        self.ping_at = now + 1 + rand::random::<Millis>() % self.client.ping_interval;
        self.subscribe_by = now + self.site.settings.connect_timeout;
        for text in self.held.take().map(|held| held.take()).unwrap_or_default() {
            self.on_text(&text, core)?;
        }
        Ok(())
    }

    /// Makes the subscriptions of a session. What the client has missed is sent when it asks for it, because until then only
    /// the client knows what it has.
    fn restore(&mut self, session: Option<&str>, core: &mut dyn Core) {
        let identifiers = session.and_then(|text| serde_json::from_str::<Vec<&RawValue>>(text).ok());
        for json in identifiers.unwrap_or_default() {
            let Some(identifier) = Identifier::of(json.get()) else { continue };
            match self.find_stream(&identifier) {
                Ok(found) if self.subscriptions.find(&identifier.json).is_none() => {
                    let encoding = self.encoding(&identifier, &found);
                    let request = self.subscriptions.next_request();
                    self.subscriptions.add(Subscription::restored(encoding, request));
                }
                Ok(_) => {}
                // The client subscribes to it again, and that is rejected.
                Err(error) => {
                    core.reject_join(self.site.id, error);
                }
            }
        }
    }

    /// When restored subscriptions are joined although the client has not said what it has.
    pub(super) fn join_restored_at(&self) -> Millis {
        self.extended.as_ref().map_or(NEVER, |extended| extended.join_restored_at)
    }

    /// The client of a restored connection has not asked for what it has missed: it receives what follows.
    pub(super) fn join_restored(&mut self, core: &mut dyn Core) {
        if let Some(extended) = &mut self.extended {
            extended.join_restored_at = NEVER;
        }
        for request in self.subscriptions.restored() {
            self.join_pending(request, Since::FirstJoin, Expects::Nothing, core);
        }
    }

    /// The connection is about to be closed, and its client may come back with its session.
    pub(super) fn leave_session(&mut self, reason: CloseReason, core: &mut dyn Core) {
        let is_over = matches!(
            reason,
            CloseReason::Revoked
                | CloseReason::WrongKeys
                | CloseReason::TokenExpired
                | CloseReason::Unauthorized
                | CloseReason::ConnectTimeout
        );
        let session = self.extended.as_mut().and_then(|extended| extended.session.take());
        let Some(id) = session.filter(|_| !is_over) else { return };
        let identifiers: Vec<&str> = self.subscriptions.identifiers().collect();
        let text = format!("[{}]", identifiers.join(","));
        if identifiers.is_empty() || text.len() > MAX_SESSION {
            return;
        }
        let key = CableKey::session(&self.user(core), &id);
        core.write_cable(self.site.id, CableWrite::Session { key, text: text.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_digits() {
        assert!(is_id(&"0a".repeat(16)));
        for text in ["", "a", &"0A".repeat(16), &"g".repeat(32), &"0".repeat(33)] {
            assert!(!is_id(text), "{text}");
        }
    }
}
