//! Several publications with history in one call of the script [`super::PUBLISH_MANY`], so that what a call costs Redis is shared.

use super::position::Position;
use super::redis::{Keys, Publish};

/// Maximum number of publications in one call. Redis does nothing else during a call.
pub const MAX_BATCH: usize = 64;
/// Size at which a call accepts no further text. Bytes.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Calls of one publisher for one room that may be repeated. More are not in flight.
const MAX_CALLS: u64 = 1024;

/// The publications of one call, in their order.
#[derive(Clone, Debug)]
pub struct Batch {
    keys: Vec<String>,
    head: [String; 3],
    groups: Vec<[String; 5]>,
    publications: Vec<String>,
    bytes: usize,
}

/// What became of one publication: its position and the number of receivers, or why Redis does not accept it.
pub type BatchResult<'a> = Result<(Position, i64), &'a str>;

// === impl Batch ===

impl Batch {
    /// Begins a call. `first` has the keys and arguments of its first publication, whose `number` is unique for the
    /// `publisher`. A call that is repeated must have the same publications: it returns what it has returned before.
    #[must_use]
    pub fn new(publisher: u64, number: u64, keys: &Keys, first: &Publish<'_>) -> Self {
        let [.., new_epoch, _command, expiry] = first.args();
        let call = keys.idempotency(&format!("{publisher:016x}:{}", number % MAX_CALLS));
        let head = [number.to_string(), expiry, new_epoch];
        let mut batch = Self { keys: vec![call], head, groups: Vec::new(), publications: Vec::new(), bytes: 0 };
        batch.add(keys, first);
        batch
    }

    /// Adds a publication.
    pub fn add(&mut self, keys: &Keys, publish: &Publish<'_>) {
        self.keys.extend([keys.position.clone(), keys.log.clone()]);
        let [channel, text, size, age, position_ttl, _epoch, command, _expiry] = publish.args();
        let group = [channel, command, size, age, position_ttl];
        if self.groups.last() != Some(&group) {
            self.groups.push(group);
        }
        self.bytes += text.len();
        self.publications.extend([self.groups.len().to_string(), text]);
    }

    /// The number of publications.
    #[must_use]
    pub fn count(&self) -> usize {
        self.publications.len() / 2
    }

    /// Whether a text of `bytes` is too much for the call.
    #[must_use]
    pub fn is_full(&self, bytes: usize) -> bool {
        self.count() >= MAX_BATCH || self.bytes + bytes > MAX_BATCH_BYTES
    }

    /// Returns the script's keys and arguments in its order.
    #[must_use]
    pub fn into_call(self) -> (Vec<String>, Vec<String>) {
        let mut args = Vec::from(self.head);
        args.push(self.groups.len().to_string());
        args.extend(self.groups.into_iter().flatten());
        args.extend(self.publications);
        (self.keys, args)
    }

    /// Reads the script's reply: one result for each publication. `None`: it is not such a reply.
    #[must_use]
    pub fn parse(reply: &str) -> Option<Vec<BatchResult<'_>>> {
        let parse = |line: &'_ str| {
            let (position, receivers) = line.split_once(' ')?;
            Some((Position::parse(position)?, receivers.parse().ok()?))
        };
        reply
            .split('\n')
            .map(|line| line.strip_prefix('-').map_or_else(|| parse(line).map(Ok), |error| Some(Err(error))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Retention;
    use std::time::Duration;

    fn publish<'a>(channel: &'a str, text: &'a str) -> Publish<'a> {
        let idempotency_ttl = Duration::from_secs(60);
        Publish { channel, text, retention: Retention::default(), fresh_epoch: 1, idempotency_ttl, sharded: false }
    }

    #[test]
    fn publications_with_the_same_channel_and_retention_share_a_group() {
        let rooms = ["a", "b", "c"].map(|room| Keys::of("/n", room));
        let mut batch = Batch::new(10, 1025, &rooms[0], &publish("/n", "{1}"));
        batch.add(&rooms[1], &publish("/n", "{2}"));
        batch.add(&rooms[2], &publish("/other", "{3}"));
        assert_eq!(batch.count(), 3);
        let (keys, args) = batch.into_call();
        assert_eq!(keys.len(), 7);
        assert_eq!(keys[0], rooms[0].idempotency("000000000000000a:1"));
        assert_eq!(keys[3..5], [rooms[1].position.clone(), rooms[1].log.clone()]);
        let group = |channel| [channel, "PUBLISH", "100", "300000", "86400000"];
        let expected = [
            &["1025", "60000", "0000000000000001", "2"][..],
            &group("/n"),
            &group("/other"),
            &["1", "{1}", "1", "{2}", "2", "{3}"],
        ];
        assert_eq!(args, expected.concat());
    }

    #[test]
    fn a_call_is_full_by_number_and_by_bytes() {
        let keys = Keys::of("/n", "a");
        let mut batch = Batch::new(1, 1, &keys, &publish("/n", "{}"));
        assert!(!batch.is_full(MAX_BATCH_BYTES - 2) && batch.is_full(MAX_BATCH_BYTES - 1));
        (1..MAX_BATCH).for_each(|_| batch.add(&keys, &publish("/n", "{}")));
        assert!(batch.is_full(0));
    }

    #[test]
    fn a_reply_has_a_line_for_each_publication() {
        let position = Position { epoch: 10, offset: 3 };
        let reply = "000000000000000a:3 2\n-WRONGTYPE Operation against a key";
        let results = Batch::parse(reply).unwrap();
        assert_eq!(results, [Ok((position, 2)), Err("WRONGTYPE Operation against a key")]);
        for reply in ["", "x", "000000000000000a:3", "000000000000000a:3 x", "000000000000000a:3 1\n"] {
            assert_eq!(Batch::parse(reply), None, "{reply}");
        }
    }
}
