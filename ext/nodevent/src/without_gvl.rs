//! Waiting without Ruby's global lock (GVL), interruptible by Timeout, Thread#kill, Thread#raise and signals.

use crate::signal::Waited;
use magnus::rb_sys::protect;
use magnus::{Error, Ruby};
use rb_sys::{Qnil, rb_thread_call_without_gvl2, rb_thread_check_ints};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// The data that a waiting thread shares with the thread that interrupts it.
struct Job<'a, R> {
    wait: &'a mut dyn FnMut(&AtomicBool) -> Waited<R>,
    wake: &'a dyn Fn(),
    interrupted: AtomicBool,
    outcome: Option<Waited<R>>,
}

/// Runs `wait` while other Ruby threads run. Returns `None` if its deadline passed.
///
/// `wait` must return soon after its flag is set and `wake` is called. `wake` may be called from any thread.
///
/// # Errors
/// The exception that Ruby raises into the waiting thread.
pub(crate) fn wait<R>(
    ruby: &Ruby,
    mut wait: impl FnMut(&AtomicBool) -> Waited<R>,
    wake: impl Fn(),
) -> Result<Option<R>, Error> {
    loop {
        let mut job = Job { wait: &mut wait, wake: &wake, interrupted: AtomicBool::new(false), outcome: None };
        let data = (&raw mut job).cast::<c_void>();
        // SAFETY: both functions receive the job, which outlives the call; `run` does not touch Ruby.
        unsafe {
            rb_thread_call_without_gvl2(Some(run::<R>), data, Some(unblock::<R>), data);
        }
        match job.outcome {
            Some(Waited::Ready(value)) => return Ok(Some(value)),
            Some(Waited::TimedOut) => return Ok(None),
            // Interrupted, or not run at all because an interrupt was pending.
            Some(Waited::Interrupted) | None => check_interrupts(ruby)?,
        }
    }
}

fn check_interrupts(_with_lock: &Ruby) -> Result<(), Error> {
    protect(|| {
        // SAFETY: this thread holds the lock, as the argument shows, and `protect` catches exceptions.
        unsafe { rb_thread_check_ints() };
        Qnil as rb_sys::VALUE
    })?;
    Ok(())
}

unsafe extern "C" fn run<R>(data: *mut c_void) -> *mut c_void {
    // SAFETY: `wait` above passes its job. `unblock` only uses the two fields that are not written here.
    let job = unsafe { &mut *data.cast::<Job<'_, R>>() };
    let interrupted = &job.interrupted;
    // No panic may cross the C frames above. A wait that panics counts as interrupted and is retried.
    job.outcome = catch_unwind(AssertUnwindSafe(|| (job.wait)(interrupted))).ok();
    std::ptr::null_mut()
}

unsafe extern "C" fn unblock<R>(data: *mut c_void) {
    let job = data.cast::<Job<'_, R>>();
    // SAFETY: as in `run`; only shared access to fields that are not written.
    let (interrupted, wake) = unsafe { (&(*job).interrupted, (*job).wake) };
    interrupted.store(true, Ordering::Release);
    wake();
}
