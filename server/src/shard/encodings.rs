//! The encodings in use on one shard, by number.
//!
//! A membership stores the number of its encoding, so members that share an encoding are recognised by comparing two
//! integers. An encoding leaves the table with its last membership.

use crate::encoding::Encoding;
use crate::hub::EncodingId;
use hashbrown::HashMap;
use slab::Slab;
use std::sync::Arc;

/// The encodings of one shard.
#[derive(Debug, Default)]
pub(super) struct Encodings {
    entries: Slab<Entry>,
    /// Numbers by the address of the encoding, which its entry keeps alive.
    numbers: HashMap<usize, EncodingId>,
    /// The numbers of those that compress, by the address of the encoding inside; see [`crate::deflate`].
    deflated: HashMap<usize, EncodingId>,
}

#[derive(Debug)]
struct Entry {
    encoding: Arc<dyn Encoding>,
    memberships: usize,
}

// === impl Encodings ===

impl Encodings {
    /// Takes the number of an encoding for one more membership.
    pub(super) fn acquire(&mut self, encoding: &Arc<dyn Encoding>) -> EncodingId {
        let Self { entries, numbers, deflated } = self;
        let id = *numbers.entry(address(encoding)).or_insert_with(|| {
            let id = entries.insert(Entry { encoding: Arc::clone(encoding), memberships: 0 }) as EncodingId;
            if let Some(plain) = encoding.plain() {
                deflated.insert(address(plain), id);
            }
            id
        });
        self.entries[id as usize].memberships += 1;
        id
    }

    /// Returns a number that was taken for a membership.
    pub(super) fn release(&mut self, id: EncodingId) {
        let Some(entry) = self.entries.get_mut(id as usize) else { return };
        entry.memberships -= 1;
        if entry.memberships == 0 {
            let entry = self.entries.remove(id as usize);
            self.numbers.remove(&address(&entry.encoding));
            if let Some(plain) = entry.encoding.plain() {
                self.deflated.remove(&address(plain));
            }
        }
    }

    /// The number of an encoding, if a membership uses it.
    fn find(&self, encoding: &Arc<dyn Encoding>) -> Option<EncodingId> {
        self.numbers.get(&address(encoding)).copied()
    }

    /// The numbers under which a connection may have joined with an encoding of its protocol: that of the encoding, and that of
    /// the one that compresses it.
    pub(super) fn find_all(&self, encoding: &Arc<dyn Encoding>) -> impl Iterator<Item = EncodingId> {
        self.find(encoding).into_iter().chain(self.deflated.get(&address(encoding)).copied())
    }

    /// The encoding with that number.
    pub(super) fn get(&self, id: EncodingId) -> Option<&Arc<dyn Encoding>> {
        self.entries.get(id as usize).map(|entry| &entry.encoding)
    }
}

fn address(encoding: &Arc<dyn Encoding>) -> usize {
    Arc::as_ptr(encoding).cast::<()>() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::Deflate;
    use crate::encoding::Frame;
    use nodevent_protocol::history::Position;
    use nodevent_protocol::topic::Topic;

    #[derive(Debug)]
    struct Text(u8);

    impl Encoding for Text {
        fn publication(&self, text: &str, _position: Option<Position>) -> Frame {
            Frame::text(text)
        }

        fn gap(&self, topic: Topic<'_>, _position: Position) -> Frame {
            let room = topic.name();
            Frame::text(&format!("{room}{}", self.0))
        }
    }

    #[test]
    fn an_encoding_has_one_number_until_its_last_membership_ends() {
        let mut encodings = Encodings::default();
        let (one, other): (Arc<dyn Encoding>, Arc<dyn Encoding>) = (Arc::new(Text(1)), Arc::new(Text(2)));
        let id = encodings.acquire(&one);
        assert_eq!(encodings.acquire(&one), id);
        assert_ne!(encodings.acquire(&other), id);
        encodings.release(id);
        assert_eq!(encodings.find(&one), Some(id));
        encodings.release(id);
        assert_eq!(encodings.find(&one), None);
        assert!(encodings.get(id).is_none());
    }

    #[test]
    fn an_encoding_that_compresses_is_found_by_the_one_inside() {
        let deflate = Deflate::new(0, Arc::default());
        let mut encodings = Encodings::default();
        let plain: Arc<dyn Encoding> = Arc::new(Text(1));
        let deflated = deflate.encoding(&plain);
        let all = |encodings: &Encodings| encodings.find_all(&plain).collect::<Vec<_>>();
        let id = encodings.acquire(&deflated);
        assert_eq!(all(&encodings), [id]);
        let other = encodings.acquire(&plain);
        assert_eq!(all(&encodings), [other, id]);
        encodings.release(id);
        assert_eq!(all(&encodings), [other]);
        encodings.release(other);
        assert!(all(&encodings).is_empty() && encodings.deflated.is_empty());
    }
}
