//! What each process has once: the thread that publishes, its counts and reports, and the queues to flush at exit.
//!
//! After a `fork` the child finds that the state is not its own and makes a new one. The parent's is leaked there:
//! its threads are not in the child, its locks may be held for ever, and dropping it would close what the parent
//! still uses.

use crate::journal::Journal;
use crate::queue::Queue;
use crate::signal::Signal;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Weak, mpsc};
use tokio::runtime::{Builder, Handle};

/// Forks that lie between this process and the one that loaded the extension.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// The state of this process, or of an ancestor if nothing was published here yet.
static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Process {
    forks: u32,
    runtime: Handle,
    /// Counts and reports.
    pub(crate) journal: Journal,
    queues: Signal<Vec<Weak<Queue>>>,
}

/// How far this process is from the one that loaded the extension. Cheaper than `getpid`.
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Begins to count forks. Once, when the extension is loaded.
pub(crate) fn watch_forks() {
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler only adds to an atomic, which is allowed between fork and exec; it lives as long as the
    // extension, which Ruby never unloads.
    unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    }
}

impl Process {
    /// The state of this process, if it has one.
    pub(crate) fn existing() -> Option<&'static Self> {
        // SAFETY: the pointer is null or comes from `Box::leak`.
        let process = unsafe { CURRENT.load(Ordering::Acquire).as_ref() }?;
        (process.forks == forks()).then_some(process)
    }

    /// The state of this process, made when it is first asked for.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(crate) fn current() -> Result<&'static Self, String> {
        if let Some(process) = Self::existing() {
            return Ok(process);
        }
        let runtime = start().map_err(|error| format!("the publishing thread could not be started: {error}"))?;
        let made = Self { forks: forks(), runtime, journal: Journal::default(), queues: Signal::default() };
        let made = Box::leak(Box::new(made));
        // Only a thread that holds Ruby's lock comes here, so nobody else stores in between.
        CURRENT.store(made, Ordering::Release);
        Ok(made)
    }

    /// Runs `task` on the publishing thread.
    pub(crate) fn spawn(&self, queue: &Arc<Queue>, task: impl Future<Output = ()> + Send + 'static) {
        self.queues.change(|queues| {
            queues.retain(|queue| queue.strong_count() > 0);
            queues.push(Arc::downgrade(queue));
        });
        self.runtime.spawn(task);
    }

    /// All queues in use.
    pub(crate) fn queues(&self) -> Vec<Arc<Queue>> {
        self.queues.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// Starts the thread with a runtime of its own. It lives as long as the process.
fn start() -> std::io::Result<Handle> {
    let (told, handle) = mpsc::channel();
    let blocked = SignalsBlocked::new();
    std::thread::Builder::new().name("nodevent".to_owned()).spawn(move || {
        match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                // The receiver waits below.
                let _ = told.send(Ok(runtime.handle().clone()));
                runtime.block_on(std::future::pending::<()>());
            }
            Err(error) => {
                let _ = told.send(Err(error));
            }
        }
    })?;
    drop(blocked);
    handle.recv().map_err(std::io::Error::other)?
}

/// While this lives, threads started here receive no signals: they are for Ruby's threads.
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
        // SAFETY: the set is the one this thread had before.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut());
        }
    }
}
