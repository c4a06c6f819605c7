//! Wakes a Ruby thread that sleeps on the other end of a pipe.
//!
//! A condition variable would not do: up to Ruby 3.2, signals are handled by threads that wait in Ruby's own
//! functions. If both this thread and the main thread waited in native code, Ctrl-C would have no effect.

use std::sync::atomic::{AtomicI32, Ordering};

/// The write end of a pipe that Ruby owns, once it is connected.
#[derive(Debug)]
pub(crate) struct Wakeup(AtomicI32);

impl Wakeup {
    /// Sets the descriptor to write to.
    pub(crate) fn connect(&self, fd: i32) {
        self.0.store(fd, Ordering::Release);
    }

    /// Wakes the reader. Never blocks: if the pipe is full, the reader is awake already.
    pub(crate) fn notify(&self) {
        let fd = self.0.load(Ordering::Acquire);
        if fd >= 0 {
            // SAFETY: one byte is read from a constant. Ruby keeps both ends open as long as this process publishes,
            // and its pipes are non-blocking.
            unsafe {
                libc::write(fd, b"!".as_ptr().cast(), 1);
            }
        }
    }
}

impl Default for Wakeup {
    fn default() -> Self {
        Self(AtomicI32::new(-1))
    }
}
