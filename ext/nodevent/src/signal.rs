//! A value that threads wait for: a mutex, a condition variable and a way to be called away from waiting.
//!
//! It knows neither Ruby nor tokio. `unlocked.rs` waits here on behalf of Ruby threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A value, and the means to wait until it changes.
#[derive(Debug, Default)]
pub(crate) struct Signal<T> {
    value: Mutex<T>,
    changed: Condvar,
}

/// How a wait ended.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Waited<R> {
    /// What was waited for is there.
    Ready(R),
    /// The deadline passed first.
    TimedOut,
    /// Somebody set the waiter's flag and called [`Signal::wake`].
    Interrupted,
}

// === impl Signal ===

impl<T> Signal<T> {
    /// The value, locked. Nobody who waits is told of a change made here.
    ///
    /// A panic elsewhere leaves the value as it was then; every change made under the lock is complete at every
    /// step, so it is used as it is.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value and tells all who wait.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Makes all who wait look again, at the value and at their own flag.
    ///
    /// The lock is taken so that nobody is between his look at the flag and his sleep.
    pub(crate) fn wake(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Waits until `ready` finds what it looks for, `deadline` passes, or `interrupted` is set.
    pub(crate) fn wait<R>(
        &self,
        deadline: Option<Instant>,
        interrupted: &AtomicBool,
        mut ready: impl FnMut(&mut T) -> Option<R>,
    ) -> Waited<R> {
        let mut value = self.lock();
        loop {
            if let Some(found) = ready(&mut value) {
                return Waited::Ready(found);
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
