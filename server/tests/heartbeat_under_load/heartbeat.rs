//! Timeouts under load: with hundreds of connections in a busy room, every ping, every ping timeout and every connect
//! timeout is on time within ten percent.

use crate::process::Process;
use crate::support::is_full_run;
use crate::support::raw::{End, Raw};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(6);

/// Emits until `stop` is set.
fn emit_steadily(process: &Process, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let (site, stop) = (process.site.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(40));
        let mut count = 0;
        while !stop.load(SeqCst) {
            pace.tick().await;
            site.emit("/nodevent", "busy", "e", json!({"n": count, "text": "x".repeat(200)})).await;
            count += 1;
        }
        count
    })
}

/// Reads frames, and answers pings if `answers` is set. Returns the times of the pings and the end of the connection.
async fn observe(mut raw: Raw, answers: bool, pings: usize) -> (Vec<Instant>, Instant, Option<End>) {
    let mut times = Vec::new();
    while let Some(frame) = raw.frame().await {
        match frame.payload.as_slice() {
            b"2" => {
                times.push(Instant::now());
                if answers {
                    raw.send_text("3").await;
                }
                if times.len() == pings {
                    break;
                }
            }
            payload if frame.opcode == crate::support::raw::CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                let reason = String::from_utf8_lossy(&payload[2..]).into_owned();
                return (times, Instant::now(), Some(End::Closed(code, reason)));
            }
            _ => {}
        }
    }
    (times, Instant::now(), None)
}

/// Deviation of `took` from `due`, as a fraction of `due`.
fn deviation(took: Duration, due: Duration) -> f64 {
    (took.as_secs_f64() - due.as_secs_f64()) / due.as_secs_f64()
}

/// Checks deviations that include the delays of the browsers: 95 of 100 must be within ten percent.
fn assert_punctual(what: &str, mut deviations: Vec<f64>) {
    deviations.sort_by(f64::total_cmp);
    let (first, middle, last) =
        (deviations[0], deviations[deviations.len() / 2], deviations[deviations.len() * 95 / 100]);
    println!("{what}: {} times; earliest {first:+.3}, median {middle:+.3}, 95 of 100 {last:+.3}", deviations.len());
    assert!(first > -0.1, "{what}: too early: {first:+.3}");
    assert!(middle < 0.1 && last < 0.1, "{what}: median {middle:+.3}, 95 of 100 {last:+.3}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_and_connect_timeouts_are_punctual_under_load() {
    let count = if is_full_run() { 1_000 } else { 300 };
    let timing = "ping: {interval: 5s, timeout: 5s}\nlimits: {connect_timeout: 6s}";
    let process = Process::start(&format!("{timing}\n/nodevent: {{history: off}}")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let emitting = emit_steadily(&process, &stop);
    let mut members = Vec::new();
    let mut newcomers = Vec::new();
    for number in 0..count {
        let began = Instant::now();
        let mut raw = Raw::opened(&process.site).await;
        if number % 4 == 0 {
            newcomers.push(tokio::spawn(async move { (began, observe(raw, true, usize::MAX).await) }));
            continue;
        }
        raw.send_text("40/nodevent,").await;
        raw.send_text("42/nodevent,[\"join\",{\"room\":\"busy\"}]").await;
        // Every third member receives the ping and does not answer it.
        let answers = number % 3 != 0;
        members.push((began, answers, tokio::spawn(observe(raw, answers, if answers { 2 } else { usize::MAX }))));
    }
    let (mut intervals, mut timeouts) = (Vec::new(), Vec::new());
    for (began, answers, member) in members {
        let (pings, ended, end) = member.await.unwrap();
        intervals.push(deviation(pings[0] - began, INTERVAL));
        intervals.extend(pings.windows(2).map(|two| deviation(two[1] - two[0], INTERVAL)));
        if !answers {
            assert_eq!(end, Some(End::Closed(Some(1008), "ping timeout".to_owned())));
            timeouts.push(deviation(ended - pings[0], TIMEOUT));
        }
    }
    let mut connects = Vec::new();
    for newcomer in newcomers {
        let (began, (_, ended, end)) = newcomer.await.unwrap();
        assert_eq!(end, Some(End::Closed(Some(1008), "no namespace or room joined in time".to_owned())));
        connects.push(deviation(ended - began, CONNECT));
    }
    stop.store(true, SeqCst);
    let emitted = emitting.await.unwrap();
    println!("{emitted} publications meanwhile, {} deliveries", process.metric("nodevent_deliveries_total").await);
    assert!(emitted > 50, "{emitted} publications are not a load");
    assert_punctual("pings", intervals);
    assert_punctual("ping timeouts", timeouts);
    assert_punctual("connect timeouts", connects);
}
