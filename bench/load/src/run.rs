//! One scenario against one server: connect, rest, publish, hear, report.

use crate::clock::{Clock, Nanos};
use crate::generator::{Generator, Settings};
use crate::process::Processes;
use crate::publisher::{Plan, Publisher, Route};
use crate::report::{Connect, Delivery, MemoryUse, Report, Slow, Storm};
use crate::scenario::Scenario;
use anyhow::{Context as _, anyhow, bail};
use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long all connects together may take.
const CONNECT: Duration = Duration::from_secs(120);
/// The pause between two plans.
const PAUSE: Duration = Duration::from_millis(300);
/// How long slow neighbours are given to find out that they have been closed.
const WAKING: Duration = Duration::from_secs(20);
/// What the publisher shows while it is not done.
const NOT_DONE: u64 = u64::MAX;

/// What a run is given.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) scenario: Scenario,
    pub(crate) settings: Settings,
    pub(crate) route: Route,
    pub(crate) server: Processes,
    /// What works for it beside it.
    pub(crate) beside: Processes,
    /// Whether the server is to be restarted while publications go on.
    pub(crate) storm: bool,
}

// === impl Run ===

impl Run {
    pub(crate) fn carry_out(&self) -> anyhow::Result<Report> {
        let clock = Clock::start();
        let connections = self.settings.connections;
        let mut generator = Generator::new(self.settings.clone(), clock)?;
        let (memory_before, cpu_before, began) = (self.server.memory(), self.server.cpu(), clock.now());
        generator.connect_all(CONNECT)?;
        let seconds = seconds(generator.last_join - began);
        let cpu_us = (self.server.cpu() - cpu_before).total as f64 / 1000.0 / connections as f64;
        let connect = Connect {
            seconds,
            per_second: connections as f64 / seconds,
            cpu_us,
            asked_again: generator.asked_again,
        };
        generator.run(self.scenario.rest, |_| false)?;
        let memory_idle = self.server.memory();
        let (mut delivery, mut storm) = (None, None);
        if !self.scenario.plans.is_empty() {
            let (measured, stormed) = self.deliver(&mut generator, clock)?;
            (delivery, storm) = (Some(measured), stormed);
        }
        generator.run(PAUSE, |_| false)?;
        let memory = MemoryUse::new(memory_before, memory_idle, self.server.memory(), connections);
        let slow = match self.settings.slow {
            0 => None,
            slow => {
                generator.wake_slow()?;
                generator.run(WAKING, |one| one.slow_ended == slow as u64)?;
                Some(Slow { connections: slow, closed: generator.slow_ended })
            }
        };
        Ok(Report { scenario: self.name.clone(), connections, connect, memory, delivery, slow, storm })
    }

    fn deliver(&self, generator: &mut Generator, clock: Clock) -> anyhow::Result<(Delivery, Option<Storm>)> {
        let mut publisher = Publisher::connect(&self.route, clock, &self.settings.rooms, self.scenario.size)?;
        let members = generator.members();
        let (itself, cpu_before) = (Processes::of(&[std::process::id()]), self.server.cpu());
        let (own_before, beside_before) = (itself.cpu(), self.beside.cpu());
        let (mut busy, mut storm) = (0, None);
        for plan in &self.scenario.plans {
            let began = clock.now();
            let (task, done) = publish(publisher, *plan, members.clone());
            if self.storm {
                storm = Some(self.restart(generator, clock)?);
            }
            let length = match plan {
                Plan::Rate { seconds, .. } => Duration::from_secs_f64(*seconds),
                Plan::Burst { .. } => Duration::ZERO,
            };
            let heard_all = |one: &Generator| {
                let expected = done.load(SeqCst);
                expected != NOT_DONE && one.tally.deliveries >= expected
            };
            generator.run(length + self.scenario.patience, heard_all)?;
            busy += generator.tally.last.saturating_sub(began);
            publisher = task.join().map_err(|_| anyhow!("the publisher panicked"))??;
            generator.run(PAUSE, |_| false)?;
        }
        let (cpu, own) = (self.server.cpu() - cpu_before, itself.cpu() - own_before);
        let beside = self.beside.cpu() - beside_before;
        if let Some(storm) = &mut storm {
            (storm.recovered, storm.not_recovered) = (generator.recovered, generator.not_recovered);
            storm.returned = generator.recovered + generator.not_recovered;
            storm.complete = generator.complete(publisher.emitted());
        }
        let delivered = generator.tally.deliveries;
        let expected = expected(publisher.emitted(), &members);
        let each = |nanoseconds: u64| nanoseconds as f64 / 1000.0 / delivered.max(1) as f64;
        let delivery = Delivery {
            publications: publisher.emitted().iter().map(|count| u64::from(*count)).sum(),
            expected,
            delivered,
            lost: expected.saturating_sub(delivered),
            unconfirmed: publisher.unconfirmed(),
            ended: if self.storm { 0 } else { generator.ended },
            misplaced: generator.tally.misplaced,
            seconds: seconds(busy),
            per_second: delivered as f64 / seconds(busy),
            latency_ms: generator.tally.latency(),
            publisher_late_us: publisher.late_us(),
            cpu_us: each(cpu.total),
            beside_cpu_us: each(beside.total),
            generator_cpu_us: each(own.total),
            cpu,
        };
        Ok((delivery, storm))
    }

    /// Asks for a restart of the server, and waits until everybody is back.
    ///
    /// The asking is a line on standard output, `restart`; the answer a line on standard input, once the server
    /// accepts again.
    fn restart(&self, generator: &mut Generator, clock: Clock) -> anyhow::Result<Storm> {
        const BEFORE: Duration = Duration::from_secs(2);
        generator.run(BEFORE, |_| false)?;
        println!("restart");
        let answered = Arc::new(AtomicU64::new(0));
        let answer = Arc::clone(&answered);
        let answers = thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            answer.store(clock.now(), SeqCst);
            read
        });
        generator.run(CONNECT, |_| answered.load(SeqCst) > 0)?;
        let up = answered.load(SeqCst);
        if up == 0 {
            bail!("the server was not restarted");
        }
        answers.join().map_err(|_| anyhow!("reading the answer panicked"))?.context("no answer")?;
        let wanted = self.settings.connections;
        if !generator.run(CONNECT, |one| one.joined == wanted && one.ended >= wanted as u64)? {
            bail!("only {} of {wanted} connections came back within {CONNECT:?}", generator.joined);
        }
        let all_back_s = seconds(generator.last_join.saturating_sub(up));
        Ok(Storm { returned: 0, recovered: 0, not_recovered: 0, all_back_s, complete: 0 })
    }
}

type Publishing = JoinHandle<anyhow::Result<Publisher>>;

/// Publishes from another thread; the number tells how many deliveries are due in all, once that is known.
fn publish(mut publisher: Publisher, plan: Plan, members: Vec<u64>) -> (Publishing, Arc<AtomicU64>) {
    let done = Arc::new(AtomicU64::new(NOT_DONE));
    let tell = Arc::clone(&done);
    let task = thread::spawn(move || {
        let carried_out = publisher.carry_out(plan);
        tell.store(expected(publisher.emitted(), &members), SeqCst);
        carried_out.map(|()| publisher)
    });
    (task, done)
}

/// The deliveries that follow from so many publications to so many members.
fn expected(emitted: &[u32], members: &[u64]) -> u64 {
    emitted.iter().zip(members).map(|(count, members)| u64::from(*count) * members).sum()
}

fn seconds(nanoseconds: Nanos) -> f64 {
    nanoseconds as f64 / 1e9
}
