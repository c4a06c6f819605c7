//! The records of pages: each has all of one page, or says that there is none any more.

use super::super::durable::{Durable, Kind};
use super::super::times::Times;
use super::{ITSELF, Page, State};
use crate::store::{Decoder, Encoder};
use nodevent_protocol::history::Position;
use nodevent_protocol::pages::PageDigest;
use std::time::Instant;

// === impl State ===

impl State {
    /// All pages.
    pub(super) fn digests(&self) -> Vec<PageDigest> {
        self.pages.keys().copied().collect()
    }

    /// Writes a page, or that there is none.
    pub(in super::super) fn write_page(&self, digest: PageDigest, times: &Times, one: &mut Encoder<'_>) {
        one.array(digest.bytes());
        let Some(page) = self.pages.get(&digest) else {
            one.u8(0);
            return;
        };
        one.u8(1).u64(times.ms(page.expires)).optional(page.connected_since.map(|since| times.ms(since)));
        one.count(page.channels.len());
        for (channel, position) in &page.channels {
            one.text(channel).optional(position.map(|position| position.epoch));
            one.u64(position.map_or(0, |position| position.offset));
        }
    }

    /// Appends everything, for a store that no server uses.
    pub(in super::super) fn write_all(&self, durable: &Durable) {
        let times = Times::now();
        for digest in self.digests() {
            durable.append_part(Kind::Page, |one| self.write_page(digest, &times, one));
        }
    }

    pub(in super::super) fn restore(&mut self, mut from: Decoder<'_>, times: &Times) -> Option<()> {
        let (digest, is_there) = (PageDigest::from_bytes(from.array()?), from.flag()?);
        self.remove(digest);
        if !is_there {
            return Some(());
        }
        let (expires, connected_since) = (times.at(from.u64()?), from.optional()?.map(|since| times.at(since)));
        let mut channels = Vec::new();
        for _ in 0..from.u32()? {
            let (channel, epoch, offset) = (from.text()?, from.optional()?, from.u64()?);
            if *channel != *ITSELF {
                *self.channels.entry(channel.into()).or_default() += 1;
            }
            channels.push((channel.into(), epoch.map(|epoch| Position { epoch, offset })));
        }
        self.pages.insert(digest, Page { channels, connected_since, expires });
        self.expiries.insert((expires, digest));
        Some(())
    }

    /// Removes what is too old, after all records were restored.
    pub(in super::super) fn restored(&mut self) {
        while self.remove_expired(Instant::now()) > 0 {}
    }

    /// Everything that a restart must not change, as text. For tests.
    #[cfg(test)]
    pub(in super::super) fn describe(&self) -> Vec<String> {
        let of = |(digest, page): (&PageDigest, &Page)| {
            format!("{digest} {} {:?}", page.connected_since.is_some(), page.channels)
        };
        let mut all: Vec<String> = self.pages.iter().map(of).collect();
        all.extend(self.channels.iter().map(|(channel, count)| format!("{channel} {count}")));
        all.sort();
        all
    }

    /// Changes a page at random. For tests.
    #[cfg(test)]
    pub(in super::super) fn change_at_random(&mut self, name: &str, number: u64) -> PageDigest {
        use crate::pages::{PageChange, PageSettings, Received};
        use std::time::Duration;
        let hour = Duration::from_secs(3600);
        let room_prefix = nodevent_protocol::pages::CHANNEL_PREFIX;
        let settings = PageSettings { initial: hour, grace: hour, max_channels: 3, max_pages: 100, room_prefix };
        let (page, now) = (PageDigest::of("key", name), Instant::now());
        let position = Some(Position { epoch: 1, offset: number });
        let channel = |number: u64| format!("channel-{}", number % 5).into_boxed_str();
        match number % 4 {
            0 => drop(self.open(page, hour, now)),
            1 => drop(self.close(page, Received::UpTo(vec![(channel(number / 4), position)]), &settings, now)),
            _ => {
                let (subscribe, unsubscribe) =
                    (vec![channel(number / 4), ITSELF.into()], vec![channel(number / 8)]);
                let subscriptions: Vec<_> = subscribe.iter().map(|one| (one.clone(), position)).collect();
                self.change(&PageChange { page, unsubscribe, subscribe }, &subscriptions, &settings, now);
            }
        }
        page
    }
}
