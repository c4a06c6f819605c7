//! The queue, without Ruby and without an engine.

#[path = "../src/queue.rs"]
#[expect(dead_code, reason = "the tests do not need all of it")]
mod queue;
#[path = "../src/signal.rs"]
mod signal;

use queue::{Bounds, Confirmation, FlushMode, PublicationRef, Queue, Receipt, Rejected};
use signal::Waited;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits before it fails.
const TIMEOUT: Duration = Duration::from_secs(10);

fn queue(publications: usize, bytes: usize) -> Arc<Queue> {
    Arc::new(Queue::new(Bounds { publications, bytes }))
}

fn publication(text: &str) -> PublicationRef {
    PublicationRef {
        channel: "/nodevent".into(),
        body: text.to_owned().into(),
        number: 0,
        idempotency_key: None,
        receipt: None,
        emitted_at: Instant::now(),
    }
}

fn texts(taken: &VecDeque<PublicationRef>) -> Vec<String> {
    taken.iter().map(|publication| String::from_utf8_lossy(&publication.body).into_owned()).collect()
}

/// The batch that the queue returns; empty after the timeout.
async fn take(queue: &Queue, max: usize, bytes: usize) -> VecDeque<PublicationRef> {
    tokio::time::timeout(TIMEOUT, queue.take(max, bytes)).await.ok().flatten().unwrap_or_default()
}

#[tokio::test]
async fn take_returns_publications_in_order_and_within_both_limits() {
    let queue = queue(10, 1000);
    for text in ["a", "bb", "cc", "d", "a-long-one"] {
        queue.push(publication(text)).unwrap();
    }
    assert_eq!(texts(&take(&queue, 2, 1000).await), ["a", "bb"]);
    assert_eq!(texts(&take(&queue, 9, 3).await), ["cc", "d"]);
    assert_eq!(texts(&take(&queue, 9, 3).await), ["a-long-one"], "one is taken, however long it is");
}

#[tokio::test]
async fn texts_keep_their_order_and_limits_among_other_publications() {
    // Longer than what the queue allocates at once, and just as long.
    let long = ["x".repeat(40_000), "y".repeat(32 * 1024), "z".repeat(20_000), "z".repeat(20_000)];
    let channels: [Arc<str>; 2] = ["/nodevent".into(), "/other".into()];
    let queue = queue(1000, 2_000_000);
    let mut pushed = Vec::new();
    let mut taken = VecDeque::new();
    for round in 0..60 {
        let text = long.get(round % 7).cloned().unwrap_or_else(|| format!("text {round}"));
        let channel = &channels[usize::from(round % 5 == 4)];
        match round % 3 {
            0 => queue.push(PublicationRef { channel: Arc::clone(channel), ..publication(&text) }).unwrap(),
            _ => queue.push_text(channel, &[b"", text.as_bytes(), b"."]).unwrap(),
        }
        pushed.push((channel.to_string(), if round % 3 == 0 { text } else { format!("{text}.") }));
        if round % 11 == 10 {
            taken.extend(take(&queue, 1 + round % 9, 100_000).await);
        }
    }
    assert_eq!(queue.push_text(&channels[0], &[&[b'a'; 2_000_000]]), Err(Rejected::Full));
    while taken.len() < pushed.len() {
        taken.extend(take(&queue, 7, 100_000).await);
    }
    let numbers: Vec<_> = taken.iter().map(|publication| publication.number).collect();
    assert_eq!(numbers, (1..=60).collect::<Vec<_>>());
    let channels = taken.iter().map(|publication| publication.channel.to_string());
    assert_eq!(channels.zip(texts(&taken)).collect::<Vec<_>>(), pushed);
    let bytes = taken.iter().map(|publication| publication.body.len()).sum();
    queue.settle(taken.len(), bytes);
    queue.push_text(&"/nodevent".into(), &[&[b'a'; 1_000_000]]).unwrap();
    assert_eq!(queue.pending(), 1);
}

#[tokio::test]
async fn texts_keep_their_content_until_they_are_settled() {
    let queue = queue(1000, 1_000_000);
    let channel: Arc<str> = "/nodevent".into();
    let mut unsettled = VecDeque::new();
    for round in 0..250 {
        // Ten of them fill what the queue allocates at once, and it uses that again.
        queue.push_text(&channel, &[&[round; 3000]]).unwrap();
        unsettled.extend(take(&queue, 10, 100_000).await);
        assert_eq!(unsettled[0].body, [round.saturating_sub(24); 3000][..], "round {round}");
        if unsettled.len() == 25 {
            unsettled.pop_front();
            queue.settle(1, 3000);
        }
    }
}

#[tokio::test]
async fn publications_are_numbered() {
    let queue = queue(10, 1000);
    for text in ["a", "b", "c"] {
        queue.push(publication(text)).unwrap();
    }
    let numbers: Vec<u64> = take(&queue, 9, 1000).await.iter().map(|publication| publication.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn publications_in_flight_count_until_they_are_settled() {
    let queue = queue(2, 1000);
    queue.push(publication("a")).unwrap();
    queue.push(publication("b")).unwrap();
    assert_eq!(queue.push(publication("c")), Err(Rejected::Full));
    let taken = take(&queue, 9, 1000).await;
    assert_eq!(queue.push(publication("c")), Err(Rejected::Full));
    assert_eq!(queue.pending(), 2);
    queue.settle(1, taken[0].body.len());
    assert_eq!(queue.push(publication("c")), Ok(()));
    assert_eq!(queue.push(publication("d")), Err(Rejected::Full));
}

#[tokio::test]
async fn bytes_are_bounded_but_an_empty_queue_accepts_one_of_any_size() {
    let queue = queue(10, 10);
    queue.push(publication("more than ten bytes")).unwrap();
    assert_eq!(queue.push(publication("x")), Err(Rejected::Full));
    let taken = take(&queue, 1, 10).await;
    queue.settle(1, taken[0].body.len());
    assert_eq!(queue.push(publication("x")), Ok(()));
}

#[tokio::test]
async fn a_closed_queue_accepts_no_more_and_ends_when_empty() {
    let queue = queue(10, 1000);
    queue.push(publication("a")).unwrap();
    queue.close();
    assert_eq!(queue.push(publication("b")), Err(Rejected::Closed));
    assert_eq!(texts(&take(&queue, 9, 1000).await), ["a"]);
    assert!(tokio::time::timeout(TIMEOUT, queue.take(9, 1000)).await.unwrap().is_none());
}

#[tokio::test]
async fn take_wakes_up_for_a_publication_from_another_thread() {
    let queue = queue(10, 1000);
    let other = Arc::clone(&queue);
    let pushing = thread::spawn(move || other.push(publication("late")));
    assert_eq!(texts(&take(&queue, 9, 1000).await), ["late"]);
    assert_eq!(pushing.join().unwrap(), Ok(()));
}

#[tokio::test]
async fn eight_threads_lose_and_reorder_nothing() {
    const EACH: usize = 2_000;
    let queue = queue(8 * EACH, usize::MAX);
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                (0..EACH).for_each(|number| queue.push(publication(&format!("{thread}:{number}"))).unwrap());
            })
        })
        .collect();
    let mut seen = [0; 8];
    while seen.iter().sum::<usize>() < 8 * EACH {
        let taken = take(&queue, 512, usize::MAX).await;
        assert!(!taken.is_empty());
        for text in texts(&taken) {
            let (thread, number) = text.split_once(':').unwrap();
            let thread: usize = thread.parse().unwrap();
            assert_eq!(number.parse::<usize>().unwrap(), seen[thread]);
            seen[thread] += 1;
        }
        queue.settle(taken.len(), 0);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(queue.pending(), 0);
}

#[tokio::test]
async fn a_flush_waits_for_earlier_publications_only() {
    let queue = queue(10, 1000);
    queue.push(publication("before")).unwrap();
    let flush = queue.flush(FlushMode::UntilDeadline);
    queue.push(publication("after")).unwrap();
    let not_interrupted = AtomicBool::new(false);
    assert_eq!(flush.wait(Some(Instant::now()), &not_interrupted), Waited::TimedOut);
    let taken = take(&queue, 1, 1000).await;
    queue.settle(taken.len(), 6);
    assert_eq!(flush.wait(Some(Instant::now()), &not_interrupted), Waited::Ready(true));
    assert_eq!(queue.pending(), 1);
}

#[test]
fn a_flush_with_one_attempt_ends_when_a_new_attempt_fails() {
    let queue = queue(10, 1000);
    queue.push(publication("a")).unwrap();
    queue.failed_to_reach("refused");
    assert_eq!(queue.last_error().as_deref(), Some("refused"));
    let flush = queue.flush(FlushMode::OneAttempt);
    let not_interrupted = AtomicBool::new(false);
    assert_eq!(
        flush.wait(Some(Instant::now()), &not_interrupted),
        Waited::TimedOut,
        "the failure before it does not count"
    );
    queue.failed_to_reach("refused");
    assert_eq!(flush.wait(Some(Instant::now()), &not_interrupted), Waited::Ready(false));
}

#[test]
fn a_waiting_flush_can_be_interrupted() {
    let queue = queue(10, 1000);
    queue.push(publication("a")).unwrap();
    let interrupted = Arc::new(AtomicBool::new(false));
    let (queue, flag) = (Arc::clone(&queue), Arc::clone(&interrupted));
    let other = Arc::clone(&queue);
    let waiting = thread::spawn(move || other.flush(FlushMode::UntilDeadline).wait(None, &flag));
    interrupted.store(true, Ordering::Release);
    queue.flush(FlushMode::UntilDeadline).wake();
    assert_eq!(waiting.join().unwrap(), Waited::Interrupted);
}

#[tokio::test]
async fn a_flush_ends_a_pause() {
    let queue = queue(10, 1000);
    queue.flush(FlushMode::UntilDeadline);
    tokio::time::timeout(TIMEOUT, queue.pause(Duration::from_secs(3600))).await.unwrap();
}

#[test]
fn a_receipt_hands_the_result_to_the_waiting_thread() {
    let receipt = Arc::new(Receipt::default());
    let other = Arc::clone(&receipt);
    let waiting = thread::spawn(move || {
        other.result.wait(Some(Instant::now() + TIMEOUT), &AtomicBool::new(false), Option::take)
    });
    receipt.settle(Ok(Confirmation::Receivers(3)));
    assert_eq!(waiting.join().unwrap(), Waited::Ready(Ok(Confirmation::Receivers(3))));
}

#[test]
fn a_publication_is_either_sent_or_withdrawn() {
    let sent = Receipt::default();
    assert!(sent.mark_sent());
    assert!(!sent.abandon(), "it may arrive");
    assert!(sent.mark_sent(), "and is retried");

    let withdrawn = Receipt::default();
    assert!(withdrawn.abandon());
    assert!(!withdrawn.mark_sent());

    let unsent = Receipt::default();
    assert!(unsent.mark_sent());
    unsent.mark_unsent();
    assert!(unsent.abandon(), "nothing had left this process");
}
