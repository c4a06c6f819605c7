//! The per-process state: the publishing thread, its counts and reports, and the queues to flush at exit.
//!
//! After a `fork` the child detects that the state belongs to its parent and creates its own. It leaks the parent's:
//! the parent's threads do not exist in the child, its locks may be held forever, and dropping it would close
//! descriptors that the parent still uses.

use crate::event_log::EventLog;
use crate::queue::Queue;
use crate::signal::Signal;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Weak, mpsc};
use tokio::runtime::{Builder, Handle};

/// The number of forks between this process and the one that loaded the extension.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// The state of this process, or of an ancestor if this process has not published yet.
static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

/// The state of one process; see the head of this file.
#[derive(Debug)]
pub(crate) struct Process {
    forks: u32,
    runtime: Handle,
    /// Counts and reports of this process.
    pub(crate) events: EventLog,
    queues: Signal<Vec<Weak<Queue>>>,
}

/// The number of forks since the extension was loaded. Cheaper than `getpid`.
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Starts counting forks, and does what the Redis client would do in the publishing thread, once per process. A fork during
/// that leaves its child a lock that is held forever, and the child's own publishing thread would wait for it. Called once,
/// when the extension is loaded: a thread of Ruby that holds Ruby's lock, which no fork interrupts.
pub(crate) fn prepare_for_forks() {
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler only adds to an atomic, which is allowed between fork and exec; it lives as long as the
    // extension, which Ruby never unloads.
    unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    }
    // Registers the generator's own handlers for forks.
    let _ = rand::thread_rng();
}

impl Process {
    /// The state of this process, if it has one.
    pub(crate) fn current() -> Option<&'static Self> {
        // SAFETY: the pointer is null or comes from `Box::leak`.
        let process = unsafe { CURRENT.load(Ordering::Acquire).as_ref() }?;
        (process.forks == forks()).then_some(process)
    }

    /// The state of this process, created on first use.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(crate) fn get_or_start() -> Result<&'static Self, String> {
        if let Some(process) = Self::current() {
            return Ok(process);
        }
        let runtime = start().map_err(|error| format!("the publishing thread could not be started: {error}"))?;
        let state = Self { forks: forks(), runtime, events: EventLog::default(), queues: Signal::default() };
        let state = Box::leak(Box::new(state));
        // Only a thread that holds Ruby's lock runs this, so no other thread stores in between.
        CURRENT.store(state, Ordering::Release);
        Ok(state)
    }

    /// Runs `task` on the publishing thread and remembers `queue` for a flush at exit.
    pub(crate) fn spawn(&self, queue: &Arc<Queue>, task: impl Future<Output = ()> + Send + 'static) {
        self.queues.change(|queues| {
            queues.retain(|queue| queue.strong_count() > 0);
            queues.push(Arc::downgrade(queue));
        });
        self.runtime.spawn(task);
    }

    /// Runs `task` on the publishing thread.
    pub(crate) fn spawn_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// All queues in use.
    pub(crate) fn queues(&self) -> Vec<Arc<Queue>> {
        self.queues.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// Starts the publishing thread with its own runtime. Both live as long as the process.
fn start() -> std::io::Result<Handle> {
    let (handle_tx, handle_rx) = mpsc::channel();
    let blocked = SignalsBlocked::new();
    std::thread::Builder::new().name("nodevent".to_owned()).spawn(move || {
        match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                // The receiver is waiting below.
                let _ = handle_tx.send(Ok(runtime.handle().clone()));
                runtime.block_on(std::future::pending::<()>());
            }
            Err(error) => {
                let _ = handle_tx.send(Err(error));
            }
        }
    })?;
    drop(blocked);
    handle_rx.recv().map_err(std::io::Error::other)?
}

/// Blocks all signals in this thread, and so in threads it starts, until dropped: signals are for Ruby's threads.
struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    fn new() -> Self {
        // SAFETY: both sets are written by the C library before they are read.
        unsafe {
            let mut all = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that this thread had before.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut());
        }
    }
}
