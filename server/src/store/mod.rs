//! The store: what the memory engine has, on disk.
//!
//! It is a log of records. Engines append a record with each change, under the lock of what they change, so the log has the
//! order of the changes. One thread writes everything that was appended meanwhile as one group. Code that confirms or shows a
//! change waits for [`Store::written`] before that, so nothing that others know can get lost. A checkpoint appends
//! everything that engines have, a part at a time while they work, and then the log before it is deleted: this
//! limits it. A start reads the log once. This module knows records, but not what they mean.
//!
//! **Architecture Invariant:** only [`disk`] knows the library.

mod codec;
mod disk;
mod settings;

pub use codec::{Decoder, Encoder, Record, Records};
pub use settings::{Settings, SyncMode};

use crate::metrics::Metrics;
use disk::{Disk, MAX_VALUE, Meta, Transaction};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::watch;

/// The log is at least this long before a checkpoint. Bytes.
const MIN_LOG: u64 = 32 << 20;
/// Bytes that wait for the disk before a checkpoint pauses.
const CHECKPOINT_PAUSE: usize = 4 << 20;
/// What a checkpoint appends between two pauses. Bytes.
const CHECKPOINT_PART: usize = 1 << 20;
/// Bytes that are written at once, although the interval is not over.
const MAX_GROUP: usize = 16 << 20;
/// Bytes that wait for the disk before others have to wait, see [`Store::admitted`], and before records whose loss costs little
/// are left out, until the next checkpoint.
const MAX_BUFFERED: usize = 64 << 20;
/// The time between attempts to write to a disk that is full or fails.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// How long records whose loss costs little may wait for others, so that they alone do not keep the disk busy.
const MAX_LAZINESS: Duration = Duration::from_secs(1);
/// Groups that are read before they are needed.
const READ_AHEAD: usize = 8;
/// The longest group. Bytes.
const MAX_RECORDS: usize = MAX_VALUE - 8;
/// How often a closing store tries to write.
const CLOSE_ATTEMPTS: u32 = 5;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it.
    #[error("the store {} is used by another server; each server needs a folder of its own", .0.display())]
    InUse(PathBuf),
    /// There is none.
    #[error("there is no store in {}", .0.display())]
    Missing(PathBuf),
    /// A newer version has written it.
    #[error(
        "the store {} was written by a newer version of NoDevent (format {format}, this one knows {known}); \
         start that version, or name another folder",
        folder.display()
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        format: u64,
        /// The newest format that this version knows.
        known: u64,
    },
    /// What is in it was not written by this program, or has changed since.
    #[error("the store {} is damaged: {reason}; restore it from a backup, or name another folder", folder.display())]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The operating system refuses to read or write it.
    #[error("the store {} cannot {what}: {error}", folder.display())]
    System {
        /// The folder.
        folder: PathBuf,
        /// What cannot be done.
        what: &'static str,
        /// The error.
        error: String,
    },
}

/// How far the log is: the number of records that were appended since the start.
pub type LogPosition = u64;

/// A store that engines append to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Arc<Shared>);

/// A store that was opened, and whose records are still to be read.
#[derive(Debug)]
pub struct Loading {
    folder: PathBuf,
    sync: SyncMode,
    disk: Disk,
    meta: Meta,
    /// Whether the newest groups may be missing.
    lacks_groups: bool,
    log_bytes: u64,
    next_group: u64,
}

/// Keeps the threads of a store. When it is dropped, everything is written and the store is closed.
#[derive(Debug)]
pub struct OpenStore {
    store: Store,
    threads: Vec<JoinHandle<()>>,
}

/// Has something that checkpoints contain.
pub trait Source: Send + Sync {
    /// Appends everything that it has by [`Store::append_part`]. Between two parts it calls [`Store::pause`] without a lock. A
    /// change that happens meanwhile is appended as always.
    fn write_all(&self, store: &Store);
}

struct Shared {
    state: Mutex<State>,
    /// Notified when the writer has something to do.
    wake: Condvar,
    /// Notified when records were written.
    taken: Condvar,
    /// Notified when a checkpoint is due.
    checkpoint_wake: Condvar,
    written: watch::Sender<LogPosition>,
    written_now: AtomicU64,
    /// The length of the records that the writer has not taken. Bytes.
    buffered: AtomicUsize,
    is_failing: AtomicBool,
    /// Whether what is confirmed must be on disk before.
    waits: bool,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    records: Records,
    /// Whether something waits for the records.
    is_urgent: bool,
    appended: LogPosition,
    /// The length of the records that the writer has taken. Bytes.
    taken_bytes: u64,
    /// The number of the group of which the records will be.
    next_group: u64,
    is_closing: bool,
    /// Whether records were left out.
    has_dropped: bool,
    /// Whether a checkpoint would contain everything. Before that, it would delete what it does not contain.
    has_all_sources: bool,
    is_checkpoint_due: bool,
    is_checkpoint_running: bool,
    /// What the checkpoint has appended since its last pause. Bytes.
    part: usize,
    /// A checkpoint that is written.
    finished: Option<Meta>,
    sources: Vec<Arc<dyn Source>>,
}

// === impl StoreError ===

impl StoreError {
    fn cannot(folder: &Path, what: &'static str, error: &io::Error) -> Self {
        Self::System { folder: folder.to_owned(), what, error: error.to_string() }
    }
}

// === impl Loading ===

impl Loading {
    /// Opens a store, which is created if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        Self::of(Disk::open(&settings.folder, true)?, settings)
    }

    /// Opens a store that exists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_existing(settings: &Settings) -> Result<Self, StoreError> {
        Self::of(Disk::open(&settings.folder, false)?, settings)
    }

    fn of(disk: Disk, settings: &Settings) -> Result<Self, StoreError> {
        let meta = disk.meta()?;
        let (folder, sync) = (settings.folder.clone(), settings.sync);
        let lacks_groups = meta.may_lack_groups;
        Ok(Self { folder, sync, disk, meta, lacks_groups, log_bytes: 0, next_group: meta.start })
    }

    /// The number of a namespace, by its name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn namespace(&mut self, name: &str) -> Result<u16, StoreError> {
        self.disk.namespace(name)
    }

    /// All namespaces that the store has ever had, with their numbers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn namespaces(&self) -> Result<Vec<(String, u16)>, StoreError> {
        self.disk.namespaces()
    }

    /// Whether the server was killed while it had confirmed what was not on disk.
    pub fn lacks_groups(&self) -> bool {
        self.lacks_groups
    }

    /// The length of the log that was read. Bytes.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes
    }

    /// The size of the file. Bytes.
    pub fn file_size(&self) -> u64 {
        self.disk.size()
    }

    /// Reads all records, in order. `None` from `each` means that the record is not what this version writes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(&mut self, mut each: impl FnMut(Record<'_>) -> Option<()>) -> Result<(), StoreError> {
        let (disk, start) = (&self.disk, self.meta.start);
        let (ahead, groups) = mpsc::sync_channel::<Vec<u8>>(READ_AHEAD);
        let (next, bytes) = thread::scope(|scope| {
            // One thread reads while the other one makes what was of it.
            let reader = scope.spawn(move || disk.read(start, |group| ahead.send(group.to_vec()).ok()));
            let (mut number, mut bytes) = (start, 0);
            for group in groups {
                bytes += group.len() as u64;
                if codec::records(&group).try_for_each(|record| each(record?)).is_none() {
                    return Err(disk.is_not_what_was_written(number));
                }
                number += 1;
            }
            let read = reader.join().unwrap_or_else(|_| Err(disk.is_not_what_was_written(number)));
            read.map(|next| (next, bytes))
        })?;
        (self.next_group, self.log_bytes) = (next, bytes);
        Ok(())
    }

    /// Verifies every page of the file.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn check(&mut self) -> Result<(), StoreError> {
        self.disk.check()
    }

    /// Starts the threads that write. Call [`Loading::read`] before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn start(mut self, metrics: Arc<Metrics>) -> Result<OpenStore, StoreError> {
        self.meta.may_lack_groups = self.sync != SyncMode::Always;
        self.disk.commit(&Transaction { meta: Some(self.meta), ..Transaction::default() })?;
        let state = State { next_group: self.next_group, ..State::default() };
        let store = Store(Arc::new(Shared {
            state: Mutex::new(state),
            wake: Condvar::new(),
            taken: Condvar::new(),
            checkpoint_wake: Condvar::new(),
            written: watch::Sender::new(0),
            written_now: AtomicU64::new(0),
            buffered: AtomicUsize::new(0),
            is_failing: AtomicBool::new(false),
            waits: self.sync == SyncMode::Always,
            metrics,
        }));
        let interval = match self.sync {
            SyncMode::Always => Duration::ZERO,
            SyncMode::Every(interval) => interval,
        };
        let folder = self.folder.clone();
        let writer = Writer {
            shared: Arc::clone(&store.0),
            disk: self.disk,
            meta: self.meta,
            log_bytes: self.log_bytes,
            interval,
        };
        let checkpoints = store.clone();
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.into()).spawn(run);
            thread.map_err(|error| StoreError::cannot(&folder, "be written to", &error))
        };
        let threads = vec![
            spawn("store", Box::new(move || writer.run()))?,
            spawn("checkpoints", Box::new(move || checkpoints.run_checkpoints()))?,
        ];
        Ok(OpenStore { store, threads })
    }

    /// Gives unused space back to the file system. Call it after a checkpoint.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.disk.compact()
    }
}

// === impl OpenStore ===

impl OpenStore {
    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Allows checkpoints. Call it after everything that the log contained has become a [`Source`].
    pub fn allow_checkpoints(&self) {
        self.store.0.state().has_all_sources = true;
        self.store.0.checkpoint_wake.notify_all();
    }

    /// Writes everything and closes the store.
    pub fn close(&mut self) {
        {
            let mut state = self.store.0.state();
            state.is_closing = true;
        }
        self.store.0.wake.notify_all();
        self.store.0.taken.notify_all();
        self.store.0.checkpoint_wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // Sources have the store.
        self.store.0.state().sources.clear();
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        self.close();
    }
}

// === impl Store ===

impl Store {
    /// Appends a record. The caller holds the lock of what it changes.
    pub fn append(&self, kind: u8, namespace: u16, write: impl FnOnce(&mut Encoder<'_>)) -> LogPosition {
        let mut state = self.0.state();
        self.append_to(&mut state, kind, namespace, true, write)
    }

    /// Appends a record whose loss costs little, unless very much waits for the disk. The next checkpoint makes up for that.
    /// It is written together with others, or after a second.
    pub fn append_lazily(&self, kind: u8, namespace: u16, write: impl FnOnce(&mut Encoder<'_>)) {
        let mut state = self.0.state();
        if state.records.len() > MAX_BUFFERED {
            state.has_dropped = true;
        } else {
            self.append_to(&mut state, kind, namespace, false, write);
        }
    }

    /// Appends a record, unless very much waits for the disk. The next checkpoint makes up for that.
    pub fn append_if_possible(
        &self,
        kind: u8,
        namespace: u16,
        write: impl FnOnce(&mut Encoder<'_>),
    ) -> LogPosition {
        let mut state = self.0.state();
        if state.records.len() > MAX_BUFFERED {
            state.has_dropped = true;
            return state.appended;
        }
        self.append_to(&mut state, kind, namespace, true, write)
    }

    fn append_to(
        &self,
        state: &mut State,
        kind: u8,
        namespace: u16,
        is_urgent: bool,
        write: impl FnOnce(&mut Encoder<'_>),
    ) -> LogPosition {
        let is_first = state.records.is_empty() || is_urgent && !state.is_urgent;
        state.is_urgent |= is_urgent;
        state.records.add(kind, namespace, write);
        state.appended += 1;
        self.0.buffered.store(state.records.len(), Relaxed);
        if is_first || state.records.len() > MAX_GROUP {
            self.0.wake.notify_one();
        }
        state.appended
    }

    /// Appends a record of a checkpoint. Returns its length in bytes.
    pub fn append_part(&self, kind: u8, namespace: u16, write: impl FnOnce(&mut Encoder<'_>)) -> usize {
        let mut state = self.0.state();
        let before = state.records.len();
        self.append_to(&mut state, kind, namespace, true, write);
        let length = state.records.len() - before;
        state.part += length;
        length
    }

    /// Appends records as they were read.
    pub fn append_raw(&self, raw: &[u8]) -> LogPosition {
        let mut state = self.0.state();
        state.records.add_raw(raw);
        state.part += raw.len();
        (state.appended, state.is_urgent) = (state.appended + 1, true);
        self.0.wake.notify_one();
        state.appended
    }

    /// Whether what was appended up to there may be confirmed.
    pub fn is_written(&self, position: LogPosition) -> bool {
        !self.0.waits || position <= self.0.written_now.load(Acquire)
    }

    /// Waits until what was appended up to there may be confirmed.
    pub async fn written(&self, position: LogPosition) {
        if self.is_written(position) {
            return;
        }
        // The sender is in `self`.
        let _ = self.0.written.subscribe().wait_for(|written| *written >= position).await;
    }

    /// Waits while very much waits for the disk, so that what others may append is limited although it is confirmed before it
    /// is written.
    pub async fn admitted(&self) {
        let mut written = self.0.written.subscribe();
        while self.0.buffered.load(Relaxed) > MAX_BUFFERED {
            // The writer takes records before it notifies. The sender is in `self`.
            let _ = written.changed().await;
        }
    }

    /// Whether [`Store::written`] may have to wait.
    pub fn waits(&self) -> bool {
        self.0.waits
    }

    /// Whether the disk does not accept what is written.
    pub fn is_failing(&self) -> bool {
        self.0.is_failing.load(Relaxed)
    }

    /// As if the disk did not accept anything.
    #[cfg(test)]
    pub(crate) fn set_failing(&self) {
        self.0.is_failing.store(true, Relaxed);
    }

    /// Adds something that checkpoints contain.
    pub fn add_source(&self, source: Arc<dyn Source>) {
        self.0.state().sources.push(source);
    }

    /// Waits for the disk once if much waits for it, so that others go first. It does not wait until little does: those who
    /// append without end would keep the checkpoint from its end, and the log would grow until the disk is full. For
    /// [`Source::write_all`].
    pub fn pause(&self) {
        let mut state = self.0.state();
        if state.part < CHECKPOINT_PART || state.records.len() <= CHECKPOINT_PAUSE {
            return;
        }
        (state.part, state.is_urgent) = (0, true);
        self.0.wake.notify_one();
        let written = self.0.written_now.load(Acquire);
        while self.0.written_now.load(Acquire) == written && !state.is_closing {
            state = self.0.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until everything that was appended is on disk, also if it may be confirmed before.
    pub fn flush(&self) {
        let mut state = self.0.state();
        let end = state.appended;
        state.is_urgent = true;
        self.0.wake.notify_one();
        while self.0.written_now.load(Acquire) < end && !state.is_closing {
            state = self.0.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Begins a checkpoint.
    pub fn request_checkpoint(&self) {
        self.0.state().is_checkpoint_due = true;
        self.0.checkpoint_wake.notify_all();
    }

    /// Makes a checkpoint, and waits until it is on disk and what was before it is deleted.
    pub fn checkpoint(&self) {
        self.request_checkpoint();
        let mut state = self.0.state();
        while (state.is_checkpoint_due || state.is_checkpoint_running) && !state.is_closing {
            state = self.0.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run_checkpoints(&self) {
        loop {
            let (start, sources) = {
                let mut state = self.0.state();
                while !(state.is_checkpoint_due && state.has_all_sources || state.is_closing) {
                    state = self.0.checkpoint_wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.is_closing {
                    return;
                }
                (state.is_checkpoint_due, state.is_checkpoint_running, state.has_dropped) = (false, true, false);
                state.part = 0;
                (state.next_group, state.sources.clone())
            };
            let before = self.0.state().appended_bytes();
            sources.iter().for_each(|source| source.write_all(self));
            drop(sources);
            let mut state = self.0.state();
            let (end, after) = (state.appended, state.appended_bytes());
            state.is_urgent = true;
            self.0.wake.notify_one();
            while self.0.written_now.load(Acquire) < end && !state.is_closing {
                state = self.0.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.is_closing {
                // The checkpoint may not be complete. The log is.
                return;
            }
            let checkpoint_bytes = after.saturating_sub(before);
            state.finished = Some(Meta { start, checkpoint_bytes, may_lack_groups: !self.0.waits });
            drop(state);
            self.0.wake.notify_one();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves nothing in it that could not be used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("waits", &self.waits)
            .field("is_failing", &self.is_failing)
            .finish_non_exhaustive()
    }
}

/// The thread that writes.
struct Writer {
    shared: Arc<Shared>,
    disk: Disk,
    meta: Meta,
    /// The length of the groups on disk. Bytes.
    log_bytes: u64,
    /// How long it collects records.
    interval: Duration,
}

/// What the writer takes at a time.
struct Batch {
    records: Records,
    appended: LogPosition,
    /// The number of its first group.
    group: u64,
    finished: Option<Meta>,
    is_closing: bool,
}

// === impl Writer ===

impl Writer {
    fn run(mut self) {
        loop {
            let batch = self.next_batch();
            if !self.write(&batch) {
                return;
            }
            let mut state = self.shared.state();
            if !batch.records.is_empty() {
                self.log_bytes += batch.records.len() as u64;
                self.shared.metrics.store_commits.fetch_add(1, Relaxed);
                self.shared.written_now.store(batch.appended, Release);
                self.shared.written.send_replace(batch.appended);
            }
            if let Some(meta) = batch.finished {
                (self.meta, self.log_bytes) = (meta, meta.checkpoint_bytes);
                self.shared.metrics.store_checkpoints.fetch_add(1, Relaxed);
            }
            self.shared.metrics.store_bytes.store(self.disk.size() as i64, Relaxed);
            if batch.finished.is_some() {
                state.is_checkpoint_running = false;
            }
            let is_long = self.log_bytes > MIN_LOG + self.meta.checkpoint_bytes / 2 * 3;
            if (is_long || state.has_dropped) && !state.is_checkpoint_running && !state.is_checkpoint_due {
                state.is_checkpoint_due = true;
                self.shared.checkpoint_wake.notify_all();
            }
            drop(state);
            self.shared.taken.notify_all();
            if batch.is_closing {
                return;
            }
        }
    }

    fn next_batch(&self) -> Batch {
        let mut state = self.shared.state();
        while state.records.is_empty() && state.finished.is_none() && !state.is_closing {
            state = self.shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let is_complete = |state: &State| {
            state.is_urgent || state.is_closing || state.finished.is_some() || state.records.len() > MAX_GROUP
        };
        let laziness = self.shared.wake.wait_timeout_while(state, MAX_LAZINESS, |state| !is_complete(state));
        state = laziness.unwrap_or_else(PoisonError::into_inner).0;
        if !self.interval.is_zero() && !state.is_closing {
            let collect = self.shared.wake.wait_timeout_while(state, self.interval, |state| {
                !state.is_closing && state.records.len() < MAX_GROUP
            });
            state = collect.unwrap_or_else(PoisonError::into_inner).0;
        }
        let records = std::mem::take(&mut state.records);
        state.is_urgent = false;
        self.shared.buffered.store(0, Relaxed);
        let group = state.next_group;
        state.next_group += codec::divide(&records.0, MAX_RECORDS).count() as u64;
        state.taken_bytes += records.len() as u64;
        let finished = state.finished.take();
        Batch { records, appended: state.appended, group, finished, is_closing: state.is_closing }
    }

    /// Writes until it succeeds. Returns `false` if the store closes meanwhile.
    fn write(&mut self, batch: &Batch) -> bool {
        let closed = batch.is_closing.then_some(Meta { may_lack_groups: false, ..self.meta });
        let finished =
            batch.finished.map(|meta| Meta { may_lack_groups: meta.may_lack_groups && !batch.is_closing, ..meta });
        let change = Transaction {
            groups: (batch.group..).zip(codec::divide(&batch.records.0, MAX_RECORDS)).collect(),
            meta: finished.or(closed),
            delete_before: batch.finished.map(|meta| meta.start),
        };
        let mut attempts = 0;
        let mut result = self.disk.commit(&change);
        while let Err(error) = result {
            if !self.shared.is_failing.swap(true, Relaxed) {
                tracing::error!("{error}; nothing is confirmed until it can be written again");
            }
            self.shared.metrics.store_failures.fetch_add(1, Relaxed);
            attempts += 1;
            let state = self.shared.state();
            let wait = self.shared.wake.wait_timeout_while(state, RETRY_INTERVAL, |state| !state.is_closing);
            let is_closing = wait.unwrap_or_else(PoisonError::into_inner).0.is_closing;
            if is_closing && attempts > CLOSE_ATTEMPTS {
                match self.shared.waits {
                    true => {
                        tracing::error!(
                            "the store is closed without what could not be written, which was not confirmed"
                        );
                    }
                    false => tracing::error!(
                        "the store is closed without what could not be written; clients load again what they show"
                    ),
                }
                return false;
            }
            result = self.repeat(&change);
        }
        if self.shared.is_failing.swap(false, Relaxed) {
            tracing::info!("the store can be written again; nothing was lost");
        }
        true
    }

    /// Opens the file again, and writes again. The failed attempt may be there, but the system may not know any more what of it
    /// is not on disk, so all of it is written once more.
    fn repeat(&mut self, change: &Transaction<'_>) -> Result<(), StoreError> {
        self.disk.reopen()?;
        if let (Some((first, _)), Some((last, _))) = (change.groups.first(), change.groups.last()) {
            let newest = self.disk.newest()?;
            if newest.is_some_and(|newest| newest != *last && newest + 1 != *first) {
                return Err(StoreError::InUse(self.disk.folder().to_owned()));
            }
        }
        self.disk.commit(change)
    }
}

// === impl State ===

impl State {
    /// All bytes that were ever appended.
    fn appended_bytes(&self) -> u64 {
        self.taken_bytes + self.records.len() as u64
    }
}

#[cfg(test)]
mod tests;
