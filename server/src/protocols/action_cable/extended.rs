//! Commands of the extended protocol: history, whispers and presence.

use super::subscriptions::Expects;
use super::{ActionCable, history_result};
use crate::history::Since;
use crate::outcome::Outcome;
use crate::presence::PresenceResult;
use crate::protocol::{Core, Millis, NEVER};
use crate::rate_limit::{RateLimit, TokenBucket};
use nodevent_protocol::action_cable::command::{Entry, History, Identifier};
use nodevent_protocol::action_cable::{frame, whisper};
use nodevent_protocol::page::PageHash;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Whispers of one connection: per second, and at once.
const WHISPERS: RateLimit = RateLimit::with_burst(20, 40);
/// Requests of one connection for the members of streams that may wait.
const MAX_LISTS: usize = 16;

/// What only clients of the extended protocol have.
#[derive(Debug)]
pub(super) struct Extended {
    /// The session with which the client continues, until it is read.
    pub(super) restores: Option<Box<str>>,
    /// The session of the connection.
    pub(super) session: Option<Box<str>>,
    /// When restored subscriptions are joined although the client has not said what it has.
    pub(super) join_restored_at: Millis,
    whispers: TokenBucket,
    lists: Vec<PendingList>,
}

/// As whom a client wants to be present, as soon as its subscription is complete.
#[derive(Debug)]
pub(super) struct OwnedEntry {
    id: Option<Box<str>>,
    info: Option<Box<str>>,
}

/// A request for the members of a stream that waits.
#[derive(Debug)]
struct PendingList {
    request: u64,
    identifier: Box<str>,
    has_records: bool,
}

/// The members of a stream, as the core lists them.
#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    members: Vec<Listed<'a>>,
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    user: &'a RawValue,
    #[serde(borrow)]
    info: &'a RawValue,
}

/// What a client of the extended protocol wants of a stream.
pub(super) fn since_of(history: &History<'_>, stream: &str) -> Since {
    match history.of(stream) {
        Some(Some(position)) => Since::Position(position),
        Some(None) => Since::Invalid,
        None => history.since.map_or(Since::FirstJoin, |seconds| Since::Time(seconds.saturating_mul(1000))),
    }
}

/// The members as the records of a frame. `None`: what they say about themselves cannot be sent.
fn records(list: &str) -> Option<String> {
    let list: List<'_> = serde_json::from_str(list).ok()?;
    let record = |one: &Listed<'_>| format!(r#"{{"id":{},"info":{}}}"#, one.user, one.info);
    Some(format!("[{}]", list.members.iter().map(record).collect::<Vec<_>>().join(",")))
}

// === impl Extended ===

impl Extended {
    pub(super) fn new(restores: Option<Box<str>>) -> Self {
        Self {
            restores,
            session: None,
            join_restored_at: NEVER,
            whispers: TokenBucket::new(WHISPERS, 0),
            lists: Vec::new(),
        }
    }
}

// === impl OwnedEntry ===

impl OwnedEntry {
    pub(super) fn of(entry: &Entry<'_>) -> Self {
        Self { id: entry.id.as_deref().map(Into::into), info: entry.info.map(Into::into) }
    }
}

// === impl ActionCable ===

impl ActionCable {
    /// A client wants what was published to its subscription since a position or a time.
    pub(super) fn history(&mut self, identifier: &Identifier<'_>, history: &History<'_>, core: &mut dyn Core) {
        let Some(subscription) = self.subscriptions.find(&identifier.json) else { return };
        let since = since_of(history, subscription.encoding().stream());
        if let Some(request) = subscription.restored_by() {
            return self.join_pending(request, since, Expects::History, core);
        }
        let encoding = subscription.encoding().clone();
        if since == Since::FirstJoin {
            // Without a position or a time nothing can be missing that the server knows of.
            return core.send_text(&frame::confirm_history(&identifier.json));
        }
        let request = self.subscriptions.next_request();
        match self.join(&encoding.shared(), encoding.stream(), since, request, core) {
            Ok(Outcome::Ready(joined)) => core.send_text(&history_result(encoding.identifier(), joined)),
            Ok(Outcome::Pending) => self.subscriptions.wait_for_history(&identifier.json, request),
            Ok(Outcome::Overloaded) => {}
            Err(_) => core.send_text(&frame::reject_history(&identifier.json)),
        }
    }

    /// A client sends a message to the others of its stream.
    pub(super) fn whisper(&mut self, identifier: &Identifier<'_>, data: &str, core: &mut dyn Core) {
        let extended = self.extended.as_mut().filter(|_| self.site.settings.has_whispers);
        let sender = extended.as_ref().and_then(|extended| PageHash::of(extended.session.as_deref()?));
        let (Some(extended), Some(sender)) = (extended, sender) else { return core.count_ignored_command() };
        let Some(subscription) = self.subscriptions.find(&identifier.json).filter(|one| one.is_confirmed()) else {
            return;
        };
        if !extended.whispers.allows(WHISPERS, core.now()) {
            return core.count_ignored_command();
        }
        let stream = subscription.encoding().stream();
        core.whisper(self.site.id, stream, whisper::publication(stream, data, sender));
    }

    /// A client wants to be present in its stream.
    pub(super) fn enter_stream(&mut self, identifier: &Identifier<'_>, entry: &Entry<'_>, core: &mut dyn Core) {
        let entry = OwnedEntry::of(entry);
        match self.subscriptions.find_mut(&identifier.json) {
            None => {}
            Some(subscription) if subscription.is_confirmed() => {
                let stream: Box<str> = subscription.encoding().stream().into();
                self.enter_as(&identifier.json, &stream, &entry, core);
            }
            Some(subscription) => subscription.entry = Some(Box::new(entry)),
        }
    }

    /// Makes the connection present as its own user, and as no other.
    pub(super) fn enter_as(&self, identifier: &str, stream: &str, entry: &OwnedEntry, core: &mut dyn Core) {
        let user = self.user(core);
        let is_own = entry.id.as_ref().is_none_or(|id| *id == user);
        if !is_own || core.enter(self.site.id, stream, entry.info.as_deref()).is_err() {
            core.send_text(&frame::presence_error(identifier));
        }
    }

    /// A client does not want to be present any more.
    pub(super) fn leave_stream(&mut self, identifier: &Identifier<'_>, core: &mut dyn Core) {
        if let Some(subscription) = self.subscriptions.find_mut(&identifier.json) {
            subscription.entry = None;
            core.exit(self.site.id, subscription.encoding().stream());
        }
    }

    /// A client wants to know who is present.
    pub(super) fn list(&mut self, identifier: &Identifier<'_>, has_records: bool, core: &mut dyn Core) {
        let Some(subscription) = self.subscriptions.find(&identifier.json).filter(|one| one.is_confirmed()) else {
            return core.send_text(&frame::presence_error(&identifier.json));
        };
        let stream: Box<str> = subscription.encoding().stream().into();
        let Some(extended) = self.extended.as_mut().filter(|extended| extended.lists.len() < MAX_LISTS) else {
            return core.send_text(&frame::presence_error(&identifier.json));
        };
        let request = self.subscriptions.next_request();
        let identifier = Box::from(&*identifier.json);
        match core.presence(self.site.id, &stream, Some(request).into()) {
            Ok(Outcome::Ready(list)) => send_list(&identifier, has_records, &Ok(list), core),
            Ok(Outcome::Pending) => extended.lists.push(PendingList { request, identifier, has_records }),
            Ok(Outcome::Overloaded) => core.send_text(&frame::presence_error(&identifier)),
            Err(error) => send_list(&identifier, has_records, &Err(error), core),
        }
    }

    /// A list of members arrived.
    pub(super) fn on_listed(&mut self, request: Option<u64>, result: &PresenceResult, core: &mut dyn Core) {
        let Some(extended) = &mut self.extended else { return };
        let Some(index) = extended.lists.iter().position(|one| Some(one.request) == request) else { return };
        let PendingList { identifier, has_records, .. } = extended.lists.swap_remove(index);
        if self.subscriptions.find(&identifier).is_some() {
            send_list(&identifier, has_records, result, core);
        }
    }
}

fn send_list(identifier: &str, has_records: bool, result: &PresenceResult, core: &mut dyn Core) {
    let info = |records: Option<&str>, count| frame::presence_info(identifier, count, records);
    let text = match result {
        Ok(list) if !has_records => Some(info(None, list.count)),
        Ok(list) => records(&list.text).map(|records| info(Some(&records), list.count)),
        Err(_) => None,
    };
    core.send_text(&text.unwrap_or_else(|| frame::presence_error(identifier)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_records_as_they_said_it() {
        let list = r#"{"count":2,"large":false,"complete":true,"members":[{"user":"a\"b","info":{"n": 1.50},"connections":1},{"user":"c","info":null,"connections":2}]}"#;
        let expected = r#"[{"id":"a\"b","info":{"n": 1.50}},{"id":"c","info":null}]"#;
        assert_eq!(records(list).as_deref(), Some(expected));
        let large = r#"{"count":2000,"large":true,"complete":false,"members":[]}"#;
        assert_eq!(records(large).as_deref(), Some("[]"));
        assert_eq!(records("[]"), None);
    }

    #[test]
    fn a_client_wants_what_follows_a_position_or_a_time() {
        let history = History { since: Some(17), streams: vec![("a".into(), None)] };
        assert_eq!(since_of(&history, "a"), Since::Invalid);
        assert_eq!(since_of(&history, "b"), Since::Time(17_000));
        assert_eq!(since_of(&History::default(), "b"), Since::FirstJoin);
    }
}
