//! A namespace that changes at random, is killed, and must be what it was.

use super::super::checkpoints::{write_history, write_mailboxes};
use super::super::hooks::JournalInMemory;
use super::super::mailbox::{StoreOutcome, records};
use super::*;
use crate::capability::Publisher;
use crate::hooks::{HookEvent, Journal as _, NotSent, Part, Start};
use crate::mailbox::{Acknowledgement, NewMessage, PageRequest};
use crate::publication::Publication;
use crate::store::{Settings, SyncMode};
use futures_util::FutureExt as _;
use nodevent_protocol::history::{Retention, RetentionPolicy, with_position};
use nodevent_protocol::mailbox::{MessageId, of_device, user_and_device};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);
const FILE: &str = "nodevent.redb";

fn namespace() -> StoredNamespace {
    let default = Some(Retention { size: 5, age: HOUR });
    let history = History { rules: RetentionPolicy { default, prefixes: Vec::new() }, max_memory: 1 << 26 };
    let mailboxes = MailboxSettings {
        count: 5,
        bytes: 10_000,
        age: HOUR,
        keep_unknown: true,
        max_message: 1_000,
        max_mailboxes: 1_000,
        max_memory: 1 << 26,
    };
    let journal = JournalLimits { size: 20, bytes: 10_000, dead_letters: 5 };
    StoredNamespace {
        name: "/a".into(),
        history,
        mailboxes: Some(mailboxes),
        journal: Some(journal),
        serves_cable: true,
        has_pages: true,
    }
}

/// What has a store, as an engine has it.
struct Sandbox {
    open: OpenStore,
    state: Arc<State>,
    journal: Arc<JournalInMemory>,
    durable: Durable,
    metrics: Arc<Metrics>,
}

struct State {
    history: Mutex<MemoryHistory>,
    mailboxes: Mutex<MemoryMailboxes>,
    revocations: Mutex<HashMap<Target, Revocation>>,
    cable: Mutex<CableValues>,
    pages: Mutex<PagesState>,
    durable: Durable,
}

impl Source for State {
    fn write_all(&self, store: &Store) {
        write_history(|| self.history.lock().unwrap(), &self.durable, store);
        write_mailboxes(|| self.mailboxes.lock().unwrap(), &self.durable, store);
        self.cable.lock().unwrap().write_all(&self.durable);
        self.pages.lock().unwrap().write_all(&self.durable);
        for revocation in self.revocations.lock().unwrap().values() {
            append_revocation(&self.durable, revocation);
        }
    }
}

fn on(folder: &Path) -> Settings {
    Settings { folder: folder.to_owned(), sync: SyncMode::Always }
}

impl Sandbox {
    fn open(folder: &Path) -> Self {
        Self::with(folder, SyncMode::Always)
    }

    fn with(folder: &Path, sync: SyncMode) -> Self {
        let metrics = Arc::<Metrics>::default();
        let loading = Loading::open(&Settings { sync, ..on(folder) }).unwrap();
        let RestoredStore { open, namespaces } = restore(loading, &[namespace()], Arc::clone(&metrics)).unwrap();
        let restored = namespaces.into_iter().next().unwrap();
        let revocations = Mutex::new(restored.revocations.clone());
        let parts = restored.into_parts(open.store());
        let durable = parts.durable.unwrap();
        let journal =
            JournalInMemory::new(namespace().journal.unwrap(), parts.journal.unwrap(), Some(durable.another()));
        let (cable, pages) = (Mutex::new(parts.cable), Mutex::new(parts.pages));
        let state = Arc::new(State {
            history: Mutex::new(parts.history),
            mailboxes: Mutex::new(parts.mailboxes.unwrap()),
            revocations,
            cable,
            pages,
            durable: durable.clone(),
        });
        open.store().add_source(Arc::clone(&state) as _);
        open.allow_checkpoints();
        Self { open, state, journal, durable, metrics }
    }

    fn history(&self) -> MutexGuard<'_, MemoryHistory> {
        self.state.history.lock().unwrap()
    }

    fn publish(&self, room: &str, size: usize, key: Option<&str>) {
        let publisher = Publisher { name: room, is_limited: room.len().is_multiple_of(2) };
        let (mut history, now) = (self.history(), Instant::now());
        if key.is_some_and(|key| history.find_idempotent(room, key, now).is_some()) {
            return;
        }
        let position = history.next_position(room, publisher, now);
        let text = with_position(&format!("{{\"event\":\"{}\"}}", "e".repeat(size)), position);
        let publication = Publication::stored(room, text, Some(position));
        history.append(room, &publication, publisher, Retention { size: 5, age: HOUR }, now);
        self.durable.append(Kind::Published, |one| {
            history.write_published(&publication, publisher, key, Times::now().now_ms(), one);
        });
        if let Some(key) = key {
            history.record_idempotent(room, key, publisher, position, HOUR, now);
        }
    }

    fn mail(&self, user: &str, number: u32) {
        let key = number.to_string();
        let (mut mailboxes, now, times) = (self.state.mailboxes.lock().unwrap(), Instant::now(), Times::now());
        let key = number.is_multiple_of(3).then_some(&*key);
        let names: Vec<Arc<str>> = mailboxes.devices(user).into_iter().chain([user.into()]).collect();
        for name in names {
            let new = NewMessage {
                user: &name,
                text: "{\"event\":1}",
                ttl: None,
                idempotency_key: key,
                is_limited: false,
            };
            if let StoreOutcome::Now(stored) = mailboxes.store(&new, now, times.now_ms() * 1000) {
                self.durable.append(Kind::MailboxStored, |one| {
                    records::write_stored(&name, &stored, None, key, &times, one);
                });
            }
        }
    }

    fn acknowledge(&self, user: &str) {
        let (mut mailboxes, now) = (self.state.mailboxes.lock().unwrap(), Instant::now());
        let page = mailboxes.read(user, PageRequest { after: MessageId::FIRST, count: 2, bytes: 10_000 }, now);
        let which = Acknowledgement { up_to: None, ids: page.messages.iter().map(|one| one.id).collect() };
        if mailboxes.acknowledge(user, &which, now).count > 0 {
            self.durable.append(Kind::MailboxAcknowledged, |one| {
                records::write_acknowledged(user, &which, &Times::now(), one);
            });
        }
    }

    fn connect(&self, user: &str) {
        let mut mailboxes = self.state.mailboxes.lock().unwrap();
        let is_new = user_and_device(user).1.is_some() && !mailboxes.has_mailbox(user);
        mailboxes.connected(user, Instant::now()).unwrap();
        let times = Times::now();
        match is_new {
            true => self.durable.note(Kind::Mailbox, |one| mailboxes.write_mailbox(user, &times, one)),
            false => self.durable.note(Kind::MailboxConnected, |one| records::write_connection(user, &times, one)),
        }
    }

    fn revoke(&self, user: &str, before_ms: u64) {
        let target = Target::user(user);
        let revocation = Revocation { target: target.clone(), before_ms, until_ms: now_ms() + 3_600_000 };
        let mut revocations = self.state.revocations.lock().unwrap();
        append_revocation(&self.durable, &revocation);
        let known = revocations.entry(target).or_insert(revocation);
        known.before_ms = known.before_ms.max(before_ms);
    }

    /// A page has received a stream up to a position, or a connection has ended, or is restored.
    fn cable(&self, name: &str, number: u64) {
        let (mut values, until) = (self.state.cable.lock().unwrap(), Instant::now() + HOUR);
        let key = values.change(name, number, until);
        self.durable.note_lazily(Kind::Cable, |one| values.write_one(key, &Times::now(), one));
    }

    /// An application changes what a page is subscribed to, or the page connects or disconnects.
    fn page(&self, name: &str, number: u64) {
        let mut pages = self.state.pages.lock().unwrap();
        let page = pages.change_at_random(name, number);
        self.durable.append(Kind::Page, |one| pages.write_page(page, &Times::now(), one));
    }

    fn report(&self, number: u32) {
        let part = if number.is_multiple_of(2) { Part::Others } else { Part::Connections };
        let event = HookEvent { key: "".into(), text: format!("{{\"n\":{number}}}").into(), part };
        // The record is appended at once; only the confirmation waits.
        assert!(self.journal.append(&[event]).now_or_never().is_none_or(|done| done.is_ok()));
    }

    fn send_events(&self, gives_up: bool) {
        let taken = self.journal.take(HOUR, 2, &Start::Oldest).now_or_never().unwrap().unwrap();
        let ids: Vec<Box<str>> = taken.events.iter().map(|event| event.id.clone()).collect();
        let given_up = ids.iter().map(|id| NotSent { id: id.clone(), reason: "no".into() });
        let given_up: Vec<NotSent> = given_up.filter(|_| gives_up).collect();
        let delivered = if gives_up { Vec::new() } else { ids };
        drop(self.journal.remove(&delivered, &given_up).now_or_never());
    }

    fn clear_letters(&self, resend: bool) {
        drop(self.journal.clear_dead_letters(resend, &[], 1).now_or_never());
    }

    /// One change.
    fn step(&self, rng: &mut SmallRng) {
        let number = rng.random_range(0..30_u32);
        let name = format!("n{number}");
        match rng.random_range(0..100) {
            0..40 => self.publish(&name, rng.random_range(0..300), None),
            40..45 => self.page(&name, rng.random()),
            45..50 => self.publish(&name, 1, Some(&rng.random_range(0..5).to_string())),
            50..65 => self.mail(&name, rng.random()),
            65..72 => self.acknowledge(&name),
            72..76 => self.connect(&of_device(&name, &rng.random_range(0..40).to_string())),
            76..80 => self.connect(&name),
            80..84 => self.revoke(&name, rng.random_range(0..u64::from(u32::MAX))),
            84..90 => self.report(rng.random()),
            90..94 => self.cable(&name, rng.random()),
            94..98 => self.send_events(rng.random()),
            _ => self.clear_letters(rng.random()),
        }
    }

    fn describe(&self) -> Vec<String> {
        let mut all = self.history().describe();
        all.extend(self.state.mailboxes.lock().unwrap().describe());
        all.extend(self.journal.describe());
        all.extend(self.state.cable.lock().unwrap().describe());
        all.extend(self.state.pages.lock().unwrap().describe());
        let revocations = self.state.revocations.lock().unwrap();
        let mut revoked: Vec<_> =
            revocations.values().map(|one| format!("{:?} {:?}", one.target.user, one.before_ms)).collect();
        revoked.sort();
        all.extend(revoked);
        all
    }
}

/// What a start makes of a file, as it is after a crash.
fn describe_file(bytes: &[u8]) -> Result<Vec<String>, StoreError> {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(FILE), bytes).unwrap();
    let mut loading = Loading::open_existing(&on(folder.path()))?;
    let (namespaces, orphans) = read(&mut loading, &[namespace()])?;
    assert!(orphans.0.is_empty());
    Ok(namespaces[0].describe())
}

/// Compares what was with what is, and names the first difference.
fn assert_same(read: &[String], expected: &[String], what: &str) {
    let missing = expected.iter().find(|one| !read.contains(one));
    let new = read.iter().find(|one| !expected.contains(one));
    assert!(missing.is_none() && new.is_none(), "{what}: there is not\n{missing:?}\nbut\n{new:?}");
    assert_eq!(read.len(), expected.len(), "{what}");
}

fn rounds(short: usize, long: usize) -> usize {
    if std::env::var_os("NODEVENT_TEST_FULL").is_some() { long } else { short }
}

/// 1,000 changes (10,000 with `NODEVENT_TEST_FULL=1`), a kill after every hundredth, and checkpoints while it changes.
#[tokio::test]
async fn after_each_kill_everything_that_was_on_disk_is_there() {
    let folder = TempDir::new().unwrap();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut sandbox = Sandbox::open(folder.path());
    for round in 0..rounds(10, 100) {
        for step in 0..100 {
            sandbox.step(&mut rng);
            if step == 30 && round % 3 == 0 {
                sandbox.open.store().request_checkpoint();
            }
        }
        sandbox.open.store().flush();
        let expected = sandbox.describe();
        // The file as it is when the process is killed now.
        let killed = TempDir::new().unwrap();
        std::fs::copy(folder.path().join(FILE), killed.path().join(FILE)).unwrap();
        let again = Sandbox::open(killed.path());
        assert_same(&again.describe(), &expected, &format!("round {round}"));
        drop(again);
        if round % 2 == 0 {
            // It goes on with what it has read.
            drop(sandbox);
            sandbox = Sandbox::open(folder.path());
            assert_same(&sandbox.describe(), &expected, &format!("round {round}, closed"));
        }
    }
}

/// 100 places (1,000 with `NODEVENT_TEST_FULL=1`) at which the last group is torn: what comes before the place was
/// written and the rest not, the other way round, and any sectors in any order. What is read is the state before the group
/// or after it, as a whole.
#[tokio::test]
async fn a_group_that_is_torn_anywhere_is_there_as_a_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    // What happens within the interval is one group.
    let sandbox = Sandbox::with(folder.path(), SyncMode::Every(Duration::from_millis(20)));
    let file = || std::fs::read(folder.path().join(FILE)).unwrap();
    let mut left = rounds(100, 1_000);
    while left > 0 {
        for _ in 0..20 {
            sandbox.step(&mut rng);
        }
        sandbox.open.store().flush();
        let groups = || sandbox.metrics.store_commits.load(std::sync::atomic::Ordering::Relaxed);
        let (before, state_before, groups_before) = (file(), sandbox.describe(), groups());
        for _ in 0..20 {
            sandbox.publish(&format!("n{}", rng.random_range(0..30)), 300, None);
        }
        sandbox.open.store().flush();
        let (after, state_after) = (file(), sandbox.describe());
        assert_ne!(state_before, state_after);
        if groups() != groups_before + 1 {
            // The machine was slow. What is before the last group was on disk.
            continue;
        }
        assert_same(&describe_file(&after).unwrap(), &state_after, "the whole group");
        let all = before.len().max(after.len());
        let byte = |of: &[u8], at: usize| of.get(at).copied().unwrap_or(0);
        let changed: Vec<usize> = (0..all).filter(|at| byte(&before, *at) != byte(&after, *at)).collect();
        for _ in 0..20.min(left) {
            left -= 1;
            let cut = changed[rng.random_range(0..changed.len())];
            let sectors: Vec<bool> = (0..=all / 512).map(|_| rng.random()).collect();
            let is_new: Box<dyn Fn(usize) -> bool> = match left % 3 {
                0 => Box::new(move |at| at < cut),
                1 => Box::new(move |at| at >= cut.next_multiple_of(512)),
                _ => Box::new(move |at| sectors[at / 512]),
            };
            let torn = (0..all).map(|at| if is_new(at) { byte(&after, at) } else { byte(&before, at) });
            let mut torn: Vec<u8> = torn.collect();
            if left.is_multiple_of(3) {
                // The file was not extended yet.
                torn.truncate(before.len().max(cut));
            }
            let state =
                describe_file(&torn).unwrap_or_else(|error| panic!("cut at {cut}, variant {}: {error}", left % 3));
            assert!(state == state_before || state == state_after, "cut at {cut}, variant {}", left % 3);
        }
    }
}

/// Every byte at which the last group can be torn, and every length to which the file can be cut, in a long run; some of them
/// otherwise. A torn group is there as a whole or not at all. A file that was cut is
/// served without the last group at most, or is damaged.
#[test]
fn a_file_that_was_torn_or_cut_at_any_byte_is_never_served_in_part() {
    let folder = TempDir::new().unwrap();
    let sandbox = Sandbox::open(folder.path());
    let file = || std::fs::read(folder.path().join(FILE)).unwrap();
    (0..20).for_each(|number| sandbox.publish(&format!("n{number}"), 300, None));
    sandbox.open.store().flush();
    let (before, state_before) = (file(), sandbox.describe());
    sandbox.publish("n1", 3_000, None);
    sandbox.open.store().flush();
    let (after, state_after) = (file(), sandbox.describe());
    drop(sandbox);
    let byte = |of: &[u8], at: usize| of.get(at).copied().unwrap_or(0);
    let length = before.len().max(after.len());
    let changed: Vec<usize> = (0..length).filter(|at| byte(&before, *at) != byte(&after, *at)).collect();
    let step = changed.len().div_ceil(rounds(60, changed.len()));
    let (mut old, mut new) = (0, 0);
    for cut in changed.iter().copied().step_by(step) {
        let begun: Vec<u8> = (0..length).map(|at| byte(if at <= cut { &after } else { &before }, at)).collect();
        let ended: Vec<u8> = (0..length).map(|at| byte(if at >= cut { &after } else { &before }, at)).collect();
        for torn in [begun, ended] {
            let state = describe_file(&torn).unwrap_or_else(|error| panic!("torn at {cut}: {error}"));
            (old, new) = (old + usize::from(state == state_before), new + usize::from(state == state_after));
            assert!(state == state_before || state == state_after, "torn at {cut}");
        }
    }
    let mut damaged = 0;
    let cuts = rounds(50, 1_000);
    for number in 0..cuts {
        let end = after.len() * number / cuts;
        match describe_file(&after[..end]) {
            Ok(state) => {
                // With zeros at its end, as after a loss of power while it grew.
                assert!(state == state_after || state == state_before || end == 0, "cut at {end}");
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Damaged { .. }), "cut at {end}: {error}");
                damaged += 1;
            }
        }
    }
    println!(
        "{} bytes at which the last group was torn: {old} times the group before, {new} times the last one; {cuts} cuts, of which \
         {damaged} were damaged",
        changed.len().div_ceil(step)
    );
    assert!(old > 0 && new > 0 && damaged > 0);
}

#[test]
fn with_an_interval_a_crash_makes_all_clients_load_again_and_repeats_no_position() {
    let folder = TempDir::new().unwrap();
    let every = SyncMode::Every(Duration::from_millis(1));
    let sandbox = Sandbox::with(folder.path(), every);
    let retention = Retention { size: 5, age: HOUR };
    let absent = sandbox.history().read("other", retention, Instant::now()).0;
    (0..3).for_each(|_| sandbox.publish("room", 1, None));
    sandbox.open.store().flush();
    let before = sandbox.history().read("room", retention, Instant::now()).0;
    let killed = TempDir::new().unwrap();
    std::fs::copy(folder.path().join(FILE), killed.path().join(FILE)).unwrap();
    drop(sandbox);
    for (folder, is_closed) in [(folder.path(), true), (killed.path(), false)] {
        let sandbox = Sandbox::with(folder, every);
        let history = sandbox.history();
        let (position, log) = history.read("room", retention, Instant::now());
        assert_eq!(log.len(), 3, "what is on disk is there");
        assert_eq!(position == before, is_closed);
        assert_eq!(position.count_since(before, history.jump_of("room")), is_closed.then_some(0));
        let since = crate::history::Since::Position(absent);
        let resolved = history.resolve("other", since, Instant::now());
        assert_eq!(resolved == crate::history::Since::Invalid, !is_closed, "{resolved:?}");
    }
}

#[test]
fn a_disk_that_accepts_nothing_repeats_no_event() {
    let folder = TempDir::new().unwrap();
    let sandbox = Sandbox::open(folder.path());
    let event = HookEvent { key: "".into(), text: "{}".into(), part: Part::Others };
    sandbox.open.store().set_failing();
    for _ in 0..3 {
        let appended = sandbox.journal.append(std::slice::from_ref(&event)).now_or_never();
        assert!(appended.is_some_and(|appended| appended.is_err()), "the caller has it, and tries again");
    }
    assert!(sandbox.journal.describe().iter().all(|line| !line.contains("{}")), "{:?}", sandbox.journal.describe());
}

#[test]
fn what_the_configuration_does_not_have_any_more_is_kept() {
    let folder = TempDir::new().unwrap();
    let sandbox = Sandbox::open(folder.path());
    sandbox.publish("room", 1, None);
    sandbox.mail("ann", 1);
    sandbox.cable("page", 2);
    sandbox.page("page", 2);
    sandbox.open.store().flush();
    let expected = sandbox.describe();
    drop(sandbox);
    let other = StoredNamespace { name: "/b".into(), ..namespace() };
    super::super::checkpoints::compact(Loading::open(&on(folder.path())).unwrap(), &[other]).unwrap();
    assert_eq!(Sandbox::open(folder.path()).describe(), expected);
    let without =
        StoredNamespace { mailboxes: None, journal: None, serves_cable: false, has_pages: false, ..namespace() };
    super::super::checkpoints::compact(Loading::open(&on(folder.path())).unwrap(), &[without]).unwrap();
    assert_eq!(Sandbox::open(folder.path()).describe(), expected);
}

#[test]
fn rooms_that_were_forgotten_during_a_checkpoint_are_not_said_to_have_had_nothing() {
    let folder = TempDir::new().unwrap();
    let sandbox = Sandbox::open(folder.path());
    let retention = Retention { size: 5, age: HOUR };
    let absent = sandbox.history().read("room", retention, Instant::now()).0;
    sandbox.publish("room", 1, None);
    let later = Instant::now() + 400 * HOUR;
    {
        let mut history = sandbox.history();
        let publisher = Publisher { name: "n", is_limited: false };
        let position = history.next_position("new", publisher, later);
        history.append("new", &Publication::stored("new", "{}", Some(position)), publisher, retention, later);
        assert!(!history.has_room("room"), "it is forgotten");
    }
    sandbox.open.store().checkpoint();
    drop(sandbox);
    let sandbox = Sandbox::open(folder.path());
    let since = crate::history::Since::Position(absent);
    assert_eq!(sandbox.history().resolve("room", since, Instant::now()), crate::history::Since::Invalid);
}
