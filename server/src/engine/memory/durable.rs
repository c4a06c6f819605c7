//! The store as the capabilities of one namespace see it: what they append, and what waits until that is on disk.

use super::super::Fanout;
use crate::capability::{Publisher, Unavailable};
use crate::fair_turns::FairTurns;
use crate::mailbox::MailboxNotice;
use crate::publication::Publication;
use crate::store::{Encoder, LogPosition, Store};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Kilobytes of a capability that wait for the disk. More have to wait before they are accepted. Everything that is to be
/// written waits for this at most.
const MAX_WAITING: u32 = 4 * 1024;
/// How long a publisher waits for the disk.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A publication.
    Published = 1,
    /// A room with its log, in a checkpoint.
    Room = 2,
    /// An idempotency key, in a checkpoint.
    Key = 3,
    /// What all rooms share.
    History = 4,
    /// All rooms have skipped offsets, because publications may be missing.
    Jumped = 5,
    /// A message for a user.
    MailboxStored = 10,
    /// Messages that were acknowledged.
    MailboxAcknowledged = 11,
    /// A connection of a user was opened.
    MailboxConnected = 12,
    /// A connection of a user was closed.
    MailboxDisconnected = 13,
    /// A mailbox, in a checkpoint.
    Mailbox = 14,
    /// Events for the application.
    JournalAppended = 20,
    /// Events that were delivered or given up.
    JournalRemoved = 21,
    /// Dead letters that were deleted.
    LettersRemoved = 22,
    /// A journal, in a checkpoint.
    Journal = 23,
    /// A revocation.
    Revoked = 30,
    /// A cursor or a session of Action Cable, or that there is none any more.
    Cable = 40,
    /// A page with its subscriptions, or that it is forgotten.
    Page = 50,
}

/// A capability's part of the store.
#[derive(Debug, Clone)]
pub(super) struct Durable {
    pub(super) store: Store,
    pub(super) namespace: u16,
    /// Up to where the log has what this capability shows.
    newest: Arc<AtomicU64>,
}

/// What is sent to the shards as soon as the store has it, in order.
#[derive(Debug)]
pub(super) struct Outputs {
    durable: Durable,
    queue: mpsc::UnboundedSender<Output>,
    waiting: Arc<Semaphore>,
    /// Publishers have their turns one after another, however much each of them sends.
    turns: Arc<FairTurns<u64>>,
}

/// See [`Outputs`].
#[derive(Debug)]
pub(super) enum Notice {
    Publication(Arc<Publication>),
    Mailbox(MailboxNotice),
}

#[derive(Debug)]
struct Output {
    position: LogPosition,
    notice: Option<Notice>,
    /// Completes when it was sent.
    sent: Option<oneshot::Sender<()>>,
    _place: Option<Place>,
}

/// A place for what waits for the disk.
pub(super) type Place = OwnedSemaphorePermit;

// === impl Kind ===

impl Kind {
    pub(super) fn parse(kind: u8) -> Option<Self> {
        use Kind::{
            Cable, History, Journal, JournalAppended, JournalRemoved, Jumped, Key, LettersRemoved, Mailbox,
            MailboxAcknowledged, MailboxConnected, MailboxDisconnected, MailboxStored, Page, Published, Revoked,
            Room,
        };
        let all = [
            Published,
            Room,
            Key,
            History,
            Jumped,
            MailboxStored,
            MailboxAcknowledged,
            MailboxConnected,
            MailboxDisconnected,
            Mailbox,
            JournalAppended,
            JournalRemoved,
            LettersRemoved,
            Journal,
            Revoked,
            Cable,
            Page,
        ];
        all.into_iter().find(|one| *one as u8 == kind)
    }
}

// === impl Durable ===

impl Durable {
    pub(super) fn new(store: Store, namespace: u16) -> Self {
        Self { store, namespace, newest: Arc::default() }
    }

    /// The part of another capability.
    pub(super) fn another(&self) -> Self {
        Self::new(self.store.clone(), self.namespace)
    }

    /// Appends a record of a change. The caller holds the lock of what it changes.
    pub(super) fn append(&self, kind: Kind, write: impl FnOnce(&mut Encoder<'_>)) -> LogPosition {
        let position = self.store.append(kind as u8, self.namespace, write);
        self.newest.fetch_max(position, Relaxed);
        position
    }

    /// Appends a record of a checkpoint, which says nothing new. Returns its length in bytes.
    pub(super) fn append_part(&self, kind: Kind, write: impl FnOnce(&mut Encoder<'_>)) -> usize {
        self.store.append_part(kind as u8, self.namespace, write)
    }

    /// Appends a record whose confirmation is not awaited.
    pub(super) fn note(&self, kind: Kind, write: impl FnOnce(&mut Encoder<'_>)) {
        self.store.append_if_possible(kind as u8, self.namespace, write);
    }

    /// Appends a record whose loss costs little.
    pub(super) fn note_lazily(&self, kind: Kind, write: impl FnOnce(&mut Encoder<'_>)) {
        self.store.append_lazily(kind as u8, self.namespace, write);
    }

    /// Up to where the log has what this capability shows. Read it with the lock held.
    pub(super) fn newest(&self) -> LogPosition {
        self.newest.load(Relaxed)
    }

    /// Waits until what was appended up to there is on disk.
    ///
    /// # Errors
    /// [`Unavailable`]: the disk does not accept it. It may later.
    pub(super) async fn written(&self, position: LogPosition) -> Result<(), Unavailable> {
        within(self.store.written(position)).await
    }

    /// Waits while very much waits for the disk.
    ///
    /// # Errors
    /// [`Unavailable`]: it takes too long.
    pub(super) async fn admitted(&self) -> Result<(), Unavailable> {
        within(self.store.admitted()).await
    }

    /// # Errors
    /// [`Unavailable`] if the disk accepts nothing.
    pub(super) fn check(&self) -> Result<(), Unavailable> {
        if self.store.is_failing() { Err(unavailable()) } else { Ok(()) }
    }
}

// === impl Outputs ===

impl Outputs {
    /// Starts the task that sends through `fanout`.
    pub(super) fn start(durable: Durable, fanout: Fanout) -> Self {
        let (queue, outputs) = mpsc::unbounded_channel();
        let store = durable.store.clone();
        tokio::spawn(send(store, fanout, outputs));
        Self { durable, queue, waiting: Arc::new(Semaphore::new(MAX_WAITING as usize)), turns: Arc::default() }
    }

    pub(super) fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Waits for a place for something of about these bytes.
    ///
    /// # Errors
    /// [`Unavailable`]: the disk accepts nothing.
    pub(super) async fn place(&self, bytes: usize) -> Result<Place, Unavailable> {
        self.durable.check()?;
        self.durable.admitted().await?;
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(MAX_WAITING).clamp(1, MAX_WAITING);
        match within(Arc::clone(&self.waiting).acquire_many_owned(kilobytes)).await? {
            Ok(place) => Ok(place),
            Err(_) => Err(unavailable()),
        }
    }

    /// The same for a publisher. Others that wait have their turns between two of its publications.
    ///
    /// # Errors
    /// As [`Outputs::place`].
    pub(super) async fn place_of(&self, publisher: Publisher<'_>, bytes: usize) -> Result<Place, Unavailable> {
        let mut hasher = DefaultHasher::new();
        (publisher.name, publisher.is_limited).hash(&mut hasher);
        let (_ticket, turn) = self.turns.wait(hasher.finish());
        // Every ticket has its turn in the end.
        let _turn = within(turn).await?.ok();
        self.place(bytes).await
    }

    /// Sends a notice as soon as the log is on disk up to `position`. The result completes then. The caller holds the lock
    /// under which it has appended.
    pub(super) fn push(&self, position: LogPosition, notice: Option<Notice>, place: Option<Place>) -> Confirmation {
        let (sent, confirmed) = oneshot::channel();
        let _ = self.queue.send(Output { position, notice, sent: Some(sent), _place: place });
        Confirmation(confirmed)
    }
}

/// Completes when what was pushed is on disk and was sent.
#[derive(Debug)]
pub(super) struct Confirmation(oneshot::Receiver<()>);

// === impl Confirmation ===

impl Confirmation {
    /// # Errors
    /// [`Unavailable`]: the disk has not accepted it. It may later.
    pub(super) async fn wait(self) -> Result<(), Unavailable> {
        match within(self.0).await? {
            Ok(()) => Ok(()),
            Err(_) => Err(unavailable()),
        }
    }
}

async fn send(store: Store, fanout: Fanout, mut outputs: mpsc::UnboundedReceiver<Output>) {
    while let Some(output) = outputs.recv().await {
        store.written(output.position).await;
        match output.notice {
            Some(Notice::Publication(publication)) => fanout.broadcast(publication).await,
            Some(Notice::Mailbox(notice)) => fanout.notify(notice).await,
            None => {}
        }
        if let Some(sent) = output.sent {
            let _ = sent.send(());
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> Result<T, Unavailable> {
    tokio::time::timeout(WRITE_TIMEOUT, future).await.map_err(|_| unavailable())
}

fn unavailable() -> Unavailable {
    Unavailable { engine: "the memory engine", reason: "its store cannot be written".into() }
}
