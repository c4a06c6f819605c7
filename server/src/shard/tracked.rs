//! What a connection receives, for the offsets with which its client can be restored after a reconnect.
//!
//! Only connections whose protocol asks for it are tracked. Their frames are their own, since each ends with the sealed
//! state after it; the part before that is shared with all members.

use crate::connection_state::{MAX_RECEIVED, MAX_STATE, Sealer};
use crate::encoding::{Encoding, Frame};
use crate::history::Since;
use crate::hub::RoomId;
use crate::protocol::RecoveryStatus;
use nodevent_protocol::history::Position;
use nodevent_protocol::publication::PublicationId;
use std::sync::Arc;

/// The tracked namespaces of one connection. A connection without any uses no heap.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "8 bytes instead of 24 in a connection that is not tracked")]
pub(super) struct Tracked(Option<Box<Vec<TrackedNamespace>>>);

#[derive(Debug)]
struct TrackedNamespace {
    namespace: u16,
    sealer: Sealer,
    topics: Vec<TrackedTopic>,
    /// The names and credentials of the topics. Bytes.
    bytes: usize,
    /// The last copies of publications for several targets, oldest first.
    received: Vec<PublicationId>,
    /// Whether its client does not have the current topics.
    is_changed: bool,
}

struct TrackedTopic {
    room: RoomId,
    name: Box<str>,
    credential: Credential,
    position: Option<Position>,
    /// Whether the join is complete. Until then the client does not know it.
    is_joined: bool,
}

/// What restores a membership.
#[derive(Default, PartialEq, Eq)]
enum Credential {
    #[default]
    None,
    Text(Box<str>),
    /// It is not kept, because the state of its connection would be longer than [`MAX_STATE`].
    TooLong,
}

/// The part of a credential that is enough to see whether it is too long for a state.
pub(super) fn measurable(credential: &str) -> &str {
    let end = (MAX_STATE..credential.len()).find(|end| credential.is_char_boundary(*end));
    end.map_or(credential, |end| &credential[..end])
}

/// What a member received: which publication, as a copy of what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) room: RoomId,
    pub(super) position: Option<Position>,
    pub(super) id: Option<PublicationId>,
}

// === impl Tracked ===

impl Tracked {
    /// Whether the connection is tracked in some namespace.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Starts to track a namespace, or continues with another sealer.
    pub(super) fn start(&mut self, namespace: u16, sealer: Sealer) {
        match self.get(namespace) {
            Some(one) => (one.sealer, one.is_changed) = (sealer, true),
            None => {
                let (topics, received) = (Vec::new(), Vec::new());
                let one = TrackedNamespace { namespace, sealer, topics, bytes: 0, received, is_changed: true };
                self.0.get_or_insert_default().push(one);
            }
        }
    }

    /// Ends the tracking of a namespace. Returns the instance whose states are not valid any more.
    pub(super) fn end(&mut self, namespace: u16) -> Option<u64> {
        let all = self.0.as_mut()?;
        let index = all.iter().position(|one| one.namespace == namespace)?;
        let ended = all.swap_remove(index);
        if all.is_empty() {
            self.0 = None;
        }
        Some(ended.sealer.instance())
    }

    fn get(&mut self, namespace: u16) -> Option<&mut TrackedNamespace> {
        self.0.as_mut()?.iter_mut().find(|one| one.namespace == namespace)
    }

    fn find(&mut self, room: RoomId) -> Option<(&mut TrackedNamespace, usize)> {
        self.0.as_mut()?.iter_mut().find_map(|one| {
            let index = one.topics.iter().position(|topic| topic.room == room)?;
            Some((one, index))
        })
    }

    /// The connection joins a topic. `kept` is what restores the membership.
    pub(super) fn join(&mut self, namespace: u16, room: RoomId, name: &str, kept: Option<&str>, since: Since) {
        let Some(one) = self.get(namespace) else { return };
        let position = match since {
            Since::Position(position) => Some(position),
            Since::FirstJoin | Since::Beginning | Since::Time(_) | Since::Invalid => None,
        };
        let index = one.topics.iter().position(|topic| topic.room == room).unwrap_or_else(|| {
            let is_joined = position.is_some();
            one.bytes += name.len();
            one.topics.push(TrackedTopic {
                room,
                name: name.into(),
                credential: Credential::None,
                position,
                is_joined,
            });
            one.topics.len() - 1
        });
        if let Some(kept) = kept {
            let old = std::mem::take(&mut one.topics[index].credential);
            one.bytes -= old.len();
            one.topics[index].credential = match one.bytes + kept.len() <= MAX_STATE {
                true => Credential::Text(kept.into()),
                false => Credential::TooLong,
            };
            one.bytes += one.topics[index].credential.len();
        }
        one.is_changed = true;
    }

    /// The connection has left a topic.
    pub(super) fn leave(&mut self, room: RoomId) {
        if let Some((one, index)) = self.find(room) {
            let left = one.topics.swap_remove(index);
            one.bytes -= left.name.len() + left.credential.len();
            one.is_changed = true;
        }
    }

    /// The connection has received what it had missed in a topic.
    pub(super) fn recovered(&mut self, room: RoomId, recovery: Option<RecoveryStatus>) {
        if let Some((one, index)) = self.find(room) {
            let topic = &mut one.topics[index];
            topic.position = recovery.and_then(|recovery| recovery.position).or(topic.position);
            topic.is_joined = true;
            one.is_changed = true;
        }
    }

    /// The connection has received copies before.
    pub(super) fn remember(&mut self, namespace: u16, received: &[PublicationId]) {
        if let Some(one) = self.get(namespace) {
            one.received = received.to_vec();
        }
    }

    /// The connection has received a publication, or does not receive it.
    pub(super) fn pass(&mut self, passed: Passed) {
        let Some((one, index)) = self.find(passed.room) else { return };
        one.topics[index].position = passed.position.or(one.topics[index].position);
        if let Some(id) = passed.id.filter(|id| !one.received.contains(id)) {
            if one.received.len() >= MAX_RECEIVED {
                one.received.remove(0);
            }
            one.received.push(id);
        }
    }

    /// The connection receives a frame: the frame with the state after it.
    pub(super) fn stamp(
        &mut self,
        namespace: u16,
        user: &str,
        passed: Passed,
        encoding: &Arc<dyn Encoding>,
        frame: Frame,
    ) -> Frame {
        self.pass(passed);
        let offset = self.offset(namespace, user);
        offset.and_then(|offset| encoding.with_offset(&frame, &offset)).unwrap_or(frame)
    }

    /// The sealed state in a namespace, for the client. Empty: the connection cannot be restored. `None`: it is not
    /// tracked.
    pub(super) fn offset(&mut self, namespace: u16, user: &str) -> Option<String> {
        let one = self.get(namespace)?;
        one.is_changed = false;
        if one.topics.iter().any(|topic| topic.credential == Credential::TooLong) {
            return Some(String::new());
        }
        let joined: Vec<_> = one
            .topics
            .iter()
            .filter(|topic| topic.is_joined)
            .map(|topic| (&*topic.name, topic.credential.kept(), topic.position))
            .collect();
        Some(one.sealer.seal(user, joined.into_iter(), &one.received).unwrap_or_default())
    }

    /// Whether the topics in a namespace have changed since the last offset.
    pub(super) fn is_changed(&mut self, namespace: u16) -> bool {
        self.get(namespace).is_some_and(|one| one.is_changed)
    }
}

// === impl Credential ===

impl Credential {
    fn kept(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::None | Self::TooLong => None,
        }
    }

    fn len(&self) -> usize {
        self.kept().map_or(0, str::len)
    }
}

impl std::fmt::Debug for TrackedTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The credential is a secret.
        f.debug_struct("TrackedTopic").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection_state::Settings;
    use crate::hub::Hub;
    use crate::interest::Interest;
    use nodevent_protocol::key::Secret;
    use std::time::Duration;

    /// The state in `/a`, opened.
    fn topics(tracked: &mut Tracked, settings: &Settings) -> Option<usize> {
        let offset = tracked.offset(0, "").expect("it is tracked");
        settings.open("/a", "pid", &offset).map(|state| state.topics.len())
    }

    #[test]
    fn no_more_credentials_are_kept_than_a_state_has() {
        let settings = Settings::new(Duration::from_secs(120), &[Secret::new("a-secret-of-a-namespace").unwrap()]);
        let mut tracked = Tracked::default();
        tracked.start(0, settings.sealer("/a", "pid").unwrap());
        let mut hub = Hub::new(Arc::new(Interest::new(1)), 0);
        let rooms: Vec<RoomId> = (0..100)
            .map(|number| match hub.join(0, 0, &format!("r{number}"), 0, 100) {
                crate::hub::JoinOutcome::Joined(id) => id,
                other => panic!("{other:?}"),
            })
            .collect();
        let join = |tracked: &mut Tracked, number: usize, kept: &str| {
            tracked.join(0, rooms[number], &format!("r{number}"), Some(kept), Since::FirstJoin);
            tracked.recovered(rooms[number], None);
        };
        let kept = |tracked: &Tracked| -> usize {
            tracked
                .0
                .iter()
                .flat_map(|all| all.iter())
                .flat_map(|one| &one.topics)
                .map(|one| one.credential.len())
                .sum()
        };
        join(&mut tracked, 0, "key");
        assert_eq!((kept(&tracked), topics(&mut tracked, &settings)), (3, Some(1)));
        let long = "k".repeat(1 << 20);
        for number in 1..100 {
            join(&mut tracked, number, &long);
            join(&mut tracked, number, &"k".repeat(1_000));
            join(&mut tracked, number, measurable(&long));
        }
        assert!(kept(&tracked) <= MAX_STATE, "{}", kept(&tracked));
        assert_eq!(topics(&mut tracked, &settings), None, "a connection with a longer state is not restored");
        for room in &rooms[1..] {
            tracked.leave(*room);
        }
        assert_eq!((kept(&tracked), topics(&mut tracked, &settings)), (3, Some(1)));
        assert_eq!(tracked.0.as_ref().map(|all| all[0].bytes), Some("r0".len() + 3));
    }

    #[test]
    fn a_part_of_a_credential_is_as_much_too_long_as_all_of_it() {
        assert_eq!(measurable("key"), "key");
        let long = "\u{e4}".repeat(MAX_STATE);
        assert!((MAX_STATE..MAX_STATE + 4).contains(&measurable(&long).len()));
        assert_eq!(measurable(&long[..MAX_STATE]).len(), MAX_STATE);
    }
}
