//! Spans: how long the steps of sampled publications take, on their way to the exporter.
//!
//! The queue is bounded: what finds no place is dropped and counted, so a step never waits. Without `traces` in the
//! configuration there is no queue, and a step costs a comparison. This file knows neither HTTP nor JSON.

use nodevent_protocol::trace::TraceContext;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// What happens to a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A publisher's request over HTTP is accepted, until it has a response.
    Publish,
    /// The engine has it, until it is given to the shards.
    Engine,
    /// It is on its way to a shard, until its room has its turn there.
    FanOut,
    /// It is written to the members of its room on a shard.
    Write,
}

/// One step of one publication.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The trace, and the span below which this one belongs.
    pub context: TraceContext,
    /// What happened.
    pub step: Step,
    /// The id of the namespace.
    pub namespace: u16,
    /// The number of the shard, for the steps of one.
    pub shard: Option<u8>,
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
}

/// Where the steps of a server are recorded.
#[derive(Debug, Default)]
pub struct Spans {
    /// `None`: nothing is exported.
    queue: OnceLock<Sender<Span>>,
    /// Spans that were dropped because the queue was full, or because nothing accepted them.
    pub dropped: AtomicU64,
    /// Spans that were exported.
    pub exported: AtomicU64,
}

// === impl Spans ===

impl Spans {
    /// Makes a queue of so many spans, and returns its end. `None`: there is one already.
    pub fn start(&self, size: usize) -> Option<Receiver<Span>> {
        let (sender, receiver) = mpsc::channel(size);
        self.queue.set(sender).ok().map(|()| receiver)
    }

    /// Whether spans are exported.
    pub fn are_on(&self) -> bool {
        self.queue.get().is_some()
    }

    /// Records a span, if spans are exported.
    pub fn add(&self, span: Span) {
        if self.queue.get().is_some_and(|queue| queue.try_send(span).is_err()) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

// === impl Step ===

impl Step {
    /// The name of the span.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "nodevent publish",
            Self::Engine => "nodevent engine",
            Self::FanOut => "nodevent fan-out",
            Self::Write => "nodevent write",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        let (context, now) = (TraceContext { trace: 1, span: 2 }, Instant::now());
        Span { context, step: Step::Write, namespace: 0, shard: None, began: now, ended: now }
    }

    #[test]
    fn spans_without_a_place_are_dropped_and_counted() {
        let spans = Spans::default();
        spans.add(span());
        assert!(!spans.are_on(), "nothing is exported");
        let mut queue = spans.start(2).unwrap();
        assert!(spans.start(2).is_none());
        for _ in 0..5 {
            spans.add(span());
        }
        assert_eq!(spans.dropped.load(Relaxed), 3);
        assert!(queue.try_recv().is_ok() && queue.try_recv().is_ok() && queue.try_recv().is_err());
    }
}
