//! The sequence of a run: connect, settle, publish, receive, report.

use crate::clock::{Clock, Nanos};
use crate::generator::{Generator, Settings};
use crate::presence::{Change, GRACE, PresenceTally, is_mover};
use crate::process::Processes;
use crate::publisher::{Plan, Publisher, Route};
use crate::redis_counters::Counters;
use crate::report::{Connect, Delivery, Mailbox, MemoryUse, Presence, Report, Slow, Storm};
use crate::scenario::Scenario;
use crate::servers::{Servers, Snapshot};
use crate::token;
use anyhow::{Context as _, anyhow, bail};
use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Time for all connects together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause between two plans.
const PAUSE: Duration = Duration::from_millis(300);
/// Time for the enter events of all connects.
const ENTER_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for slow clients to detect that they have been closed.
const SLOW_CLOSE_TIMEOUT: Duration = Duration::from_secs(20);
/// Marks a publisher that has not finished.
const IN_PROGRESS: u64 = u64::MAX;

/// A run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) scenario: Scenario,
    pub(crate) settings: Settings,
    pub(crate) route: Route,
    pub(crate) server: Processes,
    /// The server's Redis, if it has one.
    pub(crate) redis: Processes,
    /// True if the server restarts during the publications.
    pub(crate) storm: bool,
}

// === impl Run ===

impl Run {
    pub(crate) fn run(&self) -> anyhow::Result<Report> {
        let clock = Clock::start();
        let connections = self.settings.connections;
        let mut generator = Generator::new(self.settings.clone(), clock)?;
        let has_several = !self.scenario.idle_time.is_zero();
        let nodes = if has_several { self.route.nodes() } else { Vec::new() };
        let redis_before = nodes.iter().map(|node| Counters::read(*node)).collect::<anyhow::Result<Vec<_>>>()?;
        let (memory_before, cpu_before, started) = (self.server.memory(), self.server.cpu(), clock.now());
        generator.connect_all(CONNECT_TIMEOUT)?;
        let seconds = seconds(generator.last_join - started);
        let cpu_us = (self.server.cpu() - cpu_before).total as f64 / 1000.0 / connections as f64;
        let connect = Connect {
            seconds,
            per_second: connections as f64 / seconds,
            cpu_us,
            join_retries: generator.join_retries,
        };
        generator.run(self.scenario.settle_time, |_| false)?;
        let memory_idle = self.server.memory();
        let (mut delivery, mut storm, mut servers) = (None, None, None);
        let snapshot = || Snapshot::take(clock.now(), &self.server, &self.redis, &nodes);
        let idle = if has_several {
            let before = snapshot()?;
            generator.run(self.scenario.idle_time, |_| false)?;
            Some(snapshot()?.since(&before))
        } else {
            None
        };
        if !self.scenario.plans.is_empty() {
            let before = if has_several { Some(snapshot()?) } else { None };
            let (measured, stormed, publisher) = self.deliver(&mut generator, clock)?;
            if let (Some(before), Some(idle)) = (before, idle) {
                servers = Some(Servers {
                    publications: measured.publications,
                    calls: publisher.calls(),
                    flushes: publisher.flushes(),
                    publisher_us: publisher.cpu() as f64 / 1000.0,
                    memory_before: redis_before.iter().map(|one| one.memory).collect(),
                    idle,
                    publishing: snapshot()?.since(&before),
                });
            }
            (delivery, storm) = (Some(measured), stormed);
        }
        let presence = match self.scenario.changes_per_second {
            0 => None,
            rate => Some(self.change_presence(&mut generator, clock, rate)?),
        };
        generator.run(PAUSE, |_| false)?;
        let mailbox = self.acknowledgements(&mut generator)?;
        let memory = MemoryUse::new(memory_before, memory_idle, self.server.memory(), connections);
        let slow = match self.settings.slow {
            0 => None,
            slow => {
                generator.resume_slow()?;
                generator.run(SLOW_CLOSE_TIMEOUT, |one| one.slow_closed == slow as u64)?;
                Some(Slow { connections: slow, closed: generator.slow_closed })
            }
        };
        let scenario = self.name.clone();
        Ok(Report { scenario, connections, connect, memory, delivery, slow, storm, presence, mailbox, servers })
    }

    /// Lets every second user leave and enter again, and waits for the events.
    fn change_presence(&self, generator: &mut Generator, clock: Clock, rate: u32) -> anyhow::Result<Presence> {
        generator.run(ENTER_TIMEOUT, |_| false)?;
        let (connections, rooms) = (self.settings.connections, self.settings.rooms.len());
        let movers: Vec<usize> = (0..connections).filter(|one| is_mover(*one, rooms)).collect();
        let staying =
            |mover: &usize| (mover % rooms..connections).step_by(rooms).filter(|one| !is_mover(*one, rooms));
        let expected = movers.iter().map(|mover| staying(mover).count() as u64).sum::<u64>();
        generator.presence = Some(PresenceTally::new(connections)?);
        let (cpu_before, redis_before) = (self.server.cpu(), self.redis.cpu());
        for change in [Change::Leave, Change::Enter] {
            let begin = clock.now();
            for (index, mover) in movers.iter().enumerate() {
                let due = begin + index as u64 * 1_000_000_000 / u64::from(rate);
                generator.run(CONNECT_TIMEOUT, |_| clock.now() >= due)?;
                generator.change_presence(*mover, change)?;
            }
            let received = |one: &Generator| {
                one.presence
                    .as_ref()
                    .map_or(0, |tally| if change == Change::Leave { tally.leaves } else { tally.enters })
            };
            generator.run(GRACE + self.scenario.timeout, |one| received(one) >= expected)?;
        }
        let (cpu, redis) = (self.server.cpu() - cpu_before, self.redis.cpu() - redis_before);
        let tally = generator.presence.take().context("there is no tally")?;
        let changes = 2 * movers.len() as u64;
        let each = |nanoseconds: u64| nanoseconds as f64 / 1000.0 / changes.max(1) as f64;
        let delivered = tally.leaves + tally.enters;
        Ok(Presence {
            changes,
            cpu_us: each(cpu.total),
            redis_cpu_us: each(redis.total),
            expected: 2 * expected,
            delivered,
            lost: (2 * expected).saturating_sub(delivered),
            enter_ms: tally.enter_latency.summary(),
            leave_ms: tally.leave_latency.summary(),
        })
    }

    /// Waits until all messages are acknowledged.
    fn acknowledgements(&self, generator: &mut Generator) -> anyhow::Result<Option<Mailbox>> {
        let acknowledged = |one: &Generator| one.mailbox.as_ref().map_or(0, |tally| tally.acknowledged);
        if generator.mailbox.is_some() {
            generator.run(self.scenario.timeout, |one| acknowledged(one) >= one.tally.deliveries)?;
        }
        Ok(generator
            .mailbox
            .as_ref()
            .map(|tally| Mailbox { acknowledged: tally.acknowledged, acknowledgement_ms: tally.latency.summary() }))
    }

    fn deliver(
        &self,
        generator: &mut Generator,
        clock: Clock,
    ) -> anyhow::Result<(Delivery, Option<Storm>, Publisher)> {
        let users: Vec<String> = (0..self.settings.connections).map(token::user).collect();
        let targets = if self.scenario.mailboxes { &users } else { &self.settings.rooms };
        let mut publisher = Publisher::connect(&self.route, clock, targets, self.scenario.size)?;
        let members = generator.members();
        let (itself, cpu_before) = (Processes::of(&[std::process::id()]), self.server.cpu());
        let (own_before, redis_before, bytes_before) = (itself.cpu(), self.redis.cpu(), generator.tally.bytes);
        let (mut busy, mut storm) = (0, None);
        for plan in &self.scenario.plans {
            let started = clock.now();
            let (task, done) = publish(publisher, *plan, members.clone());
            if self.storm {
                storm = Some(self.restart(generator, clock)?);
            }
            let length = match plan {
                Plan::Rate { seconds, .. } => Duration::from_secs_f64(*seconds),
                Plan::Burst { .. } => Duration::ZERO,
            };
            let received_all = |one: &Generator| {
                let expected = done.load(SeqCst);
                expected != IN_PROGRESS && one.tally.deliveries >= expected
            };
            generator.run(length + self.scenario.timeout, received_all)?;
            busy += generator.tally.last.saturating_sub(started);
            publisher = task.join().map_err(|_| anyhow!("the publisher panicked"))??;
            generator.run(PAUSE, |_| false)?;
        }
        let (cpu, own) = (self.server.cpu() - cpu_before, itself.cpu() - own_before);
        let redis = self.redis.cpu() - redis_before;
        if let Some(storm) = &mut storm {
            (storm.recovered, storm.not_recovered) = (generator.recovered, generator.not_recovered);
            storm.reconnected = generator.recovered + generator.not_recovered;
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
            out_of_order: generator.tally.out_of_order,
            bytes: (generator.tally.bytes - bytes_before) as f64 / delivered.max(1) as f64,
            seconds: seconds(busy),
            per_second: delivered as f64 / seconds(busy),
            latency_ms: generator.tally.latency(),
            publisher_lateness_us: publisher.lateness_us(),
            cpu_us: each(cpu.total),
            redis_cpu_us: each(redis.total),
            generator_cpu_us: each(own.total),
            cpu,
        };
        Ok((delivery, storm, publisher))
    }

    /// Requests a restart of the server, and waits until all connections are back in their rooms.
    ///
    /// The request is a line on standard output, `restart`. The reply is a line on standard input as soon as the server
    /// accepts connections again.
    fn restart(&self, generator: &mut Generator, clock: Clock) -> anyhow::Result<Storm> {
        const BEFORE: Duration = Duration::from_secs(2);
        generator.run(BEFORE, |_| false)?;
        println!("restart");
        let restarted_at = Arc::new(AtomicU64::new(0));
        let reply_at = Arc::clone(&restarted_at);
        let reader = thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            reply_at.store(clock.now(), SeqCst);
            read
        });
        generator.run(CONNECT_TIMEOUT, |_| restarted_at.load(SeqCst) > 0)?;
        let up = restarted_at.load(SeqCst);
        if up == 0 {
            bail!("the server was not restarted");
        }
        reader.join().map_err(|_| anyhow!("reading the reply panicked"))?.context("no reply")?;
        let wanted = self.settings.connections;
        if !generator.run(CONNECT_TIMEOUT, |one| one.joined == wanted && one.ended >= wanted as u64)? {
            bail!("only {} of {wanted} connections reconnected within {CONNECT_TIMEOUT:?}", generator.joined);
        }
        let all_joined_s = seconds(generator.last_join.saturating_sub(up));
        Ok(Storm { reconnected: 0, recovered: 0, not_recovered: 0, all_joined_s, complete: 0 })
    }
}

type Publishing = JoinHandle<anyhow::Result<Publisher>>;

/// Publishes from another thread. The number becomes the total of expected deliveries when the publisher has finished.
fn publish(mut publisher: Publisher, plan: Plan, members: Vec<u64>) -> (Publishing, Arc<AtomicU64>) {
    let done = Arc::new(AtomicU64::new(IN_PROGRESS));
    let expected_total = Arc::clone(&done);
    let task = thread::spawn(move || {
        let result = publisher.run(plan);
        expected_total.store(expected(publisher.emitted(), &members), SeqCst);
        result.map(|()| publisher)
    });
    (task, done)
}

/// Returns the number of deliveries of these publications to these members.
fn expected(emitted: &[u32], members: &[u64]) -> u64 {
    emitted.iter().zip(members).map(|(count, members)| u64::from(*count) * members).sum()
}

fn seconds(nanoseconds: Nanos) -> f64 {
    nanoseconds as f64 / 1e9
}
