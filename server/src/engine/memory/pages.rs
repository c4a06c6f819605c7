//! The pages of visitors in this process.
//!
//! What has expired is removed in bounded steps with each change, and by a task, so that pages that never connect leave
//! nothing behind. With a store, a restart restores them.

mod records;

use super::super::Fanout;
use super::Memory;
use super::durable::{Durable, Kind};
use super::times::Times;
use crate::history::Since;
use crate::outcome::{Outcome, Pending};
use crate::pages::{Changed, IsVisible, PageChange, PageNotice, PageReplyTo, PageSettings, Pages, Received};
use crate::store::{Source, Store};
use nodevent_protocol::history::Position;
use nodevent_protocol::pages::{self, ITSELF, PageDigest, Subscription};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often the task removes what has expired, at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Pages that one step removes, so that the lock is held briefly.
const SWEEP_STEP: usize = 1024;

/// The pages of one namespace.
#[derive(Debug)]
pub(super) struct PagesInMemory {
    settings: PageSettings,
    /// Where the positions of channels are.
    memory: Arc<Memory>,
    /// Locked during a change and its announcement, so that all shards receive one order.
    fanout: tokio::sync::Mutex<Fanout>,
    /// Locked briefly, and never across an await. Shards lock it too, when a page connects.
    state: Mutex<State>,
    /// `None`: there is no store.
    durable: Option<Durable>,
}

/// Pages that a checkpoint writes under one lock.
const STEP: usize = 64;
/// Channels that a search reads under one lock. There may be hundreds of thousands.
const SEARCH_STEP: usize = 512;

#[derive(Debug, Default)]
pub(super) struct State {
    pages: HashMap<PageDigest, Page>,
    /// When pages are forgotten.
    expiries: BTreeSet<(Instant, PageDigest)>,
    /// How many pages are subscribed to each channel. By name, so that a search can continue behind the last one.
    channels: BTreeMap<Box<str>, usize>,
}

#[derive(Debug)]
struct Page {
    /// Few, so a list.
    channels: Vec<(Box<str>, Option<Position>)>,
    /// Since when it is connected, or was as it disconnected after `initial`. `None`: it is kept as if it had not connected.
    connected_since: Option<Instant>,
    expires: Instant,
}

// === impl PagesInMemory ===

impl PagesInMemory {
    /// Starts it with these pages on the current runtime.
    pub(super) fn start(
        settings: PageSettings,
        fanout: Fanout,
        memory: &Arc<Memory>,
        state: State,
        durable: Option<Durable>,
    ) -> Arc<Self> {
        let (memory, fanout, state) = (Arc::clone(memory), tokio::sync::Mutex::new(fanout), Mutex::new(state));
        let pages = Arc::new(Self { settings, memory, fanout, state, durable });
        if let Some(durable) = &pages.durable {
            durable.store.add_source(Arc::clone(&pages) as _);
        }
        tokio::spawn(sweep(Arc::downgrade(&pages)));
        pages
    }

    /// Appends what a page has now, if there is a store. If it is lost, a page receives again what it has.
    fn note(&self, state: &State, page: PageDigest) {
        if let Some(durable) = &self.durable {
            durable.note_lazily(Kind::Page, |one| state.write_page(page, &Times::now(), one));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves nothing in it that could not be used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes what has expired, for as long as the engine exists.
async fn sweep(pages: Weak<PagesInMemory>) {
    loop {
        let Some(all) = pages.upgrade() else { return };
        let removed = all.state().remove_expired(Instant::now());
        drop(all);
        let pause = if removed == SWEEP_STEP { Duration::from_millis(1) } else { SWEEP_INTERVAL };
        tokio::time::sleep(pause).await;
    }
}

impl Pages for PagesInMemory {
    fn settings(&self) -> PageSettings {
        self.settings
    }

    fn change<'a>(&'a self, change: &'a PageChange) -> Pending<'a, Changed> {
        Box::pin(async move {
            let fanout = self.fanout.lock().await;
            let position = |channel: &str| {
                let topic = pages::topic_of(self.settings.room_prefix, change.page, channel);
                let read = self.memory.read(&topic, Since::FirstJoin);
                (channel.into(), read.and_then(|read| read.recovery.position))
            };
            let subscribe: Vec<Subscription> = change.subscribe.iter().map(|channel| position(channel)).collect();
            let (changed, written) = {
                let mut state = self.state();
                let changed = state.change(change, &subscribe, &self.settings, Instant::now());
                let is_done = matches!(changed, Changed::Done { .. });
                let written = self.durable.as_ref().filter(|_| is_done).map(|durable| {
                    (durable, durable.append(Kind::Page, |one| state.write_page(change.page, &Times::now(), one)))
                });
                (changed, written)
            };
            if matches!(changed, Changed::Done { subscribed, unsubscribed, .. } if subscribed + unsubscribed > 0) {
                let unsubscribed = change.unsubscribe.clone();
                fanout.notify_page(PageNotice { page: change.page, unsubscribed }).await;
            }
            drop(fanout);
            if let Some((durable, position)) = written {
                durable.written(position).await?;
            }
            Ok(changed)
        })
    }

    fn channels<'a>(
        &'a self,
        pattern: &'a str,
        is_visible: &'a IsVisible<'a>,
        max: usize,
    ) -> Pending<'a, Option<Vec<String>>> {
        Box::pin(async move {
            let (mut found, mut last) = (Vec::new(), None::<Box<str>>);
            loop {
                // They are compared without the lock, for which shards may wait.
                let names = self.state().names_after(pattern, last.as_deref());
                let is_found = |name: &&str| pages::matches(pattern, name) && is_visible(name);
                let matching = names.iter().map(|name| &**name).filter(is_found);
                found.extend(matching.take(max + 1 - found.len()).map(str::to_owned));
                if found.len() > max {
                    return Ok(None);
                }
                if names.len() < SEARCH_STEP {
                    return Ok(Some(found));
                }
                last = names.into_iter().next_back();
                // Other requests have their turns.
                tokio::task::yield_now().await;
            }
        })
    }

    fn open(&self, page: PageDigest, _reply_to: PageReplyTo) -> Outcome<Vec<Subscription>> {
        let mut state = self.state();
        let subscriptions = state.open(page, self.settings.grace, Instant::now());
        if !subscriptions.is_empty() {
            self.note(&state, page);
        }
        Outcome::Ready(subscriptions)
    }

    fn close(&self, page: PageDigest, received: Received) {
        let mut state = self.state();
        if state.close(page, received, &self.settings, Instant::now()) {
            self.note(&state, page);
        }
    }
}

// === impl State ===

impl State {
    /// Removes pages that have expired, and returns how many: at most one step.
    fn remove_expired(&mut self, now: Instant) -> usize {
        let mut removed = 0;
        while removed < SWEEP_STEP
            && let Some(&(expires, page)) = self.expiries.first()
            && expires <= now
        {
            self.remove(page);
            removed += 1;
        }
        if self.pages.is_empty() {
            // What many pages took is given back.
            *self = Self::default();
        }
        removed
    }

    fn remove(&mut self, digest: PageDigest) {
        let Some(page) = self.pages.remove(&digest) else { return };
        self.expiries.remove(&(page.expires, digest));
        for (channel, _) in &page.channels {
            self.count_unsubscribed(channel);
        }
    }

    fn count_unsubscribed(&mut self, channel: &str) {
        if let Some(count) = self.channels.get_mut(channel) {
            *count -= 1;
            if *count == 0 {
                self.channels.remove(channel);
            }
        }
    }

    /// Channels behind `last` that begin as a pattern does: those of one step of a search. Fewer are the last ones.
    fn names_after(&self, pattern: &str, last: Option<&str>) -> Vec<Box<str>> {
        let start = pattern.split_once('*').map_or(pattern, |(start, _)| start);
        let from = last.map_or(Bound::Included(start), Bound::Excluded);
        let names = self.channels.range::<str, _>((from, Bound::Unbounded)).map(|(name, _)| name);
        names.take_while(|name| name.starts_with(start)).take(SEARCH_STEP).cloned().collect()
    }

    fn change(
        &mut self,
        change: &PageChange,
        subscribe: &[Subscription],
        settings: &PageSettings,
        now: Instant,
    ) -> Changed {
        self.remove_expired(now);
        let PageChange { page: digest, unsubscribe, .. } = change;
        let page = self.pages.get(digest).filter(|page| page.expires > now);
        let has = |channel: &str| page.is_some_and(|page| page.has(channel));
        let removed: Vec<&str> = unsubscribe.iter().map(|one| &**one).filter(|one| has(one)).collect();
        let added: Vec<&Subscription> = subscribe.iter().filter(|(channel, _)| !has(channel)).collect();
        let count = page.map_or(0, |page| page.channels.len()) - removed.len() + added.len();
        if !added.is_empty() && count > settings.max_channels {
            return Changed::TooManyChannels;
        }
        if page.is_none() {
            if added.is_empty() {
                return Changed::Done { subscribed: 0, unsubscribed: 0, channels: 0 };
            }
            if self.pages.len() >= settings.max_pages {
                return Changed::TooManyPages;
            }
            self.remove(*digest);
        }
        for channel in &removed {
            self.count_unsubscribed(channel);
        }
        for (channel, _) in added.iter().filter(|(channel, _)| **channel != *ITSELF) {
            *self.channels.entry(channel.clone()).or_default() += 1;
        }
        let named = |channel: &&str| **channel != *ITSELF;
        let subscribed = added.iter().map(|(channel, _)| &**channel).filter(named).count();
        let unsubscribed = removed.len();
        let page = match self.pages.entry(*digest) {
            Entry::Occupied(page) => page.into_mut(),
            Entry::Vacant(place) => {
                place.insert(Page { channels: Vec::new(), connected_since: None, expires: now })
            }
        };
        page.channels.retain(|(channel, _)| !removed.contains(&&**channel));
        page.channels.extend(added.into_iter().cloned());
        let time = if page.connected_since.is_some() { settings.grace } else { settings.initial };
        // What only unsubscribes does not prolong the time.
        if !subscribe.is_empty() {
            self.keep_until(*digest, now + time);
        }
        let channels = self
            .pages
            .get(digest)
            .map_or(0, |page| page.channels.iter().filter(|(one, _)| **one != *ITSELF).count());
        Changed::Done { subscribed, unsubscribed, channels }
    }

    fn keep_until(&mut self, digest: PageDigest, expires: Instant) {
        let Some(page) = self.pages.get_mut(&digest) else { return };
        self.expiries.remove(&(page.expires, digest));
        page.expires = expires;
        self.expiries.insert((expires, digest));
    }

    fn open(&mut self, digest: PageDigest, grace: Duration, now: Instant) -> Vec<Subscription> {
        let Some(page) = self.pages.get_mut(&digest).filter(|page| page.expires > now) else { return Vec::new() };
        page.connected_since.get_or_insert(now);
        let all = page.channels.iter_mut().map(|(channel, position)| (channel.clone(), position.take())).collect();
        self.keep_until(digest, now + grace);
        all
    }

    /// Whether there is such a page.
    fn close(&mut self, digest: PageDigest, received: Received, settings: &PageSettings, now: Instant) -> bool {
        let Some(page) = self.pages.get_mut(&digest).filter(|page| page.expires > now) else { return false };
        let (only_where_none, received) = received.into_parts();
        for (channel, position) in received {
            if let Some(own) = page.channels.iter_mut().find(|(one, _)| *one == channel)
                && !(only_where_none && own.1.is_some())
            {
                own.1 = position;
            }
        }
        let was_connected = |since: &Instant| now.saturating_duration_since(*since) >= settings.initial;
        page.connected_since = page.connected_since.filter(was_connected);
        let is_kept_longer = page.connected_since.is_some();
        let time = if is_kept_longer { settings.grace } else { settings.initial.min(settings.grace) };
        self.keep_until(digest, now + time);
        true
    }
}

impl Source for PagesInMemory {
    fn write_all(&self, store: &Store) {
        let Some(durable) = &self.durable else { return };
        let pages = self.state().digests();
        for some in pages.chunks(STEP) {
            let (state, times) = (self.state(), Times::now());
            for page in some {
                durable.append_part(Kind::Page, |one| state.write_page(*page, &times, one));
            }
            drop(state);
            store.pause();
        }
    }
}

// === impl Page ===

impl Page {
    fn has(&self, channel: &str) -> bool {
        self.channels.iter().any(|(one, _)| **one == *channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: PageSettings = PageSettings {
        initial: Duration::from_secs(60),
        grace: Duration::from_secs(3600),
        max_channels: 3,
        max_pages: 100_000,
        room_prefix: pages::CHANNEL_PREFIX,
    };

    fn page(number: usize) -> PageDigest {
        PageDigest::of("key", &number.to_string())
    }

    /// Changes a page whose channels have this position.
    fn change_at(
        state: &mut State,
        page: PageDigest,
        (unsubscribe, subscribe): (&[&str], &[&str]),
        position: Option<Position>,
        now: Instant,
    ) -> Changed {
        let names = |channels: &[&str]| channels.iter().map(|channel| (*channel).into()).collect();
        let change = PageChange { page, unsubscribe: names(unsubscribe), subscribe: names(subscribe) };
        let subscribe: Vec<Subscription> = change.subscribe.iter().map(|one| (one.clone(), position)).collect();
        state.change(&change, &subscribe, &SETTINGS, now)
    }

    fn subscribe(state: &mut State, page: PageDigest, channels: &[&str], now: Instant) -> Changed {
        change_at(state, page, (&[], channels), None, now)
    }

    fn names(subscriptions: &[Subscription]) -> Vec<&str> {
        subscriptions.iter().map(|(channel, _)| &**channel).collect()
    }

    #[test]
    fn pages_that_never_connect_leave_nothing_behind() {
        // P-30
        let (mut state, now) = (State::default(), Instant::now());
        for number in 0..100_000 {
            let channel = format!("chan{number}");
            let changed = subscribe(&mut state, page(number), &[&channel, ITSELF], now);
            assert!(matches!(changed, Changed::Done { subscribed: 1, channels: 1, .. }));
        }
        assert_eq!(subscribe(&mut state, page(100_000), &["a"], now), Changed::TooManyPages);
        let later = now + SETTINGS.initial;
        assert!(state.open(page(7), SETTINGS.grace, later).is_empty(), "also before it is removed");
        while state.remove_expired(later) > 0 {}
        assert!(state.pages.capacity() == 0 && state.channels.is_empty() && state.expiries.is_empty());
    }

    #[test]
    fn a_page_that_has_connected_is_kept_longer_and_a_position_is_returned_once() {
        // P-29
        let (mut state, now) = (State::default(), Instant::now());
        let position = Some(Position { epoch: 1, offset: 5 });
        change_at(&mut state, page(1), (&[], &["a"]), position, now);
        let connected = now + Duration::from_secs(59);
        assert_eq!(state.open(page(1), SETTINGS.grace, connected), [("a".into(), position)]);
        assert_eq!(state.open(page(1), SETTINGS.grace, connected), [("a".into(), None)]);
        let closed = connected + SETTINGS.initial;
        let received = Received::UpTo(vec![("a".into(), position), ("b".into(), position)]);
        state.close(page(1), received, &SETTINGS, closed);
        let back = closed + SETTINGS.grace - Duration::from_secs(1);
        assert_eq!(state.open(page(1), SETTINGS.grace, back), [("a".into(), position)]);
        state.close(page(1), Received::UpTo(vec![]), &SETTINGS, back);
        assert!(state.open(page(1), SETTINGS.grace, back + SETTINGS.grace).is_empty());
    }

    #[test]
    fn a_page_that_was_connected_for_a_moment_is_kept_as_if_it_had_not_connected() {
        let (mut state, now) = (State::default(), Instant::now());
        let second = Duration::from_secs(1);
        subscribe(&mut state, page(1), &["a"], now);
        let mut at = now;
        // Also if it comes back many times.
        for _ in 0..10 {
            at += SETTINGS.initial - second;
            assert_eq!(names(&state.open(page(1), SETTINGS.grace, at)), ["a"]);
            state.close(page(1), Received::UpTo(vec![]), &SETTINGS, at + second / 2);
        }
        assert!(state.open(page(1), SETTINGS.grace, at + second / 2 + SETTINGS.initial).is_empty());
    }

    #[test]
    fn positions_that_no_connection_has_received_are_valid_again_unless_there_are_newer_ones() {
        let (mut state, now) = (State::default(), Instant::now());
        let at = |offset| Some(Position { epoch: 1, offset });
        change_at(&mut state, page(1), (&[], &["a", "b"]), at(5), now);
        let unused = state.open(page(1), SETTINGS.grace, now);
        state.close(page(1), Received::UpTo(vec![("b".into(), at(7))]), &SETTINGS, now);
        state.close(page(1), Received::Nothing(unused), &SETTINGS, now);
        let read = state.open(page(1), SETTINGS.grace, now);
        assert_eq!(read, [("a".into(), at(5)), ("b".into(), at(7))]);
    }

    #[test]
    fn changes_are_idempotent_and_limited() {
        let (mut state, now) = (State::default(), Instant::now());
        let done = |subscribed, unsubscribed, channels| Changed::Done { subscribed, unsubscribed, channels };
        assert_eq!(subscribe(&mut state, page(1), &["a", "b"], now), done(2, 0, 2));
        assert_eq!(subscribe(&mut state, page(1), &["a", "b"], now), done(0, 0, 2));
        assert_eq!(change_at(&mut state, page(1), (&["a", "x"], &["c"]), None, now), done(1, 1, 2));
        assert_eq!(subscribe(&mut state, page(1), &["d", "e"], now), Changed::TooManyChannels);
        assert_eq!(names(&state.open(page(1), SETTINGS.grace, now)), ["b", "c"]);
        assert_eq!(change_at(&mut state, page(2), (&["a"], &[]), None, now), done(0, 0, 0));
        assert_eq!((state.pages.len(), state.channels.len()), (1, 2));
    }
    #[test]
    fn a_search_has_steps_and_finds_each_channel_once() {
        let mut state = State::default();
        for number in 0..3 * SEARCH_STEP {
            state.channels.insert(format!("a:{number:05}").into(), 1);
        }
        state.channels.extend(["a".into(), "b:00000".into(), "a:".into()].map(|name| (name, 1)));
        let steps = |pattern: &str| {
            let (mut all, mut steps): (Vec<Box<str>>, _) = (Vec::new(), 0);
            loop {
                let names = state.names_after(pattern, all.last().map(|name| &**name));
                steps += 1;
                all.extend_from_slice(&names);
                if names.len() < SEARCH_STEP {
                    assert!(all.is_sorted_by(|one, next| one < next), "each once");
                    return (all.len(), steps);
                }
            }
        };
        assert_eq!(steps("a:*"), (3 * SEARCH_STEP + 1, 4));
        assert_eq!(steps("*"), (3 * SEARCH_STEP + 3, 4));
        assert_eq!((steps("b*c*x"), steps("c*")), ((1, 1), (0, 1)), "no others are looked at");
    }
}
