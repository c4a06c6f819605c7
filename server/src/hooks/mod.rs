//! The capability *hooks*: the application is notified of what happens in a namespace.
//!
//! Shards and engines report to a [`Recorder`], which never waits. A task moves what it has into the engine's [`Journal`],
//! where it outlives this server if the engine is shared. One server of a namespace sends from there
//! (`application/hook_sender`), so events arrive in the order of the journal, at least once.
//!
//! In reading order: `settings` (which events), `event` (their JSON), `divided_queue` (what is dropped), `recorder`,
//! `journal` (the interface to engines).

mod divided_queue;
mod event;
mod journal;
mod recorder;
mod settings;

pub use divided_queue::{DividedQueue, Dropped, Part};
pub use event::{HookEvent, entered_or_left};
pub use journal::{BATCH_BYTES, DeadLetter, DeadLetters, Journal, NotSent, Start, Stored, Taken};
pub use recorder::{Recorder, keep_journal};
pub use settings::{HookEvents, JournalLimits};
