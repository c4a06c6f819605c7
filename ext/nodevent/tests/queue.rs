//! The queue, without Ruby and without an engine.

#[path = "../src/queue.rs"]
#[expect(dead_code, reason = "the tests do not need all of it")]
mod queue;
#[path = "../src/signal.rs"]
mod signal;

use queue::{Answer, Bounds, Patience, PublicationRef, Queue, Receipt, Refused};
use signal::Waited;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(10);

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
        since: Instant::now(),
    }
}

fn texts(taken: &VecDeque<PublicationRef>) -> Vec<String> {
    taken.iter().map(|publication| String::from_utf8_lossy(&publication.body).into_owned()).collect()
}

/// What the queue gives out; nothing where it gives out nothing in time.
async fn take(queue: &Queue, most: usize, bytes: usize) -> VecDeque<PublicationRef> {
    tokio::time::timeout(PATIENCE, queue.take(most, bytes)).await.ok().flatten().unwrap_or_default()
}

#[tokio::test]
async fn publications_come_out_in_order_and_in_the_portions_that_are_asked_for() {
    let queue = queue(10, 1000);
    for text in ["a", "bb", "cc", "d", "a-long-one"] {
        queue.push(publication(text)).unwrap();
    }
    assert_eq!(texts(&take(&queue, 2, 1000).await), ["a", "bb"]);
    assert_eq!(texts(&take(&queue, 9, 3).await), ["cc", "d"]);
    assert_eq!(texts(&take(&queue, 9, 3).await), ["a-long-one"], "one is taken however long it is");
}

#[tokio::test]
async fn each_publication_has_its_number() {
    let queue = queue(10, 1000);
    for text in ["a", "b", "c"] {
        queue.push(publication(text)).unwrap();
    }
    let numbers: Vec<u64> = take(&queue, 9, 1000).await.iter().map(|publication| publication.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn what_is_in_hand_still_counts_until_it_is_settled() {
    let queue = queue(2, 1000);
    queue.push(publication("a")).unwrap();
    queue.push(publication("b")).unwrap();
    assert_eq!(queue.push(publication("c")), Err(Refused::Full));
    let taken = take(&queue, 9, 1000).await;
    assert_eq!(queue.push(publication("c")), Err(Refused::Full));
    assert_eq!(queue.pending(), 2);
    queue.settle(1, taken[0].body.len());
    assert_eq!(queue.push(publication("c")), Ok(()));
    assert_eq!(queue.push(publication("d")), Err(Refused::Full));
}

#[tokio::test]
async fn bytes_are_bounded_but_an_empty_queue_takes_one_of_any_size() {
    let queue = queue(10, 10);
    queue.push(publication("more than ten bytes")).unwrap();
    assert_eq!(queue.push(publication("x")), Err(Refused::Full));
    let taken = take(&queue, 1, 10).await;
    queue.settle(1, taken[0].body.len());
    assert_eq!(queue.push(publication("x")), Ok(()));
}

#[tokio::test]
async fn a_closed_queue_takes_no_more_gives_out_the_rest_and_ends() {
    let queue = queue(10, 1000);
    queue.push(publication("a")).unwrap();
    queue.close();
    assert_eq!(queue.push(publication("b")), Err(Refused::Closed));
    assert_eq!(texts(&take(&queue, 9, 1000).await), ["a"]);
    assert!(tokio::time::timeout(PATIENCE, queue.take(9, 1000)).await.unwrap().is_none());
}

#[tokio::test]
async fn who_waits_for_an_publication_is_woken_by_one_from_another_thread() {
    let queue = queue(10, 1000);
    let other = Arc::clone(&queue);
    let pushing = thread::spawn(move || other.push(publication("late")));
    assert_eq!(texts(&take(&queue, 9, 1000).await), ["late"]);
    assert_eq!(pushing.join().unwrap(), Ok(()));
}

#[tokio::test]
async fn nothing_is_lost_or_swapped_between_eight_threads_and_the_task() {
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
async fn a_flush_waits_for_what_was_there_before_it_and_not_for_what_came_later() {
    let queue = queue(10, 1000);
    queue.push(publication("before")).unwrap();
    let flush = queue.flush(Patience::UntilDeadline);
    queue.push(publication("after")).unwrap();
    let calm = AtomicBool::new(false);
    assert_eq!(flush.wait(Some(Instant::now()), &calm), Waited::TimedOut);
    let taken = take(&queue, 1, 1000).await;
    queue.settle(taken.len(), 6);
    assert_eq!(flush.wait(Some(Instant::now()), &calm), Waited::Ready(true));
    assert_eq!(queue.pending(), 1);
}

#[test]
fn a_flush_with_little_patience_ends_when_a_fresh_attempt_has_failed() {
    let queue = queue(10, 1000);
    queue.push(publication("a")).unwrap();
    queue.failed_to_reach("refused");
    assert_eq!(queue.trouble().as_deref(), Some("refused"));
    let flush = queue.flush(Patience::OneAttempt);
    let calm = AtomicBool::new(false);
    assert_eq!(flush.wait(Some(Instant::now()), &calm), Waited::TimedOut, "the failure before it does not count");
    queue.failed_to_reach("refused");
    assert_eq!(flush.wait(Some(Instant::now()), &calm), Waited::Ready(false));
}

#[test]
fn a_waiting_flush_can_be_called_away() {
    let queue = queue(10, 1000);
    queue.push(publication("a")).unwrap();
    let interrupted = Arc::new(AtomicBool::new(false));
    let (queue, flag) = (Arc::clone(&queue), Arc::clone(&interrupted));
    let other = Arc::clone(&queue);
    let waiting = thread::spawn(move || other.flush(Patience::UntilDeadline).wait(None, &flag));
    interrupted.store(true, Ordering::Release);
    queue.flush(Patience::UntilDeadline).wake();
    assert_eq!(waiting.join().unwrap(), Waited::Interrupted);
}

#[tokio::test]
async fn a_pause_is_cut_short_by_a_flush() {
    let queue = queue(10, 1000);
    queue.flush(Patience::UntilDeadline);
    tokio::time::timeout(PATIENCE, queue.pause(Duration::from_secs(3600))).await.unwrap();
}

#[test]
fn a_receipt_hands_the_answer_to_the_thread_that_waits() {
    let receipt = Arc::new(Receipt::default());
    let other = Arc::clone(&receipt);
    let waiting = thread::spawn(move || {
        other.settled.wait(Some(Instant::now() + PATIENCE), &AtomicBool::new(false), Option::take)
    });
    receipt.settle(Ok(Answer::Receivers(3)));
    assert_eq!(waiting.join().unwrap(), Waited::Ready(Ok(Answer::Receivers(3))));
}

#[test]
fn an_publication_is_either_sent_or_withdrawn() {
    let sent = Receipt::default();
    assert!(sent.begin());
    assert!(!sent.abandon(), "it may arrive");
    assert!(sent.begin(), "and is tried again");

    let withdrawn = Receipt::default();
    assert!(withdrawn.abandon());
    assert!(!withdrawn.begin());

    let undone = Receipt::default();
    assert!(undone.begin());
    undone.undo();
    assert!(undone.abandon(), "nothing had left this process");
}
