//! A value that threads can wait for: a mutex and a condition variable with interruptible waits.
//!
//! It knows neither Ruby nor tokio. `without_gvl.rs` waits here on behalf of Ruby threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A value whose changes can be waited for.
#[derive(Debug, Default)]
pub(crate) struct Signal<T> {
    value: Mutex<T>,
    changed: Condvar,
}

/// The end of a wait.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Waited<R> {
    /// The condition was met.
    Ready(R),
    /// The deadline passed first.
    TimedOut,
    /// Another thread set the waiter's flag and called [`Signal::wake`].
    Interrupted,
}

// === impl Signal ===

impl<T> Signal<T> {
    /// Locks the value. Changes made through the guard do not wake waiting threads.
    ///
    /// Poisoning is ignored: the value is consistent at every step of every change made under the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value and wakes all waiting threads.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Wakes all waiting threads, which check the value and their flag again.
    ///
    /// Takes the lock so that no thread is between checking its flag and going to sleep.
    pub(crate) fn wake(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Waits until `ready` returns a value, `deadline` passes, or `interrupted` is set.
    pub(crate) fn wait<R>(
        &self,
        deadline: Option<Instant>,
        interrupted: &AtomicBool,
        mut ready: impl FnMut(&mut T) -> Option<R>,
    ) -> Waited<R> {
        let mut value = self.lock();
        loop {
            if let Some(result) = ready(&mut value) {
                return Waited::Ready(result);
            }
            if interrupted.load(Ordering::Acquire) {
                return Waited::Interrupted;
            }
            value = match deadline {
                None => self.changed.wait(value).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Waited::TimedOut;
                    }
                    self.changed.wait_timeout(value, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
