//! Connections that announce what they never send.

use crate::process::{Process, full};
use crate::support::raw::{BINARY, TEXT};
use crate::support::raw::{End, Raw, first, head, last};
use tokio::task::JoinSet;

/// Connections that are opened at a time.
const AT_A_TIME: usize = 50;

/// The memory that each of `count` connections costs a server of its own which have sent `sent` and nothing more.
async fn cost_of(count: usize, sent: &[u8]) -> u64 {
    let process = Process::start("limits: {max_message_size: 16MB}\n/nodevent: {history: off}").await;
    // What a first crowd takes is what the process needs at all.
    let first = crowd(&process, AT_A_TIME, sent).await;
    let before = process.resident();
    let all = crowd(&process, count, sent).await;
    // What was sent last has been read when a later connection is served.
    Raw::connected(&process.site, "/nodevent").await;
    let cost = process.resident().saturating_sub(before) / count as u64;
    drop((first, all));
    process.counts("nodevent_connections", 0).await;
    cost
}

async fn crowd(process: &Process, count: usize, sent: &[u8]) -> Vec<Raw> {
    let (mut opening, mut raws) = (JoinSet::new(), Vec::with_capacity(count));
    for _ in 0..count {
        let (site, sent) = (process.site.clone(), sent.to_vec());
        opening.spawn(async move {
            let mut raw = Raw::connected(&site, "/nodevent").await;
            raw.send(sent).await;
            raw
        });
        if opening.len() == AT_A_TIME {
            raws.extend(opening.join_next().await.map(Result::unwrap));
        }
    }
    raws.extend(opening.join_all().await);
    raws
}

/// Ten thousand each in the full run. A frame that is announced costs what has arrived of it, and nothing more.
#[tokio::test]
async fn connections_that_announce_a_frame_as_large_as_the_limit_cost_what_idle_ones_cost() {
    //
    let count = if full() { 10_000 } else { 300 };
    let idle = cost_of(count, b"").await;
    let giant = cost_of(count, &head(0x82, 16 << 20)).await;
    let fragmented = cost_of(count, &[first(BINARY, b"x"), head(0x00, 15 << 20)].concat()).await;
    println!("bytes per connection: idle {idle}, a giant frame {giant}, a giant fragment {fragmented}");
    for each in [giant, fragmented] {
        assert!(each < idle + 1_024, "{each} bytes each, idle ones {idle}");
    }
}

/// Ten thousand in the full run, one after the other in small crowds: each is refused at its head.
#[tokio::test]
async fn connections_that_announce_a_frame_beyond_the_limit_are_refused_and_leave_nothing() {
    //
    let (crowds, size) = if full() { (20, 500) } else { (4, 100) };
    let process = Process::start("/nodevent: {history: off}").await;
    let mut resident = Vec::new();
    for _ in 0..crowds {
        let mut raws = Vec::new();
        for number in 0..size {
            let mut raw = Raw::opened(&process.site).await;
            raw.send(head(0x81 + (number % 2) as u8, 1 << 40)).await;
            raws.push(raw);
        }
        for raw in &mut raws {
            assert_eq!(raw.ended().await, End::Closed(Some(1009), "too_big".to_owned()));
        }
        drop(raws);
        process.counts("nodevent_connections", 0).await;
        resident.push(process.resident());
    }
    process.counts("nodevent_disconnects_total{reason=\"too_big\"}", (crowds * size) as i64).await;
    let grown = resident[crowds - 1].saturating_sub(resident[0]);
    assert!(grown < 1 << 20, "{resident:?}");
}

/// A member whose message never ends, in fragments of one byte and in empty ones, while another is served.
#[tokio::test]
async fn an_endless_message_in_tiny_fragments_delays_nobody() {
    //
    let process = Process::start("/nodevent: {history: off}").await;
    let before = process.resident();
    let mut endless = Raw::connected(&process.site, "/nodevent").await;
    endless.send(first(TEXT, "4")).await;
    let mut other = Raw::connected(&process.site, "/nodevent").await;
    let empty = first(0, "").repeat(5_000);
    for n in 0..40 {
        endless.send(&empty).await;
        other.say(&format!("42/nodevent,{n}[\"leave\",\"r\"]")).await;
        assert_eq!(other.text().await, format!("43/nodevent,{n}[null]"));
    }
    let tiny = first(0, "x").repeat(10_000);
    for _ in 0..7 {
        endless.send(&tiny).await;
    }
    assert_eq!(endless.ended().await, End::Closed(Some(1009), "too_big".to_owned()));
    other.send(last(TEXT, "42/nodevent,99[\"leave\",\"r\"]")).await;
    assert_eq!(other.text().await, "43/nodevent,99[null]");
    let grown = process.resident().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
}
