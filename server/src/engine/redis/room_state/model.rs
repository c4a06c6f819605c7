//! A model test: random publications, losses, reads and restarts against a room, with a member that must miss nothing.

use super::tests::{request, result};
use super::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// A stored publication: offset and number.
type Stored = (u64, usize);

/// A room in Redis, the messages on their way from it, and one member on this server.
#[derive(Default)]
struct Model {
    /// Creations of the room.
    epoch: u64,
    offset: u64,
    /// Identifies a time in which no room was forgotten.
    forgotten: u64,
    time: u64,
    born: Option<Position>,
    log: Vec<Stored>,
    published: usize,
    /// Position and number of what is on its way. Claims have no number.
    on_the_way: Vec<(Position, Option<usize>)>,
    /// The read in progress: its result, and the publications that it returned.
    read: Option<(ReadResult, Vec<Stored>)>,
    check: Option<(ReadResult, Vec<Stored>, Option<Position>)>,
    /// The publications that the member received, and gap notices as `None`.
    received: Vec<Option<usize>>,
}

impl Model {
    fn position(&self) -> Position {
        match self.offset {
            0 => Position { epoch: Position::absent_epoch(self.forgotten), offset: self.time },
            offset => Position { epoch: self.epoch, offset },
        }
    }

    fn publish(&mut self, is_lost: bool) {
        if self.offset == 0 {
            self.born = Some(self.position());
            self.epoch += 1;
        }
        self.offset += 1;
        self.log.push((self.offset, self.published));
        if self.log.len() > 5 {
            self.log.remove(0);
        }
        if !is_lost {
            self.on_the_way.push((self.position(), Some(self.published)));
        }
        self.published += 1;
    }

    fn forget(&mut self) {
        (self.offset, self.born) = (0, None);
        self.log.clear();
        self.forgotten += 1;
    }

    /// A read after an offset, and the publications that it returns.
    fn read_after(&self, after: Option<u64>) -> (ReadResult, Vec<Stored>) {
        let after = after.unwrap_or(u64::MAX);
        let read: Vec<_> = self.log.iter().copied().filter(|(offset, _)| *offset > after).collect();
        (ReadResult { born: self.born, ..result(self.position(), read.len()) }, read)
    }

    fn confirms_newest(room: &RoomState, result: &ReadResult, read: &[Stored]) -> Option<bool> {
        let (newest, hash) = room.unverified().filter(|(newest, _)| newest.epoch == result.position.epoch)?;
        let stored = read.iter().find(|(offset, _)| *offset == newest.offset)?;
        Some(stored.1 as u64 == hash)
    }

    fn start_check(&mut self, room: &RoomState) {
        let (result, read) = self.read_after(room.check_after());
        self.check = room.position().map(|position| (result, read, Some(position)));
    }

    fn start_read(&mut self, room: &mut RoomState) {
        if let Some(request) = room.start_read() {
            self.read = Some(self.read_after(request.after));
        }
    }

    /// Completes the read. Returns the position in the reply to the member, if it is answered.
    fn complete_read(&mut self, room: &mut RoomState) -> bool {
        let Some((mut result, read)) = self.read.take() else { return false };
        result.confirms_newest = Self::confirms_newest(room, &result, &read);
        let (backfill, answered) = room.on_read_completed(result);
        if backfill.gap {
            self.received.push(None);
        }
        self.received.extend(read.iter().skip(read.len() - backfill.deliver).map(|(_, number)| Some(*number)));
        !answered.is_empty()
    }

    fn receive(&mut self, room: &mut RoomState) {
        if self.on_the_way.is_empty() {
            return;
        }
        let (position, number) = self.on_the_way.remove(0);
        let disposition = room.on_publication(position, number.map_or(u64::MAX, |number| number as u64));

        if disposition == Disposition::DeliverAfterGap {
            self.received.push(None);
        }
        if matches!(disposition, Disposition::Deliver | Disposition::DeliverAfterGap) {
            self.received.extend(number.map(Some));
        }
    }

    fn complete_check(&mut self, room: &mut RoomState) {
        let Some((mut result, read, at_start)) = self.check.take() else { return };
        result.confirms_newest = Self::confirms_newest(room, &result, &read);
        if room.on_checked(result, at_start) == CheckResult::NotStored {
            self.received.push(None);
        }
    }
}

/// Steps in a random order: publications that arrive or are lost, reads that succeed or fail, a Redis that forgets the
/// room, and positions that another publisher claimed. The member receives every publication, or a gap notice in its
/// place. Without claims and losses it receives none twice.
#[test]
fn no_gap_is_silent_whatever_happens() {
    for seed in 0..3_000_u64 {
        let mut random = StdRng::seed_from_u64(seed);
        // A claim together with a loss at the same position cannot be detected.
        let (claims, forgets, losses) = (seed % 3 == 0, seed % 2 == 0, seed % 3 == 1);
        let (mut model, mut room) = (Model::default(), RoomState::new(true, true));
        room.add_shard(0);
        room.enqueue(request(Since::FirstJoin), Instant::now());
        // What was published before the read that admits the member does not matter.
        let mut admitted_at = None;
        for _ in 0..60 {
            model.time += 1;
            match random.random_range(0..12_u32) {
                0..=2 => model.publish(losses && random.random_range(0..4_u32) == 0),
                3..=5 => model.receive(&mut room),
                6 | 7 => model.start_read(&mut room),
                8 => {
                    let shown = model.read.as_ref().map(|(read, _)| *read);
                    if model.complete_read(&mut room) && admitted_at.is_none() {
                        admitted_at = shown;
                    }
                }
                9 if random.random_range(0..2_u32) == 0 => {
                    if model.read.take().is_some() {
                        room.on_read_failed();
                    }
                }
                9 => model.start_check(&room),
                10 => model.complete_check(&mut room),
                _ if claims => {
                    let ahead = [1, 1, 2, 1000][random.random_range(0..4_usize)];
                    let epoch = model.epoch + u64::from(random.random_range(0..4_u32) == 0);
                    let offset = model.offset + ahead;
                    model.on_the_way.push((Position { epoch, offset }, None));
                }
                _ if forgets && random.random_range(0..4_u32) == 0 => model.forget(),
                _ => room.mark_possibly_stale(),
            }
        }
        // Everything calms down.
        while !model.on_the_way.is_empty() {
            model.receive(&mut room);
        }
        for _ in 0..8 {
            if model.read.is_some() {
                model.complete_read(&mut room);
            }
            model.complete_check(&mut room);
            model.start_read(&mut room);
            model.complete_read(&mut room);
            model.time += 1;
            model.start_check(&room);
        }
        model.check = None;
        assert!(!room.needs_read(), "seed {seed}: {room:?}");
        let known = room.position().expect("a position");
        let is_current = known == model.position() || known.is_absent_until(model.position());
        assert!(is_current, "seed {seed}: {known} instead of {}", model.position());
        // Each number is there, or a notice that follows everything before it.
        let Some(admitted_at) = admitted_at else { continue };
        let live: Vec<usize> = model.received.iter().copied().flatten().collect();
        let newest = live.iter().copied().max().unwrap_or_default();
        let last_notice = model.received.iter().rposition(Option::is_none);
        let after_notice: Vec<usize> =
            model.received[last_notice.map_or(0, |index| index + 1)..].iter().copied().flatten().collect();
        if last_notice.is_none() {
            assert!(live.windows(2).all(|two| two[0] < two[1]) || claims, "seed {seed}: {:?}", model.received);
        }
        let gaps = after_notice.windows(2).any(|two| two[1] > two[0] + 1);
        assert!(!gaps, "seed {seed}: {:?} since {admitted_at:?}", model.received);
        // The newest stored publication was delivered, unless the member was admitted after it.
        if let Some((offset, number)) = model.log.last()
            && !(admitted_at.position.epoch == model.epoch && admitted_at.position.offset >= *offset)
        {
            let is_noticed = last_notice.is_some();
            assert!(*number <= newest || is_noticed, "seed {seed}: {number} {:?}", model.received);
        }
    }
}
