//! Publications: what happened, where, and the frames it was encoded into.
//!
//! Engines create, store and replay publications. They know nothing about encodings. Shards ask a publication for its
//! frame in the encoding of a member. The first request encodes it, and all later ones share the result.

use crate::encoding::{Encoding, Frame};
use nodevent_protocol::history::Position;
use nodevent_protocol::page::PageHash;
use nodevent_protocol::publication::{Marks, PublicationId, PublicationRef, except_users, marks_of};
use nodevent_protocol::topic::Topic;
use nodevent_protocol::trace::{self, TraceContext};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// One event on its way.
#[derive(Debug)]
pub struct Publication {
    /// The name of its topic: a room, or that of a user or of all connections.
    pub topic: Arc<str>,
    /// The object as it was published, with its position as the last member if it has one.
    pub text: Arc<str>,
    /// Its place in the topic's history. `None`: it is not stored.
    pub position: Option<Position>,
    /// Who does not receive it, live or in a recovery.
    pub marks: Marks,
    /// The users whose connections do not receive it, sorted.
    except_users: Box<[Box<str>]>,
    /// Its trace, if it is sampled and new: what is read from a history has none.
    pub trace: Option<Box<Trace>>,
    /// Its frames while it is delivered. `None`: it is that of a history, and few connections ever need one.
    frames: Option<Frames>,
    /// Those of encodings that compress, which are small and cost much. The copy in a history shares them.
    compressed: Arc<Frames>,
}

/// The trace of a publication.
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    /// The trace and the span below which the spans of this publication belong.
    pub context: TraceContext,
    /// When the engine had the publication.
    pub began: Instant,
}

/// The text of a stored publication, read and not yet placed. To find out who does not receive it takes as long as it is
/// large, so it is done as soon as the text is read, and not for a whole history at once.
#[derive(Debug)]
pub struct StoredText {
    text: Arc<str>,
    marks: Marks,
    except_users: Box<[Box<str>]>,
}

/// A notice that publications before a position may be missing and cannot be recovered.
#[derive(Debug)]
pub struct Gap {
    /// The name of the topic.
    pub topic: Box<str>,
    /// The position at which the topic continues.
    pub position: Position,
    frames: Frames,
}

/// A message to the members of a room, the connections of a user, or all connections. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A publication.
    Publication(Arc<Publication>),
    /// A gap in the topic's history.
    Gap(Arc<Gap>),
}

/// The frames that one notice keeps, of those that are compressed and of the others. Other encodings, such as those of very
/// many subscriptions with identifiers of their own, encode it again for each batch.
const MAX_KEPT_FRAMES: usize = 6;

/// How often a thread looks whether another one has encoded a frame before it sleeps until then. To encode takes about a
/// microsecond, and to sleep and wake up ten times as long.
const MAX_SPINS: usize = 200;

/// The frames of one notice, one for each encoding in use: a list that only grows.
#[derive(Debug, Default)]
struct Frames {
    first: OnceLock<Box<Encoded>>,
    /// Whether a thread encodes the first one, or has.
    is_claimed: AtomicBool,
}

#[derive(Debug)]
struct Encoded {
    /// Held so that no other encoding can take its address while this frame exists.
    encoding: Arc<dyn Encoding>,
    frame: Frame,
    next: Frames,
}

// === impl Frames ===

impl Frames {
    /// The frame for `encoding`. `encode` runs once for all callers on all threads, for the first [`MAX_KEPT_FRAMES`] encodings.
    /// It learns whether the frame is kept.
    fn get(&self, encoding: &Arc<dyn Encoding>, encode: impl Fn(bool) -> Frame) -> Frame {
        let mut frames = self;
        for _ in 0..MAX_KEPT_FRAMES {
            if frames.first.get().is_none() && frames.is_claimed.swap(true, Relaxed) {
                frames.spin();
            }
            let encoded = frames.first.get_or_init(|| {
                Box::new(Encoded { encoding: Arc::clone(encoding), frame: encode(true), next: Self::default() })
            });
            if std::ptr::addr_eq(Arc::as_ptr(&encoded.encoding), Arc::as_ptr(encoding)) {
                return encoded.frame.clone();
            }
            frames = &encoded.next;
        }
        encode(false)
    }

    /// Waits a short time for the thread that encodes.
    fn spin(&self) {
        for _ in 0..MAX_SPINS {
            if self.first.get().is_some() {
                return;
            }
            std::hint::spin_loop();
        }
    }
}

// === impl StoredText ===

impl StoredText {
    /// `text` contains the position already.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        let (text, _) = separate(text.into());
        let marks = marks_of(&text);
        let except_users = excluded(&text, marks);
        Self { text, marks, except_users }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The publication, in a topic and at a position.
    pub fn placed(self, topic: &str, position: Option<Position>) -> Arc<Publication> {
        let Self { text, marks, except_users } = self;
        let (topic, frames, compressed) = (topic.into(), Some(Frames::default()), Arc::default());
        Arc::new(Publication { topic, text, position, marks, except_users, trace: None, frames, compressed })
    }

    /// The publication, for a history in memory; see [`Publication::for_history`].
    pub fn for_history(self, topic: &Arc<str>, position: Position) -> Arc<Publication> {
        let Self { text, marks, except_users } = self;
        let (topic, position, compressed) = (Arc::clone(topic), Some(position), Arc::default());
        Arc::new(Publication { topic, text, position, marks, except_users, trace: None, frames: None, compressed })
    }
}

// === impl Publication ===

impl Publication {
    /// A publication that was stored. `text` contains the position already.
    pub fn stored(topic: &str, text: impl Into<Arc<str>>, position: Option<Position>) -> Arc<Self> {
        StoredText::new(text).placed(topic, position)
    }

    /// A publication that was parsed. `text` contains the position that the engine has assigned.
    pub fn parsed(
        publication: &PublicationRef<'_>,
        text: impl Into<Arc<str>>,
        position: Option<Position>,
    ) -> Arc<Self> {
        let (topic, (text, trace)) = ((*publication.topic).into(), separate(text.into()));
        let (marks, except_users) = (publication.marks, excluded(&text, publication.marks));
        let (frames, compressed) = (Some(Frames::default()), Arc::default());
        Arc::new(Self { topic, text, position, marks, except_users, trace, frames, compressed })
    }

    /// The same publication for a history in memory: it shares the texts, and keeps no frames that are not compressed.
    /// `topic` is the name that all publications of the topic share.
    pub fn for_history(&self, topic: &Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            topic: Arc::clone(topic),
            text: Arc::clone(&self.text),
            position: self.position,
            marks: self.marks,
            except_users: self.except_users.clone(),
            trace: None,
            frames: None,
            compressed: Arc::clone(&self.compressed),
        })
    }

    /// Whether the connections of a page receive it.
    pub fn is_for(&self, page: Option<PageHash>) -> bool {
        self.marks.except.is_none() || self.marks.except != page
    }

    /// The memory of the users whose connections do not receive it. Bytes.
    pub fn excluded_bytes(&self) -> usize {
        let one = |user: &str| size_of::<Box<str>>() + user.len().next_multiple_of(16);
        self.except_users.iter().map(|user| one(user)).sum()
    }

    /// Whether the connections of a user do not receive it.
    pub fn excludes(&self, user: &str) -> bool {
        self.except_users.binary_search_by(|one| (**one).cmp(user)).is_ok()
    }

    /// Its frame in an encoding.
    pub fn frame(&self, encoding: &Arc<dyn Encoding>) -> Frame {
        self.frame_by(encoding, |is_kept| match is_kept {
            true => encoding.publication(&self.text, self.position),
            false => encoding.publication_for_few(&self.text, self.position),
        })
    }

    /// The same for one connection that recovers: perhaps no other one ever needs it.
    pub fn frame_for_one(&self, encoding: &Arc<dyn Encoding>) -> Frame {
        self.frame_by(encoding, |_| encoding.publication_for_few(&self.text, self.position))
    }

    fn frame_by(&self, encoding: &Arc<dyn Encoding>, encode: impl Fn(bool) -> Frame) -> Frame {
        let frames = if encoding.plain().is_some() { Some(&*self.compressed) } else { self.frames.as_ref() };
        match frames {
            Some(frames) => frames.get(encoding, encode),
            None => encode(false),
        }
    }
}

/// Separates the trace from a text, so that no client receives it.
fn separate(text: Arc<str>) -> (Arc<str>, Option<Box<Trace>>) {
    match trace::separate(&text) {
        None => (text, None),
        Some((context, text)) => {
            (text.into(), context.map(|context| Box::new(Trace { context, began: Instant::now() })))
        }
    }
}

/// The text of a publication without its trace, as it is in [`Publication::text`].
pub fn without_trace(text: &str) -> Cow<'_, str> {
    trace::separate(text).map_or(Cow::Borrowed(text), |(_, text)| Cow::Owned(text))
}

/// The users who do not receive a publication, sorted.
fn excluded(text: &str, marks: Marks) -> Box<[Box<str>]> {
    if !marks.excludes_users {
        return Box::default();
    }
    let mut users: Vec<Box<str>> = except_users(text).into_iter().map(|user| (*user).into()).collect();
    users.sort_unstable();
    users.into()
}

// === impl Notice ===

impl Notice {
    /// A notice of a gap in a topic.
    pub fn gap(topic: &str, position: Position) -> Self {
        Self::Gap(Arc::new(Gap { topic: topic.into(), position, frames: Frames::default() }))
    }

    /// The name of the topic.
    pub fn topic(&self) -> &str {
        match self {
            Self::Publication(publication) => &publication.topic,
            Self::Gap(gap) => &gap.topic,
        }
    }

    /// Its place in the topic's history. A gap notice has none.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Publication(publication) => publication.position,
            Self::Gap(_) => None,
        }
    }

    /// Its trace, if it is sampled.
    pub fn trace(&self) -> Option<&Trace> {
        match self {
            Self::Publication(publication) => publication.trace.as_deref(),
            Self::Gap(_) => None,
        }
    }

    /// Who does not receive it.
    pub fn marks(&self) -> Marks {
        match self {
            Self::Publication(publication) => publication.marks,
            Self::Gap(_) => Marks::default(),
        }
    }

    /// The event of which it is a copy.
    pub fn id(&self) -> Option<PublicationId> {
        self.marks().id
    }

    /// Whether the connections of a page receive it.
    pub fn is_for(&self, page: Option<PageHash>) -> bool {
        match self {
            Self::Publication(publication) => publication.is_for(page),
            Self::Gap(_) => true,
        }
    }

    /// Whether the connections of a user do not receive it.
    pub fn excludes(&self, user: Option<&str>) -> bool {
        match self {
            Self::Publication(publication) => user.is_some_and(|user| publication.excludes(user)),
            Self::Gap(_) => false,
        }
    }

    /// The notice, in an encoding, that a connection does not receive it, if clients follow positions.
    pub fn skipped(&self, encoding: &Arc<dyn Encoding>) -> Option<Frame> {
        encoding.skipped(Topic::parse(self.topic()), self.position()?)
    }

    /// Its size before it is encoded. Bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Publication(publication) => publication.text.len(),
            Self::Gap(gap) => gap.topic.len(),
        }
    }

    /// Its frame in an encoding.
    pub fn frame(&self, encoding: &Arc<dyn Encoding>) -> Frame {
        match self {
            Self::Publication(publication) => publication.frame(encoding),
            Self::Gap(gap) => gap.frames.get(encoding, |_| encoding.gap(Topic::parse(&gap.topic), gap.position)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Prefixes the text, and counts how often it encodes.
    #[derive(Debug, Default)]
    struct Prefix(&'static str, AtomicUsize);

    impl Encoding for Prefix {
        fn publication(&self, text: &str, _position: Option<Position>) -> Frame {
            self.1.fetch_add(1, Relaxed);
            Frame::text(&format!("{}{text}", self.0))
        }

        fn gap(&self, topic: Topic<'_>, _position: Position) -> Frame {
            Frame::text(&topic.name())
        }
    }

    #[test]
    fn each_encoding_encodes_a_publication_once_for_all_threads() {
        let counters: Vec<Arc<Prefix>> =
            ["a", "b", "c"].into_iter().map(|prefix| Arc::new(Prefix(prefix, AtomicUsize::new(0)))).collect();
        let publication = Publication::stored("r", "{}", None);
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

    /// Compresses what another encoding has encoded.
    #[derive(Debug)]
    struct Short(Arc<dyn Encoding>);

    impl Encoding for Short {
        fn publication(&self, _text: &str, _position: Option<Position>) -> Frame {
            Frame::text("short")
        }

        fn gap(&self, topic: Topic<'_>, position: Position) -> Frame {
            self.0.gap(topic, position)
        }

        fn plain(&self) -> Option<&Arc<dyn Encoding>> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_history_keeps_compressed_frames_only_and_shares_them_with_the_delivery() {
        let plain: Arc<dyn Encoding> = Arc::new(Prefix("a", AtomicUsize::new(0)));
        let short: Arc<dyn Encoding> = Arc::new(Short(Arc::clone(&plain)));
        let publication = Publication::stored("r", "{}", None);
        let stored = publication.for_history(&"r".into());
        assert_eq!(stored.frame(&plain).payload(), publication.frame(&plain).payload());
        assert!(!Arc::ptr_eq(stored.frame(&plain).websocket(), stored.frame(&plain).websocket()));
        assert!(Arc::ptr_eq(publication.frame(&plain).websocket(), publication.frame(&plain).websocket()));
        let compressed = publication.frame(&short);
        drop(publication);
        assert!(Arc::ptr_eq(stored.frame_for_one(&short).websocket(), compressed.websocket()));
    }

    #[test]
    fn a_notice_keeps_few_frames_however_many_encodings_there_are() {
        let publication = Publication::stored("r", "{}", None);
        let mut encodings = Vec::new();
        for _ in 0..1_000 {
            let encoding: Arc<dyn Encoding> = Arc::new(Prefix("x", AtomicUsize::new(0)));
            assert_eq!(publication.frame(&encoding).payload(), b"x{}");
            encodings.push(encoding);
        }
        let kept = encodings.iter().filter(|encoding| Arc::strong_count(encoding) > 1);
        assert_eq!(kept.count(), MAX_KEPT_FRAMES);
    }
}
