//! Which publications are followed on their way through the server: a share of them, chosen at random.
//!
//! It does not know OpenTelemetry. If the application runs its SDK, Ruby adds the trace of the current span.

use bytes::Bytes;
use nodevent_protocol::trace::{self, MEMBER_BYTES, TraceContext};
use std::cell::Cell;

/// A publisher's share of sampled publications. Used while holding Ruby's lock.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// Of 2^32 publications. `0`: none is sampled, and nothing is computed.
    threshold: u64,
    /// The largest publication that the server accepts. Bytes.
    max_bytes: usize,
}

thread_local! {
    /// The state of the random numbers that decide. Its quality does not matter.
    static STATE: Cell<u64> = const { Cell::new(0) };
}

// === impl Sampler ===

impl Sampler {
    /// `rate`: from 0 to 1.
    pub(crate) fn new(rate: f64, max_bytes: usize) -> Self {
        Self { threshold: (rate.clamp(0.0, 1.0) * 4_294_967_296.0) as u64, max_bytes }
    }

    /// Whether any publication is sampled.
    pub(crate) fn is_on(&self) -> bool {
        self.threshold > 0
    }

    /// The publication, with a new trace if it is sampled.
    pub(crate) fn sample(&self, body: Bytes, random: impl Fn() -> u64) -> Bytes {
        if self.threshold == 0 || next(&random) >= self.threshold || body.len() + MEMBER_BYTES > self.max_bytes {
            return body;
        }
        let trace = (u128::from(random()) << 64) | u128::from(random());
        let context = TraceContext { trace: trace.max(1), span: random().max(1) };
        let text = std::str::from_utf8(&body).ok().and_then(|text| trace::add(text, context));
        text.map_or(body, Bytes::from)
    }
}

/// A random number of 32 bits: xorshift, because a source of the operating system for each publication would cost more than
/// everything else.
fn next(seed: impl Fn() -> u64) -> u64 {
    STATE.with(|state| {
        let mut number = match state.get() {
            0 => seed().max(1),
            number => number,
        };
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        state.set(number);
        number >> 32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = br#"{"room":"r","event":"e"}"#;

    fn sampled(rate: f64, max_bytes: usize) -> usize {
        let sampler = Sampler::new(rate, max_bytes);
        (1..=10_000).filter(|seed| sampler.sample(TEXT.into(), || *seed) != TEXT).count()
    }

    #[test]
    fn share_of_sampled_publications_is_the_rate() {
        assert_eq!((sampled(0.0, 1000), sampled(1.0, 1000)), (0, 10_000));
        let tenth = sampled(0.1, 1000);
        assert!((800..1200).contains(&tenth), "{tenth}");
        assert_eq!(sampled(1.0, TEXT.len()), 0, "the server would reject it");
    }

    #[test]
    fn sampled_publication_is_the_same_without_its_trace() {
        let body = Sampler::new(1.0, 1000).sample(TEXT.into(), || 7);
        let (context, text) = trace::separate(std::str::from_utf8(&body).unwrap()).unwrap();
        assert_eq!((context.unwrap().span, text.as_bytes()), (7, TEXT));
        assert_eq!(Sampler::new(1.0, 1000).sample(body.clone(), || 8), body, "it keeps the trace that it has");
    }
}
