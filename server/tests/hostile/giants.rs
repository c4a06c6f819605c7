//! Connections that announce large frames and never send them.

use crate::process::Process;
use crate::support::is_full_run;
use crate::support::raw::{BINARY, End, Raw, TEXT, first, head, last};
use tokio::task::JoinSet;

/// Connections that are opened concurrently.
const CONCURRENCY: usize = 50;

/// Returns the memory per connection of a new server with `count` connections that have sent `sent` and nothing more.
async fn cost_of(count: usize, sent: &[u8]) -> u64 {
    let process = Process::start("limits: {max_message_size: 16MB}\n/nodevent: {history: off}").await;
    // The first fleet shows what the process needs to work at all.
    let first = fleet(&process, CONCURRENCY, sent).await;
    let before = process.resident();
    let all = fleet(&process, count, sent).await;
    // When the server serves a later connection, it has read the last bytes of the earlier ones.
    Raw::connected(&process.site, "/nodevent").await;
    let cost = process.resident().saturating_sub(before) / count as u64;
    drop((first, all));
    process.metric_is("nodevent_connections", 0).await;
    cost
}

async fn fleet(process: &Process, count: usize, sent: &[u8]) -> Vec<Raw> {
    let (mut opening, mut raws) = (JoinSet::new(), Vec::with_capacity(count));
    for _ in 0..count {
        let (site, sent) = (process.site.clone(), sent.to_vec());
        opening.spawn(async move {
            let mut raw = Raw::connected(&site, "/nodevent").await;
            raw.send(sent).await;
            raw
        });
        if opening.len() == CONCURRENCY {
            raws.extend(opening.join_next().await.map(Result::unwrap));
        }
    }
    raws.extend(opening.join_all().await);
    raws
}

/// 10,000 connections each in the full run. An announced frame costs only the memory of its received bytes.
#[tokio::test]
async fn announced_frames_at_the_limit_cost_no_more_than_idle_connections() {
    //
    let count = if is_full_run() { 10_000 } else { 900 };
    let idle = cost_of(count, b"").await;
    let giant = cost_of(count, &head(0x82, 16 << 20)).await;
    let fragmented = cost_of(count, &[first(BINARY, b"x"), head(0x00, 15 << 20)].concat()).await;
    println!("bytes per connection: idle {idle}, a giant frame {giant}, a giant fragment {fragmented}");
    for each in [giant, fragmented] {
        assert!(each < idle + 1_024, "{each} bytes each; idle connections need {idle}");
    }
}

/// 10,000 connections in the full run, in small fleets: the server refuses each frame by its header.
#[tokio::test]
async fn announced_frames_beyond_the_limit_are_refused_and_leave_nothing_behind() {
    //
    let (fleets, size) = if is_full_run() { (20, 500) } else { (4, 100) };
    let process = Process::start("/nodevent: {history: off}").await;
    let mut resident = Vec::new();
    for _ in 0..fleets {
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
        process.metric_is("nodevent_connections", 0).await;
        resident.push(process.resident());
    }
    process.metric_is("nodevent_disconnects_total{reason=\"too_big\"}", (fleets * size) as i64).await;
    let grown = resident[fleets - 1].saturating_sub(resident[0]);
    assert!(grown < 1 << 20, "{resident:?}");
}

/// A connection sends an endless message in empty fragments and in fragments of one byte, while another one is served.
#[tokio::test]
async fn endless_message_in_tiny_fragments_delays_no_other_client() {
    //
    let process = Process::start("limits: {bytes_per_second: 100MB}\n/nodevent: {history: off}").await;
    let before = process.resident();
    let mut endless = Raw::connected(&process.site, "/nodevent").await;
    endless.send(first(TEXT, "4")).await;
    let mut other = Raw::connected(&process.site, "/nodevent").await;
    let empty = first(0, "").repeat(5_000);
    for n in 0..40 {
        endless.send(&empty).await;
        other.send_text(&format!("42/nodevent,{n}[\"leave\",\"r\"]")).await;
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
