//! The capability *hooks*: the application is notified of what happens in a namespace.
//!
//! Shards and engines report to a [`Recorder`], which never waits. A task moves what it has into the engine's [`Journal`],
//! where it outlives this server if the engine is shared. One server of a namespace sends from there
//! (`application/hook_sender`), so events arrive in the order of the journal, at least once.
//!
//! In reading order: `settings` (which events), `event` (their JSON), `recorder`, `journal` (the interface to engines).

mod event;
mod journal;
mod recorder;
mod settings;

pub use event::{HookEvent, entered_or_left};
pub use journal::{BATCH_BYTES, DeadLetter, DeadLetters, Journal, NotSent, Stored, Taken};
pub use recorder::{Recorder, keep_journal};
pub use settings::{HookEvents, JournalLimits};
