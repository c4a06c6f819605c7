//! From a line to standard error, without ever waiting for it.
//!
//! A line is handed to a thread of its own through a bounded queue, so that whoever reads the log, or has stopped
//! reading it, cannot hold up a connection. Lines that find the queue full are dropped and counted, and the log says
//! how many as soon as it is read again.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for the reader of the log.
const QUEUE: usize = 4096;
/// How long the end of the program waits for the last lines to be written.
const FAREWELL: Duration = Duration::from_millis(500);

/// Lines that were dropped since the start, because nobody read the log.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Keeps the log going; when it is dropped, the lines that still wait are written, if somebody reads them.
#[derive(Debug)]
#[must_use = "the last lines are written when it is dropped"]
pub struct Log(SyncSender<Entry>);

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub(super) struct Lines(SyncSender<Entry>);

/// What the thread is given.
#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Everything before this is written: say so.
    Written(SyncSender<()>),
}

/// Starts the thread that writes.
///
/// # Errors
/// The operating system refuses a thread.
pub(super) fn start() -> io::Result<(Lines, Log)> {
    let (sender, entries) = sync_channel(QUEUE);
    thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&entries, &mut io::stderr()))?;
    Ok((Lines(sender.clone()), Log(sender)))
}

/// Lines that were dropped since the start, because nobody read the log.
pub fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

/// The thread's work.
fn write_all(entries: &Receiver<Entry>, out: &mut impl Write) {
    let mut told = 0;
    while let Ok(entry) = entries.recv() {
        match entry {
            // A log that cannot be written to is nobody's to be told.
            Entry::Line(line) => drop(out.write_all(&line)),
            Entry::Written(done) => drop(done.send(())),
        }
        let dropped = dropped();
        if dropped > told {
            let _ = writeln!(out, "WARN the log was not read in time: {} lines were dropped", dropped - told);
            told = dropped;
        }
    }
}

// === impl Log ===

impl Drop for Log {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if self.0.try_send(Entry::Written(done)).is_ok() {
            let _ = written.recv_timeout(FAREWELL);
        }
    }
}

// === impl Lines ===

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    /// Takes a whole line, as `tracing` hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.0.try_send(Entry::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                DROPPED.fetch_add(1, Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_nobody_reads_holds_nobody_up_and_tells_what_it_dropped() {
        let (sender, entries) = sync_channel(2);
        let mut lines = Lines(sender);
        let before = dropped();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            assert_eq!(lines.write(line.as_bytes()).unwrap(), line.len());
        }
        assert_eq!(dropped() - before, 2);
        drop(lines);
        let mut out = Vec::new();
        write_all(&entries, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("one\nWARN the log was not read in time: "), "{text}");
        assert!(text.ends_with("two\n"), "{text}");
    }
}
