//! permessage-deflate: compresses publications once for all connections, and inflates what clients have compressed.
//!
//! No connection has a window or a buffer of its own. A publication is compressed by itself, once for each encoding, and all
//! members that accept it share the result: [`Deflate::encoding`] wraps an encoding, and the delivery path treats the wrapped
//! one like any other. What only one connection receives is never compressed. A thread has one compressor, and each shard one
//! [`Inflater`].
//!
//! A thread compresses a limited number of bytes per second. Beyond it, publications are sent as they are, which every
//! client accepts: neither a flood of publications nor very many encodings of one keep the thread from its other clients.
//!
//! # Source
//! RFC 7692. `nodevent_protocol::websocket` has the handshake and the frames.

use crate::encoding::{Encoding, Frame};
use crate::metrics::Metrics;
use crate::rate_limit::{RateLimit, TokenBucket};
use flate2::{Compress, Compression, FlushCompress};
use hashbrown::HashMap;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use nodevent_protocol::action_cable::refresh::Refresh;
use nodevent_protocol::history::Position;
use nodevent_protocol::topic::Topic;
use nodevent_protocol::websocket::Violation;
use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// The largest publication that is compressed: a larger one would hold up the other connections of its shard. Bytes.
const MAX_SIZE: usize = 128 * 1024;
/// Level of compression. Higher levels take longer, and a window that begins empty gains little from them.
const LEVEL: u32 = 3;
/// Bytes that a thread compresses per second in the long run, and at once. A byte takes 3 to 35 ns.
const RATE: RateLimit = RateLimit::with_burst(4 * 1024 * 1024, 2 * MAX_SIZE as u32);
/// Of the bytes at once, those that are left for what many members share. Otherwise a client with very many encodings, or
/// one that recovers whole histories, would take all of them.
const RESERVED: u32 = MAX_SIZE as u32;
/// The end of a block that a compressed message omits.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Blocks of one message, and one more for each [`MIN_BLOCK`] bytes of it. A block of twelve bytes may have a code of its own, which
/// takes as long to read as a thousand bytes of text.
const MAX_BLOCKS: usize = 64;
/// What zlib puts into one block at least, except at the end of a message or where it is flushed. Bytes.
const MIN_BLOCK: usize = 100;
/// Blocks of one message whose codes count as nothing. Clients make one for each 16 KB or more, and another one is the end.
const FREE_BLOCKS: usize = 4;
/// What the code of a further block counts as: to read it takes as long. Bytes.
const BYTES_PER_BLOCK: usize = 1000;
/// A message is inflated into one buffer, and refers to nothing before its start. flate2 would keep a window that is read as
/// zeros there, and clear it for each message.
const FLAGS: u32 =
    TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
/// Bytes that are inflated before the buffer grows.
const MIN_INFLATED: usize = 4 * 1024;
/// Memory that a compressor and an inflater keep for the next message. Bytes.
const MAX_KEPT: usize = 64 * 1024;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor>> = const { RefCell::new(None) };
}

/// Compresses what members of rooms receive.
pub struct Deflate {
    /// Smaller publications are not compressed. Bytes.
    min_size: usize,
    metrics: Arc<Metrics>,
    /// The wrapped encodings in use, by the address of the encoding inside, which each of them keeps alive.
    encodings: Mutex<HashMap<usize, Weak<DeflatedEncoding>>>,
}

/// An encoding whose publications are compressed.
#[derive(Debug)]
struct DeflatedEncoding {
    plain: Arc<dyn Encoding>,
    deflate: Arc<Deflate>,
}

/// For whom a publication is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// All members with an encoding.
    Many,
    /// One connection that recovers, or the members of one batch: the result is not kept.
    Few,
}

/// Compresses for one thread.
struct Compressor {
    compress: Compress,
    out: Vec<u8>,
    /// What it may compress.
    bytes: TokenBucket,
    started: Instant,
}

/// Inflates messages of all connections of one shard.
#[derive(Default)]
pub struct Inflater {
    decompressor: DecompressorOxide,
    /// The message so far, and behind it what remains of earlier ones, to which a message cannot refer.
    out: Vec<u8>,
}

/// A message that was inflated.
#[derive(Debug, PartialEq, Eq)]
pub struct Inflated<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What it counts as: at least its length, and more if it has very many blocks. Bytes.
    pub cost: usize,
}

// === impl Deflate ===

impl Deflate {
    /// Compresses publications of `min_size` bytes or more.
    pub fn new(min_size: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { min_size, metrics, encodings: Mutex::default() })
    }

    /// The encoding whose publications are those of `plain`, compressed. All callers get the same one as long as it is in use, so
    /// that they share its frames.
    pub fn encoding(self: &Arc<Self>, plain: &Arc<dyn Encoding>) -> Arc<dyn Encoding> {
        let mut encodings = self.lock();
        let address = address(plain);
        if let Some(encoding) = encodings.get(&address).and_then(Weak::upgrade) {
            return encoding;
        }
        let encoding = Arc::new(DeflatedEncoding { plain: Arc::clone(plain), deflate: Arc::clone(self) });
        encodings.insert(address, Arc::downgrade(&encoding));
        encoding
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Weak<DeflatedEncoding>>> {
        self.encodings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame, compressed if that makes it smaller and the thread has not compressed too much.
    fn compress(&self, frame: Frame, audience: Audience) -> Frame {
        let size = frame.payload().len();
        if size < self.min_size.max(1) || size > MAX_SIZE {
            return frame;
        }
        let compressed = COMPRESSOR.with_borrow_mut(|compressor| {
            let compressor = compressor.get_or_insert_with(Compressor::new);
            let now = compressor.started.elapsed().as_millis() as u64;
            let is_allowed = compressor.may_compress(size as u32, audience, now);
            is_allowed.then(|| compressor.compress(frame.payload()).map(|payload| frame.with_deflated(payload)))
        });
        let Some(compressed) = compressed else {
            self.metrics.deflate_skipped.fetch_add(1, Relaxed);
            return frame;
        };
        let frame = compressed.unwrap_or(frame);
        self.metrics.deflate_input_bytes.fetch_add(size as u64, Relaxed);
        self.metrics.deflate_output_bytes.fetch_add(frame.payload().len() as u64, Relaxed);
        frame
    }
}

impl fmt::Debug for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflate").field("min_size", &self.min_size).finish_non_exhaustive()
    }
}

// === impl DeflatedEncoding ===

impl Encoding for DeflatedEncoding {
    fn publication(&self, text: &str, position: Option<Position>) -> Frame {
        self.deflate.compress(self.plain.publication(text, position), Audience::Many)
    }

    fn publication_for_few(&self, text: &str, position: Option<Position>) -> Frame {
        self.deflate.compress(self.plain.publication(text, position), Audience::Few)
    }

    fn gap(&self, topic: Topic<'_>, position: Position) -> Frame {
        self.plain.gap(topic, position)
    }

    fn receives_each_copy(&self) -> bool {
        self.plain.receives_each_copy()
    }

    fn skipped(&self, topic: Topic<'_>, position: Position) -> Option<Frame> {
        self.plain.skipped(topic, position)
    }

    fn merges_refreshes(&self) -> bool {
        self.plain.merges_refreshes()
    }

    fn refresh(&self, refresh: &Refresh) -> Option<Frame> {
        self.plain.refresh(refresh)
    }

    fn plain(&self) -> Option<&Arc<dyn Encoding>> {
        Some(&self.plain)
    }
}

impl Drop for DeflatedEncoding {
    fn drop(&mut self) {
        let (mut encodings, address) = (self.deflate.lock(), address(&self.plain));
        // Meanwhile there may be another one for the same encoding.
        if encodings.get(&address).is_some_and(|one| std::ptr::eq(one.as_ptr(), self)) {
            encodings.remove(&address);
        }
    }
}

fn address(encoding: &Arc<dyn Encoding>) -> usize {
    Arc::as_ptr(encoding).cast::<()>() as usize
}

// === impl Compressor ===

impl Compressor {
    fn new() -> Self {
        let (compress, bytes) = (Compress::new(Compression::new(LEVEL), false), TokenBucket::new(RATE, 0));
        Self { compress, out: Vec::new(), bytes, started: Instant::now() }
    }

    /// Whether it may compress so many bytes now. Then they are counted.
    fn may_compress(&mut self, size: u32, audience: Audience, now: u64) -> bool {
        let reserved = if audience == Audience::Few { RESERVED } else { 0 };
        self.bytes.has(RATE, size + reserved, now) && self.bytes.allows_many(RATE, size, now)
    }

    /// The payload, compressed by itself. `None`: that does not make it smaller.
    fn compress(&mut self, payload: &[u8]) -> Option<&[u8]> {
        let Self { compress, out, .. } = self;
        compress.reset();
        out.clear();
        out.shrink_to(MAX_KEPT);
        out.reserve(payload.len() + TAIL.len());
        compress.compress_vec(payload, out, FlushCompress::Sync).ok()?;
        // What does not fit is not smaller.
        let is_complete = compress.total_in() == payload.len() as u64 && out.len() < out.capacity();
        let compressed = out.strip_suffix(&TAIL).filter(|_| is_complete)?;
        (compressed.len() < payload.len()).then_some(compressed)
    }
}

// === impl Inflater ===

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflater")
    }
}

impl Inflater {
    /// Inflates a message, which refers to no earlier one. Holds at most one byte more than `limit` of it.
    ///
    /// # Errors
    /// [`Violation::TooBig`] as soon as it has more than `limit` bytes, and [`Violation::BadDeflate`].
    pub fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<Inflated<'_>, Violation> {
        let Self { decompressor, out } = self;
        if out.len() > MAX_KEPT {
            *out = Vec::new();
        }
        decompressor.init();
        let (mut length, mut blocks) = (0, 0);
        for mut input in [payload, &TAIL] {
            loop {
                let (status, read, written) = decompress(decompressor, input, out, length, FLAGS);
                input = &input[read..];
                length += written;
                match status {
                    TINFLStatus::NeedsMoreInput => break,
                    TINFLStatus::HasMoreOutput => {
                        if out.len() > limit {
                            return Err(Violation::TooBig { limit });
                        }
                        // One byte more than allowed shows that there is more.
                        let more = out.len().max(MIN_INFLATED).min(limit + 1 - out.len());
                        out.resize(out.len() + more, 0);
                    }
                    TINFLStatus::BlockBoundary | TINFLStatus::Done => {
                        blocks += 1;
                        if blocks > MAX_BLOCKS + length / MIN_BLOCK {
                            return Err(Violation::BadDeflate);
                        }
                        if status == TINFLStatus::Done {
                            decompressor.init();
                        }
                    }
                    _ => return Err(Violation::BadDeflate),
                }
            }
        }
        if length > limit {
            return Err(Violation::TooBig { limit });
        }
        let cost = length + BYTES_PER_BLOCK * blocks.saturating_sub(FREE_BLOCKS);
        Ok(Inflated { bytes: &out[..length], cost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const LIMIT: usize = 64 * 1024;

    fn inflate(payload: &[u8]) -> Result<Vec<u8>, Violation> {
        inflate_with(&mut Inflater::default(), payload, LIMIT)
    }

    fn inflate_with(inflater: &mut Inflater, payload: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
        inflater.inflate(payload, limit).map(|inflated| inflated.bytes.to_vec())
    }

    fn compress(payload: &[u8]) -> Option<Vec<u8>> {
        Compressor::new().compress(payload).map(<[u8]>::to_vec)
    }

    /// Bytes that cannot be compressed.
    fn noise(length: usize) -> Vec<u8> {
        (0..length).map(|_| rand::random()).collect()
    }

    /// As clients compress that do not omit anything by themselves.
    fn deflated(payload: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(payload).unwrap();
        encoder.flush().unwrap();
        let all = encoder.get_ref().clone();
        all.strip_suffix(&TAIL).unwrap().to_vec()
    }

    #[test]
    fn examples_of_rfc_7692_are_inflated() {
        let hello = Ok(b"Hello".to_vec());
        assert_eq!(inflate(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), hello, "7.2.3.1: a compressed block");
        let stored = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
        assert_eq!(inflate(stored), hello, "7.2.3.3: a block without compression");
        let end = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(inflate(&end), hello, "7.2.3.4: a final block");
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&two), hello, "7.2.3.5: two blocks");
        assert_eq!(inflate(&[0]), Ok(vec![]), "7.2.3.6: an empty message");
        assert_eq!(inflate(&[]), Ok(vec![]));
    }

    #[test]
    fn a_message_does_not_refer_to_the_one_before() {
        let mut inflater = Inflater::default();
        let mut inflate = |payload: &[u8]| inflate_with(&mut inflater, payload, LIMIT);
        assert_eq!(inflate(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), Ok(b"Hello".to_vec()));
        // 7.2.3.2: only a client that does what was not negotiated sends this.
        assert_eq!(inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00]), Err(Violation::BadDeflate));
        assert_eq!(inflate(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), Ok(b"Hello".to_vec()));
    }

    #[test]
    fn what_is_compressed_is_inflated_again() {
        for length in [1, 10, 100, 1000, 4096, 5000, 40_000, LIMIT] {
            let text: Vec<u8> = (0..length).map(|at| b'a' + (at % 17 * (at / 100 + 1) % 26) as u8).collect();
            if let Some(payload) = compress(&text) {
                assert!(payload.len() < length);
                assert_eq!(inflate(&payload), Ok(text.clone()), "{length}");
            } else {
                assert!(length <= 100, "{length}");
            }
            for level in [0, 1, 6, 9] {
                assert_eq!(inflate(&deflated(&text, level)), Ok(text.clone()), "{length}");
                let noise = noise(length);
                assert_eq!(inflate(&deflated(&noise, level)), Ok(noise), "{length}");
            }
        }
    }

    #[test]
    fn what_cannot_be_compressed_is_not_sent_longer() {
        for length in [1, 100, 5000, MAX_SIZE] {
            assert_eq!(compress(&noise(length)), None, "{length}");
        }
        let mut compressor = Compressor::new();
        assert!(compressor.compress(&noise(5000)).is_none());
        let text = "publication ".repeat(100);
        let payload = compressor.compress(text.as_bytes()).map(<[u8]>::to_vec);
        assert_eq!(inflate(&payload.unwrap()), Ok(text.into_bytes()), "the next one is complete");
    }

    #[test]
    fn a_bomb_ends_at_the_limit_and_its_memory_is_not_kept() {
        let mut inflater = Inflater::default();
        let bomb = deflated(&vec![0; 16 << 20], 9);
        assert!(bomb.len() < 32 * 1024, "{}", bomb.len());
        assert_eq!(inflater.inflate(&bomb, LIMIT), Err(Violation::TooBig { limit: LIMIT }));
        assert!(inflater.out.len() <= LIMIT + 1, "{}", inflater.out.len());
        assert_eq!(inflater.inflate(&bomb, 1 << 20), Err(Violation::TooBig { limit: 1 << 20 }));
        assert!(inflater.inflate(&deflated(b"small", 6), LIMIT).is_ok());
        assert!(inflater.out.capacity() <= MAX_KEPT, "{}", inflater.out.capacity());
        let full = deflated(&[7; LIMIT], 9);
        assert_eq!(inflater.inflate(&full, LIMIT).map(|inflated| inflated.bytes.len()), Ok(LIMIT), "at the limit");
        assert_eq!(inflater.inflate(&full, LIMIT - 1), Err(Violation::TooBig { limit: LIMIT - 1 }));
    }

    #[test]
    fn blocks_that_take_time_and_give_nothing_are_limited() {
        // A final block without content takes two bytes, one with a code of its own twelve.
        let last = |count: usize| [0x03, 0x00].repeat(count);
        assert_eq!(inflate(&last(MAX_BLOCKS / 2)), Ok(vec![]));
        assert_eq!(inflate(&last(LIMIT / 2)), Err(Violation::BadDeflate));
        let stored = |count: usize| [0x00, 0x00, 0x00, 0xff, 0xff].repeat(count);
        assert_eq!(inflate(&stored(MAX_BLOCKS / 2)), Ok(vec![]));
        assert_eq!(inflate(&stored(LIMIT / 5)), Err(Violation::BadDeflate));
    }

    #[test]
    fn very_many_blocks_count_as_the_time_that_their_codes_take() {
        let cost = |payload: &[u8]| Inflater::default().inflate(payload, LIMIT).unwrap().cost;
        assert_eq!(cost(&deflated(b"a message", 6)), 9);
        assert_eq!(cost(&deflated(&noise(LIMIT / 2), 0)), LIMIT / 2);
        assert_eq!(cost(&[0x03, 0x00].repeat(32)), (32 - FREE_BLOCKS) * BYTES_PER_BLOCK);
    }

    #[test]
    fn what_is_not_deflate_is_a_violation() {
        for payload in [&b"\xff\xff\xff"[..], b"\x07", &[0x06; 40]] {
            assert_eq!(inflate(payload), Err(Violation::BadDeflate), "{payload:?}");
        }
    }

    #[test]
    fn bytes_of_any_kind_end_within_the_limit() {
        let mut inflater = Inflater::default();
        let valid = deflated(&"a message, ".repeat(300).into_bytes(), 6);
        for round in 0..5_000 {
            let mut payload = if round % 2 == 0 { noise(round % 400) } else { valid.clone() };
            if round % 2 == 1 {
                let at = rand::random::<u32>() as usize % payload.len();
                payload[at] ^= 1 << (round % 8);
                payload.truncate(1 + rand::random::<u32>() as usize % payload.len());
            }
            if let Ok(inflated) = inflater.inflate(&payload, LIMIT) {
                assert!(inflated.bytes.len() <= LIMIT);
            }
        }
    }

    #[test]
    fn a_thread_compresses_few_bytes_at_once_and_leaves_a_part_to_what_many_share() {
        let mut compressor = Compressor::new();
        let count = |compressor: &mut Compressor, audience, now| {
            (0..1000).take_while(|_| compressor.may_compress(1024, audience, now)).count()
        };
        assert_eq!(count(&mut compressor, Audience::Few, 0), 128);
        assert_eq!(count(&mut compressor, Audience::Many, 0), 128);
        assert_eq!(count(&mut compressor, Audience::Many, 10), 40);
        assert_eq!(count(&mut compressor, Audience::Few, 20), 0);
        assert!(compressor.may_compress(MAX_SIZE as u32, Audience::Few, 1000), "the largest one");
    }

    #[test]
    fn what_exceeds_the_rate_is_sent_as_it_is_and_counted() {
        // Its clock does not advance.
        let started = Instant::now() + std::time::Duration::from_secs(3600);
        COMPRESSOR.set(Some(Compressor { started, ..Compressor::new() }));
        let metrics = Arc::new(Metrics::default());
        let plain: Arc<dyn Encoding> = Arc::new(Plain);
        let wrapped = Deflate::new(100, Arc::clone(&metrics)).encoding(&plain);
        let text = "x".repeat(MAX_SIZE);
        let frame = |audience| match audience {
            Audience::Many => wrapped.publication(&text, None),
            Audience::Few => wrapped.publication_for_few(&text, None),
        };
        let is_deflated = |frame: &Frame| frame.websocket()[0] == 0xc1;
        assert!(is_deflated(&frame(Audience::Few)));
        assert_eq!(frame(Audience::Few).payload(), text.as_bytes());
        assert!(is_deflated(&frame(Audience::Many)));
        assert_eq!(frame(Audience::Many).payload(), text.as_bytes());
        assert_eq!(metrics.deflate_skipped.load(Relaxed), 2);
    }

    /// Sends the text as it is.
    #[derive(Debug)]
    struct Plain;

    impl Encoding for Plain {
        fn publication(&self, text: &str, _position: Option<Position>) -> Frame {
            Frame::text(text)
        }

        fn gap(&self, topic: Topic<'_>, _position: Position) -> Frame {
            Frame::text(&topic.name())
        }
    }

    #[test]
    fn an_encoding_is_wrapped_once_and_forgotten_with_its_last_user() {
        let deflate = Deflate::new(100, Arc::new(Metrics::default()));
        let (one, other): (Arc<dyn Encoding>, Arc<dyn Encoding>) = (Arc::new(Plain), Arc::new(Plain));
        let wrapped = deflate.encoding(&one);
        assert_eq!(address(&deflate.encoding(&one)), address(&wrapped));
        assert_ne!(address(&deflate.encoding(&other)), address(&wrapped));
        assert_eq!(wrapped.plain().map(address), Some(address(&one)));
        assert_eq!(deflate.lock().len(), 1, "the other one has no user");
        drop(wrapped);
        assert!(deflate.lock().is_empty());
    }

    #[test]
    fn frames_are_compressed_from_the_minimum_size_on() {
        let metrics = Arc::new(Metrics::default());
        let deflate = Deflate::new(100, Arc::clone(&metrics));
        let plain: Arc<dyn Encoding> = Arc::new(Plain);
        let wrapped = deflate.encoding(&plain);
        let small = wrapped.publication(&"x".repeat(99), None);
        assert_eq!((small.websocket()[0], small.payload().len()), (0x81, 99));
        let text = "x".repeat(1000);
        let frame = wrapped.publication(&text, None);
        assert_eq!(frame.websocket()[0], 0xc1, "RSV1");
        assert_eq!(inflate(frame.payload()), Ok(text.into_bytes()));
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        assert_eq!(read(&metrics.deflate_input_bytes), 1000);
        assert_eq!(read(&metrics.deflate_output_bytes), frame.payload().len() as u64);
        let large = wrapped.publication(&"x".repeat(MAX_SIZE + 1), None);
        assert_eq!(large.payload().len(), MAX_SIZE + 1);
        assert!(Deflate::new(0, metrics).encoding(&plain).publication("", None).payload().is_empty());
    }
}
