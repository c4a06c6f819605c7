//! The pages of a long read: Redis executes nothing else during a read, so a history is read in parts of about
//! [`PAGE_BYTES`].
//!
//! Between two pages, publications may be added to the room, trimmed, or forgotten with it. This file decides what to
//! read next, and puts the pages together. It knows nothing about Redis.

use super::script::HistorySlice;
use crate::publication::StoredText;
use nodevent_protocol::history::{OffsetJump, Position};
use nodevent_protocol::publication;

/// The size of a page. Redis needs about 3 µs for each kilobyte of a reply.
const PAGE_BYTES: usize = 512 * 1024;
/// Pages after which a room is read in one piece: a room to which publications are added faster than they can be read
/// would have pages without an end.
const MAX_PAGES: usize = 1000;
/// Publications of the first page, whose sizes are not known yet.
const FIRST_COUNT: usize = 4;

/// The pages that have been read.
#[derive(Debug)]
pub(super) struct HistoryPages {
    /// The offset after which the next page begins.
    after: u64,
    /// Publications of the next page.
    count: usize,
    epoch: Option<u64>,
    texts: Vec<StoredText>,
    /// The indices at which pages begin in `texts`, and the positions of the publications there.
    starts: Vec<(usize, Option<Position>)>,
    /// Bytes of `texts`, and their maximum.
    bytes: usize,
    max_bytes: usize,
}

/// The next step after a page.
#[derive(Debug)]
pub(super) enum NextPage {
    /// Read the next one.
    Read,
    /// All have been read. They are one slice.
    Complete(HistorySlice),
    /// The pages do not fit together: the room was forgotten between two of them, a publication has no position, or there
    /// are too many. Read the room in one piece.
    Unpaged,
    /// No Redis with our script returns this: more than was requested, a page that does not continue the last one, or more
    /// than the longest history has.
    Impossible,
}

/// The reason in the log for [`NextPage::Impossible`].
pub(super) const IMPOSSIBLE: &str = "it returned more of a history than was requested or can be stored";

// === impl HistoryPages ===

impl HistoryPages {
    /// The pages after an offset, of at most `max_bytes` together.
    pub(super) fn after(offset: u64, max_bytes: usize) -> Self {
        let (texts, starts) = (Vec::new(), Vec::new());
        Self { after: offset, count: FIRST_COUNT, epoch: None, texts, starts, bytes: 0, max_bytes }
    }

    /// The offset after which the next page begins, and its number of publications.
    pub(super) fn next(&self) -> (u64, usize) {
        (self.after, self.count)
    }

    /// Whether less has been read than a page may have.
    pub(super) fn is_short(&self) -> bool {
        self.bytes < PAGE_BYTES
    }

    /// Adds the page that [`HistoryPages::next`] described.
    pub(super) fn add(&mut self, page: HistorySlice) -> NextPage {
        let HistorySlice { position, born, texts, jump } = page;
        if self.epoch.is_some_and(|epoch| epoch != position.epoch) || self.starts.len() >= MAX_PAGES {
            return NextPage::Unpaged;
        }
        self.epoch = Some(position.epoch);
        let bytes = texts.iter().map(|one| one.text().len()).sum::<usize>();
        self.bytes += bytes;
        if texts.len() > self.count || self.bytes > self.max_bytes {
            return NextPage::Impossible;
        }
        let is_full = texts.len() == self.count;
        if let Some(newest) = texts.last().filter(|_| is_full) {
            let Some(newest) = position_of(newest) else { return NextPage::Unpaged };
            if newest.offset <= self.after {
                return NextPage::Impossible;
            }
            self.after = newest.offset;
            self.count = (PAGE_BYTES * texts.len() / bytes.max(1)).clamp(1, 2 * self.count);
        }
        self.starts.push((self.texts.len(), texts.first().and_then(position_of)));
        self.texts.extend(texts);
        if is_full {
            return NextPage::Read;
        }
        let first = self.first_connected(position, jump);
        let texts = self.texts.split_off(first);
        NextPage::Complete(HistorySlice { position, born, texts, jump })
    }

    /// The index of the first text after which there is no gap: a page that begins later than the previous one ended
    /// shows that Redis has trimmed what was between them, and everything earlier.
    fn first_connected(&self, newest: Position, jump: Option<OffsetJump>) -> usize {
        let is_connected = |&&(start, position): &&(usize, Option<Position>)| {
            let expected =
                (self.texts.len() - start).checked_sub(1).map(|before| newest.nth_before(before as u64, jump));
            expected.is_none_or(|expected| position == Some(expected))
        };
        let connected = self.starts.iter().rev().take_while(is_connected).last();
        connected.map_or(self.texts.len(), |(start, _)| *start)
    }
}

fn position_of(stored: &StoredText) -> Option<Position> {
    publication::parse(stored.text().as_bytes()).ok()?.position
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::RangeInclusive;
    use std::time::{Duration, Instant};

    const EPOCH: u64 = 7;

    fn text(offset: u64, size: usize) -> StoredText {
        let position = Position { epoch: EPOCH, offset };
        StoredText::new(format!(
            "{{\"room\":\"r\",\"event\":\"e\",\"message\":\"{}\",\"position\":\"{position}\"}}",
            "x".repeat(size)
        ))
    }

    /// A page of a room whose newest offset is `newest`.
    fn page(newest: u64, offsets: RangeInclusive<u64>, size: usize) -> HistorySlice {
        let texts = offsets.map(|offset| text(offset, size)).collect();
        HistorySlice { position: Position { epoch: EPOCH, offset: newest }, born: None, texts, jump: None }
    }

    /// Reads a room of which everything from `oldest` to `newest` is stored. Returns the offsets and the number of pages.
    fn read(after: u64, oldest: u64, newest: u64, size: usize) -> (Vec<u64>, usize) {
        let mut pages = HistoryPages::after(after, usize::MAX);
        for number in 1.. {
            let (after, count) = pages.next();
            let first = (after + 1).max(oldest);
            let last = newest.min(first + count as u64 - 1);
            match pages.add(page(newest, first..=last, size)) {
                NextPage::Read => {}
                NextPage::Complete(slice) => return (offsets(&slice), number),
                other @ (NextPage::Unpaged | NextPage::Impossible) => panic!("{other:?}: the room has not changed"),
            }
        }
        unreachable!("numbers do not end")
    }

    fn offsets(slice: &HistorySlice) -> Vec<u64> {
        slice.texts.iter().map(|text| position_of(text).unwrap().offset).collect()
    }

    #[test]
    fn pages_contain_every_publication_once() {
        for (after, oldest, newest) in
            [(0, 1, 0), (0, 1, 1), (0, 1, 4), (0, 1, 5), (0, 1, 100), (50, 1, 100), (3, 90, 99)]
        {
            let expected = Vec::from_iter((after + 1).max(oldest)..=newest);
            assert_eq!(read(after, oldest, newest, 10).0, expected, "{oldest} to {newest} after {after}");
        }
    }

    #[test]
    fn pages_have_about_the_same_size_whatever_the_publications() {
        assert_eq!(read(0, 1, 1000, 100).1, 8, "of 4, 8, 16, … publications");
        assert_eq!(read(0, 1, 100, 100_000).1, 21, "of 5 publications");
        assert_eq!(read(0, 1, 10, 1 << 20).1, 8, "of one publication");
    }

    #[test]
    fn publications_between_two_pages_are_read_too() {
        let mut pages = HistoryPages::after(0, usize::MAX);
        assert!(matches!(pages.add(page(5, 1..=4, 10)), NextPage::Read));
        let NextPage::Complete(slice) = pages.add(page(7, 5..=7, 10)) else { panic!("three are not a full page") };
        assert_eq!(offsets(&slice), Vec::from_iter(1..=7));
        assert_eq!(slice.position.offset, 7);
    }

    #[test]
    fn what_precedes_trimmed_publications_is_dropped() {
        let mut pages = HistoryPages::after(0, usize::MAX);
        assert!(matches!(pages.add(page(20, 1..=4, 10)), NextPage::Read));
        let NextPage::Complete(slice) = pages.add(page(22, 21..=22, 10)) else { panic!("two are not a full page") };
        assert_eq!(offsets(&slice), [21, 22]);
        let mut pages = HistoryPages::after(0, usize::MAX);
        assert!(matches!(pages.add(page(20, 1..=4, 10)), NextPage::Read));
        let NextPage::Complete(slice) = pages.add(page(20, RangeInclusive::new(1, 0), 10)) else {
            panic!("it is empty")
        };
        assert!(slice.texts.is_empty(), "all have expired");
    }

    #[test]
    fn jump_between_two_pages_is_not_a_gap() {
        let jump = Some(OffsetJump { from: 4, to: 1_000_004, lossless: true });
        let mut pages = HistoryPages::after(0, usize::MAX);
        assert!(matches!(pages.add(page(4, 1..=4, 10)), NextPage::Read));
        let last = HistorySlice { jump, ..page(1_000_006, 1_000_005..=1_000_006, 10) };
        let NextPage::Complete(slice) = pages.add(last) else { panic!("two are not a full page") };
        assert_eq!(offsets(&slice), [1, 2, 3, 4, 1_000_005, 1_000_006]);
    }

    #[test]
    fn room_that_was_forgotten_between_two_pages_is_read_in_one_piece() {
        let mut pages = HistoryPages::after(0, usize::MAX);
        assert!(matches!(pages.add(page(5, 1..=4, 10)), NextPage::Read));
        let mut other = page(1, 1..=1, 10);
        other.position.epoch += 1;
        assert!(matches!(pages.add(other), NextPage::Unpaged));
    }

    /// Else the thread that publishes, joins and reads would do nothing else for as long as a history of megabytes takes.
    #[test]
    fn what_takes_long_is_done_page_by_page_and_not_at_the_end() {
        let read = || {
            let (mut pages, newest) = (HistoryPages::after(0, usize::MAX), 100);
            let mut all = Duration::ZERO;
            loop {
                let (after, count) = pages.next();
                let began = Instant::now();
                let next = pages.add(page(newest, after + 1..=newest.min(after + count as u64), 100_000));
                let last = began.elapsed();
                all += last;
                let NextPage::Complete(mut slice) = next else { continue };
                assert!(slice.texts.len() == 100);
                let began = Instant::now();
                let publications = slice.take_publications("r");
                let at_the_end = last + began.elapsed();
                assert_eq!(publications.len(), 100);
                return (all, at_the_end);
            }
        };
        // The machine may be busy at any moment, but not in each of the attempts.
        let times: Vec<_> = (0..10).map(|_| read()).collect();
        let all = times.iter().map(|(all, _)| *all).min().unwrap_or_default();
        let at_the_end = times.iter().map(|(_, at_the_end)| *at_the_end).min().unwrap_or_default();
        assert!(at_the_end * 4 < all, "{at_the_end:?} of {all:?}");
    }

    /// Weakness 22: a hostile Redis returned full pages without end, or pages without a limit.
    #[test]
    fn pages_without_end_are_rejected() {
        let mut pages = HistoryPages::after(0, 64 << 20);
        let mut number = 0;
        let end = loop {
            let (after, count) = pages.next();
            let count = count as u64;
            match pages.add(page(after + count, after + 1..=after + count, 100_000)) {
                NextPage::Read => number += 1,
                end => break end,
            }
        };
        assert!(matches!(end, NextPage::Impossible), "{end:?}");
        assert!((100..300).contains(&number), "{number}");
        let more = HistoryPages::after(0, usize::MAX).add(page(9, 1..=5, 10));
        assert!(matches!(more, NextPage::Impossible), "four were requested");
        let mut pages = HistoryPages::after(0, usize::MAX);
        assert!(matches!(pages.add(page(9, 1..=4, 10)), NextPage::Read));
        let same = pages.next().1 as u64;
        let again = pages.add(page(9, (5 - same.min(4))..=4, 10));
        assert!(!matches!(again, NextPage::Read), "{again:?}");
    }

    #[test]
    fn texts_without_a_position_are_read_in_one_piece() {
        let texts = (0..FIRST_COUNT).map(|_| StoredText::new("{}")).collect();
        let foreign = HistorySlice { texts, ..page(4, 1..=4, 10) };
        assert!(matches!(HistoryPages::after(0, usize::MAX).add(foreign), NextPage::Unpaged));
    }
}
