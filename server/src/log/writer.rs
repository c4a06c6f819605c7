//! Writes log lines to standard error without blocking the threads that log.
//!
//! Owns a thread and the bounded queue before it. A reader of the log that is slow or has stopped reading therefore
//! cannot delay a connection. Lines that do not fit into the queue are dropped and counted. As soon as the log is read
//! again, a line reports how many. This file does not know how lines are formatted.

use nodevent_protocol::text::{is_unsafe, printable_json};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written.
const QUEUE_CAPACITY: usize = 4096;
/// Bytes of a line. A longer one is shortened. In JSON that is what its texts may have together.
const MAX_LINE: usize = 4 * 1024 - 64;
/// Time that the end of the program waits for the last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Lines dropped since the start.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Keeps the log alive. Dropping it flushes the queued lines, for at most [`FLUSH_TIMEOUT`].
#[derive(Debug)]
#[must_use = "dropping it flushes the last lines"]
pub(super) struct LogGuard(SyncSender<Entry>);

/// The sending end of the queue; each line is one write.
#[derive(Debug, Clone)]
pub(super) struct NonBlockingWriter(SyncSender<Entry>);

/// An entry of the queue.
#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// A request to report that everything before it has been written.
    Written(SyncSender<()>),
}

/// Starts the writing thread.
///
/// # Errors
/// The operating system cannot start a thread.
pub(super) fn start() -> io::Result<(NonBlockingWriter, LogGuard)> {
    let (sender, entries) = sync_channel(QUEUE_CAPACITY);
    thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&entries, &mut io::stderr()))?;
    Ok((NonBlockingWriter(sender.clone()), LogGuard(sender)))
}

/// Returns the number of lines dropped since the start because the log was not read in time.
pub fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

/// Returns a line as it is written: with unsafe characters, which could forge lines or drive a terminal, as escapes, and
/// shortened. Redis, the system and other peers wrote the texts of their errors, so these may contain anything.
fn sanitize(line: &[u8]) -> Vec<u8> {
    let (text, end) = match line.strip_suffix(b"\n") {
        Some(text) => (text, "\n"),
        None => (line, ""),
    };
    let is_json = text.starts_with(b"{");
    // A line of JSON that was cut would no longer be JSON: its texts are shortened.
    let shortened = if is_json && text.len() > MAX_LINE { Some(shorten_json(text)) } else { None };
    let text = shortened.as_deref().unwrap_or(text);
    let max = if is_json { usize::MAX } else { MAX_LINE };
    let shown = &text[..text.len().min(max)];
    let mut out = Vec::with_capacity(line.len());
    for chunk in shown.utf8_chunks() {
        match is_json {
            true => out.extend(printable_json(chunk.valid()).as_bytes()),
            false => out.extend(chunk.valid().chars().flat_map(shown_char).collect::<String>().as_bytes()),
        }
        if !chunk.invalid().is_empty() {
            out.extend("\u{fffd}".as_bytes());
        }
    }
    if text.len() > max {
        out.extend(format!("… ({} bytes)", text.len()).as_bytes());
    }
    out.extend(end.as_bytes());
    out
}

/// Returns a line of JSON whose texts are so short that it has about [`MAX_LINE`] bytes. A line that is not an object
/// becomes the text of one.
fn shorten_json(line: &[u8]) -> Vec<u8> {
    let mut fields = match serde_json::from_slice(line) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => [("message".to_owned(), String::from_utf8_lossy(line).into())].into_iter().collect(),
    };
    let max = MAX_LINE / fields.len().max(1);
    for value in fields.values_mut() {
        let text = match value {
            serde_json::Value::String(text) => std::mem::take(text),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => value.to_string(),
            _ => continue,
        };
        *value = match text.len() > max {
            true => {
                let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
                format!("{}… ({} bytes)", &text[..end], text.len()).into()
            }
            false => text.into(),
        };
    }
    serde_json::Value::Object(fields).to_string().into_bytes()
}

/// A character of a line in the text format.
fn shown_char(c: char) -> impl Iterator<Item = char> {
    let is_escaped = is_unsafe(c) && c != '\t';
    let (escape, same) = match is_escaped {
        true => (Some(c.escape_default()), None),
        false => (None, Some(c)),
    };
    escape.into_iter().flatten().chain(same)
}

/// The writing thread's loop.
fn write_all(entries: &Receiver<Entry>, out: &mut impl Write) {
    let mut reported = 0;
    while let Ok(entry) = entries.recv() {
        match entry {
            // There is no other place to report that the log cannot be written.
            Entry::Line(line) => drop(out.write_all(&line)),
            Entry::Written(done) => drop(done.send(())),
        }
        let dropped = dropped();
        if dropped > reported {
            let _ = writeln!(out, "WARN the log was not read in time: {} lines were dropped", dropped - reported);
            reported = dropped;
        }
    }
}

// === impl LogGuard ===

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if self.0.try_send(Entry::Written(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

// === impl NonBlockingWriter ===

impl<'a> MakeWriter<'a> for NonBlockingWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for NonBlockingWriter {
    /// Queues one line; `tracing` writes each line with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.0.try_send(Entry::Line(sanitize(line))) {
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
    fn a_full_queue_drops_lines_without_blocking_and_reports_how_many() {
        let (sender, entries) = sync_channel(2);
        let mut lines = NonBlockingWriter(sender);
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

    #[test]
    fn a_line_cannot_forge_another_or_drive_a_terminal() {
        let text = |line: &str| String::from_utf8(sanitize(line.as_bytes())).unwrap();
        assert_eq!(text("WARN ü \t reason=\"x\"\n"), "WARN ü \t reason=\"x\"\n");
        assert_eq!(text("a\nINFO forged\r\u{1b}[2J\u{9b}1m\0\n"), "a\\nINFO forged\\r\\u{1b}[2J\\u{9b}1m\\u{0}\n");
        assert_eq!(text("\u{202e}evil\u{2028}\n"), "\\u{202e}evil\\u{2028}\n");
        assert_eq!(text("{\"a\":\"\u{9b}1m\u{202e}\"}\n"), "{\"a\":\"\\u009b1m\\u202e\"}\n", "JSON stays JSON");
        assert_eq!(String::from_utf8(sanitize(b"a\xffb\n")).unwrap(), "a\u{fffd}b\n");
        let long = text(&format!("{}\n", "ü".repeat(MAX_LINE)));
        assert!(long.len() < MAX_LINE + 40 && long.ends_with("… (8064 bytes)\n"), "{}", long.len());
    }

    #[test]
    fn a_long_line_of_json_is_shortened_and_stays_json() {
        let text = "ü\u{1b}".repeat(100_000);
        for line in [
            serde_json::json!({"level": "WARN", "message": text, "count": 7}),
            serde_json::json!({"level": "WARN", "message": "m", "count": 7, "error": text, "other": {"a": text}}),
        ] {
            let out = sanitize(format!("{line}\n").as_bytes());
            // A control character takes six bytes in JSON.
            assert!(out.len() < 6 * MAX_LINE && out.ends_with(b"}\n"), "{}", out.len());
            let short: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!([&short["level"], &short["count"]], [&line["level"], &line["count"]]);
            assert!(short.to_string().contains("00 bytes)"), "{short}");
        }
        let out = sanitize(format!("{{{}\n", "x".repeat(100_000)).as_bytes());
        let short: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert!(out.len() < 2 * MAX_LINE && short["message"].as_str().unwrap().starts_with("{xxx"));
    }
}
