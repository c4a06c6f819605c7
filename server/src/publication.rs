//! Publications: what happened, where, and the frames it was encoded into.
//!
//! Engines create, store and replay publications. They know nothing about encodings. Shards ask a publication for its
//! frame in the encoding of a member. The first request encodes it, and all later ones share the result.

use crate::encoding::{Encoding, Frame};
use nodevent_protocol::history::Position;
use nodevent_protocol::page::PageHash;
use nodevent_protocol::publication::except_of;
use std::sync::{Arc, OnceLock};

/// The destination of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The members of one room.
    Room(Box<str>),
}

/// One event on its way.
#[derive(Debug)]
pub struct Publication {
    /// Its destination.
    pub target: Target,
    /// The object as it was published, with its position as the last member if it has one.
    pub text: Box<str>,
    /// Its place in the room's history. `None`: it is not stored.
    pub position: Option<Position>,
    /// The page that does not receive it, live or in a recovery.
    pub except: Option<PageHash>,
    frames: Frames,
}

/// A notice that publications before a position may be missing and cannot be recovered.
#[derive(Debug)]
pub struct Gap {
    /// The room.
    pub room: Box<str>,
    /// The position at which the room continues.
    pub position: Position,
    frames: Frames,
}

/// A message to the members of a room. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A publication.
    Publication(Arc<Publication>),
    /// A gap in the room's history.
    Gap(Arc<Gap>),
}

/// The frames of one notice, one for each encoding in use: a list that only grows.
#[derive(Debug, Default)]
struct Frames(OnceLock<Box<Encoded>>);

#[derive(Debug)]
struct Encoded {
    /// Held so that no other encoding can take its address while this frame exists.
    encoding: Arc<dyn Encoding>,
    frame: Frame,
    next: Frames,
}

// === impl Frames ===

impl Frames {
    /// The frame for `encoding`. `encode` runs once for all callers on all threads.
    fn get(&self, encoding: &Arc<dyn Encoding>, encode: impl Fn() -> Frame) -> &Frame {
        let mut frames = self;
        loop {
            let encoded = frames.0.get_or_init(|| {
                Box::new(Encoded { encoding: Arc::clone(encoding), frame: encode(), next: Self::default() })
            });
            if std::ptr::addr_eq(Arc::as_ptr(&encoded.encoding), Arc::as_ptr(encoding)) {
                return &encoded.frame;
            }
            frames = &encoded.next;
        }
    }
}

// === impl Target ===

impl Target {
    /// The room.
    pub fn room(&self) -> &str {
        let Self::Room(room) = self;
        room
    }
}

// === impl Publication ===

impl Publication {
    /// A publication in a room. `text` contains the position already.
    pub fn in_room(room: &str, text: impl Into<Box<str>>, position: Option<Position>) -> Arc<Self> {
        let (target, text) = (Target::Room(room.into()), text.into());
        let except = except_of(&text);
        Arc::new(Self { target, text, position, except, frames: Frames::default() })
    }

    /// Whether the connections of a page receive it.
    pub fn is_for(&self, page: Option<PageHash>) -> bool {
        self.except.is_none() || self.except != page
    }

    /// Its frame in an encoding.
    pub fn frame(&self, encoding: &Arc<dyn Encoding>) -> &Frame {
        self.frames.get(encoding, || encoding.publication(&self.text, self.position))
    }
}

// === impl Notice ===

impl Notice {
    /// A notice of a gap in a room.
    pub fn gap(room: &str, position: Position) -> Self {
        Self::Gap(Arc::new(Gap { room: room.into(), position, frames: Frames::default() }))
    }

    /// The room whose members receive it.
    pub fn room(&self) -> &str {
        match self {
            Self::Publication(publication) => publication.target.room(),
            Self::Gap(gap) => &gap.room,
        }
    }

    /// Its place in the room's history. A gap notice has none.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Publication(publication) => publication.position,
            Self::Gap(_) => None,
        }
    }

    /// The page that does not receive it.
    pub fn except(&self) -> Option<PageHash> {
        match self {
            Self::Publication(publication) => publication.except,
            Self::Gap(_) => None,
        }
    }

    /// Whether the connections of a page receive it.
    pub fn is_for(&self, page: Option<PageHash>) -> bool {
        match self {
            Self::Publication(publication) => publication.is_for(page),
            Self::Gap(_) => true,
        }
    }

    /// Its size before it is encoded. Bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Publication(publication) => publication.text.len(),
            Self::Gap(gap) => gap.room.len(),
        }
    }

    /// Its frame in an encoding.
    pub fn frame(&self, encoding: &Arc<dyn Encoding>) -> &Frame {
        match self {
            Self::Publication(publication) => publication.frame(encoding),
            Self::Gap(gap) => gap.frames.get(encoding, || encoding.gap(&gap.room, gap.position)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// Prefixes the text, and counts how often it encodes.
    #[derive(Debug, Default)]
    struct Prefix(&'static str, AtomicUsize);

    impl Encoding for Prefix {
        fn publication(&self, text: &str, _position: Option<Position>) -> Frame {
            self.1.fetch_add(1, Relaxed);
            Frame::text(&format!("{}{text}", self.0))
        }

        fn gap(&self, room: &str, _position: Position) -> Frame {
            Frame::text(room)
        }
    }

    #[test]
    fn each_encoding_encodes_a_publication_once_for_all_threads() {
        let counters: Vec<Arc<Prefix>> =
            ["a", "b", "c"].into_iter().map(|prefix| Arc::new(Prefix(prefix, AtomicUsize::new(0)))).collect();
        let publication = Publication::in_room("r", "{}", None);
        std::thread::scope(|scope| {
            for turn in 0..6 {
                let (counters, publication) = (&counters, &publication);
                scope.spawn(move || {
                    for index in 0..3 {
                        let counter = &counters[(index + turn) % 3];
                        let encoding: Arc<dyn Encoding> = Arc::clone(counter) as _;
                        let expected = format!("{}{{}}", counter.0);
                        assert_eq!(publication.frame(&encoding).payload(), expected.as_bytes());
                    }
                });
            }
        });
        for counter in counters {
            assert_eq!(counter.1.load(Relaxed), 1, "{}", counter.0);
        }
    }
}
