//! Waking a Ruby thread that sleeps on the other end of a pipe.
//!
//! Not with a condition variable, because up to Ruby 3.2 it is the threads that wait in Ruby's own ways that take in
//! signals: if this one slept in ours while the main thread waits in ours too, nobody would hear Ctrl-C.

use std::sync::atomic::{AtomicI32, Ordering};

/// The writing end of a pipe that Ruby owns, if there is one yet.
#[derive(Debug)]
pub(crate) struct Bell(AtomicI32);

impl Bell {
    /// Ruby listens to the other end of `fd` from now on.
    pub(crate) fn connect(&self, fd: i32) {
        self.0.store(fd, Ordering::Release);
    }

    /// Wakes the listener. Never waits: where the pipe is full it is awake already.
    pub(crate) fn ring(&self) {
        let fd = self.0.load(Ordering::Acquire);
        if fd >= 0 {
            // SAFETY: one byte is read from a constant. Ruby keeps both ends open as long as this process publishes,
            // and its pipes do not block.
            unsafe {
                libc::write(fd, b"!".as_ptr().cast(), 1);
            }
        }
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self(AtomicI32::new(-1))
    }
}
