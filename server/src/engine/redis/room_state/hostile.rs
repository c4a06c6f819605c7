//! Hostile publications and replies: a generator invents what Redis sends. Whatever it is, nothing panics, what is
//! delivered was read, every request is answered in the end, and reads without progress wait for the next tick.
//!
//! The generator is seeded: each seed is a room of [`STEPS`] steps. `NODEVENT_FUZZ_SECONDS` runs more seeds, until the
//! time is over; `rake fuzz` sets it.

use super::tests::request;
use super::*;
use crate::seeds::seeds;
use nodevent_protocol::history::MAX_OFFSET;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::time::Duration;

/// Steps of one room.
const STEPS: usize = 10_000;
/// Rooms without `NODEVENT_FUZZ_SECONDS`.
const SEEDS: u64 = 20;
/// Reads in a row that may follow each other without a pause, if nothing else happens in between.
const MAX_READS_IN_A_ROW: usize = 8;
/// Requests that may wait. More are not made.
const MAX_PENDING: usize = 50;

/// Whatever could confuse: positions near the known one, of few epochs, absent ones, and the largest.
fn position(random: &mut StdRng, known: Option<Position>) -> Position {
    let epoch = match random.random_range(0..6_u32) {
        0 => Position::absent_epoch(random.random_range(0..2)),
        1 => random.random_range(1..3),
        _ => known.map_or(1, |known| known.epoch),
    };
    let near = known.map_or(0, |known| known.offset);
    let offset = match random.random_range(0..8_u32) {
        0 => 0,
        1 => MAX_OFFSET,
        2 => random.random_range(0..=MAX_OFFSET),
        3 => near.saturating_sub(random.random_range(0..3)),
        4 => near,
        _ => near.saturating_add(random.random_range(1..4)).min(MAX_OFFSET),
    };
    Position { epoch, offset }
}

fn reply(random: &mut StdRng, known: Option<Position>) -> ReadResult {
    let from = random.random_range(0..=MAX_OFFSET);
    let jump = OffsetJump { from, to: position(random, known).offset, lossless: random.random() };
    let born = position(random, known);
    let count = random.random_range(0..5);
    // It is computed from the publications that were read.
    let confirms_newest = [None, Some(true), Some(false)][random.random_range(0..3_usize)].filter(|_| count > 0);
    ReadResult {
        position: position(random, known),
        born: random.random::<bool>().then_some(born),
        jump: random.random::<bool>().then_some(jump),
        count,
        confirms_newest,
    }
}

/// A room, and the questions of its members.
struct Hostile {
    random: StdRng,
    room: RoomState,
    seed: u64,
    asked: usize,
    answered: usize,
    is_reading: bool,
    now: Instant,
}

impl Hostile {
    fn new(seed: u64) -> Self {
        let mut room = RoomState::new(true, !seed.is_multiple_of(4));
        room.add_shard(0);
        let (random, now) = (StdRng::seed_from_u64(seed), Instant::now());
        Self { random, room, seed, asked: 0, answered: 0, is_reading: false, now }
    }

    fn ask(&mut self) {
        if self.asked - self.answered >= MAX_PENDING {
            return;
        }
        let known = self.room.position();
        let since = match self.random.random_range(0..5_u32) {
            0 => Since::FirstJoin,
            1 => Since::Beginning,
            2 => Since::Invalid,
            _ => Since::Position(position(&mut self.random, known)),
        };
        if self.room.immediate_recovery(since).is_none() {
            self.room.enqueue(request(since), self.now);
            self.asked += 1;
        }
    }

    fn complete(&mut self) {
        if std::mem::take(&mut self.is_reading) {
            let read = reply(&mut self.random, self.room.position());
            let (backfill, answered) = self.room.on_read_completed(read);
            assert!(backfill.deliver <= read.count, "seed {}: {backfill:?} of {read:?}", self.seed);
            self.answered += answered.len();
        }
    }

    /// Reads as the subscriber does between two ticks, with a Redis that responds to nothing but reads.
    fn read_until_it_waits(&mut self) {
        for _ in 0..MAX_READS_IN_A_ROW {
            if !self.is_reading && (self.room.should_wait() || self.room.start_read().is_none()) {
                return;
            }
            self.is_reading = true;
            assert!(self.room.start_read().is_none(), "seed {}: one read at a time", self.seed);
            self.complete();
        }
        let is_idle = self.room.should_wait() || !self.room.needs_read();
        assert!(is_idle, "seed {}: reads without end: {:?}", self.seed, self.room);
    }

    fn step(&mut self) {
        let known = self.room.position();
        match self.random.random_range(0..14_u32) {
            0..=3 => {
                let published = position(&mut self.random, known);
                self.room.on_publication(published, self.random.random_range(0..3));
            }
            4 => self.is_reading |= self.room.start_read().is_some(),
            5 | 6 => self.complete(),
            7 if std::mem::take(&mut self.is_reading) => match self.random.random::<bool>() {
                true => self.room.on_read_failed(),
                false => self.answered += self.room.on_read_rejected().len(),
            },
            8 => {
                let (stored, before) = (reply(&mut self.random, known), position(&mut self.random, known));
                let at_start = self.random.random::<bool>().then_some(before).or(known);
                self.room.on_checked(stored, at_start);
            }
            9 => self.ask(),
            10 => self.room.mark_possibly_stale(),
            11 => self.room.mark_unsubscribed(),
            12 => self.read_until_it_waits(),
            _ => {
                self.now += Duration::from_secs(1);
                let deadline = self.now.checked_sub(Duration::from_secs(10));
                self.answered += deadline.map_or(0, |deadline| self.room.take_timed_out(deadline).len());
            }
        }
    }
}

#[test]
fn hostile_publications_and_replies_cause_neither_panics_nor_reads_without_end() {
    for seed in seeds(SEEDS) {
        let mut hostile = Hostile::new(seed);
        for _ in 0..STEPS {
            hostile.step();
        }
        hostile.is_reading &= hostile.room.in_flight.is_some();
        hostile.answered += hostile.room.take_timed_out(hostile.now).len();
        assert_eq!(hostile.asked, hostile.answered, "seed {seed}: every request is answered");
    }
}
