//! Rate limit for log lines, so that a client cannot flood the log.
//!
//! Owns a token bucket per kind of line. A kind is one place in the code and one `reason`. A kind may write [`BURST`]
//! lines at once and [`PER_SECOND`] lines per second after that. Further lines are dropped, and the next line of that
//! kind reports how many: `left_out=37`. Lines at `debug` and `trace`, and those of the audit log, are not limited.
//! This file does not know where the lines go.

use super::AUDIT;
use crate::rate_limit::{RateLimit, TokenBucket};
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Lines of one kind that may be written at once.
const BURST: u32 = 50;
/// Lines of one kind per second, in the long run.
const PER_SECOND: u32 = 5;
const LIMIT: RateLimit = RateLimit::with_burst(PER_SECOND, BURST);
/// Maximum number of kinds. Beyond it, all reasons of one place share a bucket. The code has far fewer.
const MAX_KINDS: usize = 1024;

/// Formats lines with `F`, and drops those above the rate limit.
pub(super) struct RateLimited<F> {
    format: F,
    buckets: Mutex<HashMap<Kind, Bucket>>,
    began: Instant,
}

/// A place in the code, and a hash of the reason.
type Kind = (Identifier, u64);

/// The lines of one kind.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: TokenBucket,
    /// Lines dropped since the last line that was written.
    left_out: u64,
}

// === impl RateLimited ===

impl<F> RateLimited<F> {
    pub(super) fn new(format: F) -> Self {
        Self { format, buckets: Mutex::new(HashMap::new()), began: Instant::now() }
    }

    /// Takes a token. Returns the number of lines dropped before this one, or `None` if this one must be dropped.
    fn admit(&self, mut kind: Kind) -> Option<u64> {
        let now = self.began.elapsed().as_millis() as u64;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_KINDS && !buckets.contains_key(&kind) {
            kind.1 = 0;
        }
        buckets.entry(kind).or_insert(Bucket { tokens: TokenBucket::new(LIMIT, now), left_out: 0 }).admit(now)
    }
}

impl<S, N, F> FormatEvent<S, N> for RateLimited<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        if *metadata.level() >= Level::DEBUG || metadata.target() == AUDIT {
            return self.format.format_event(ctx, writer, event);
        }
        let mut reason = Reason(DefaultHasher::new());
        event.record(&mut reason);
        let Some(left_out) = self.admit((metadata.callsite(), reason.0.finish())) else { return Ok(()) };
        if left_out == 0 {
            return self.format.format_event(ctx, writer, event);
        }
        let mut line = String::new();
        self.format.format_event(ctx, Writer::new(&mut line), event)?;
        match line.strip_suffix("}\n") {
            Some(json) if json.starts_with('{') => writeln!(writer, "{json},\"left_out\":{left_out}}}"),
            _ => writeln!(writer, "{} left_out={left_out}", line.trim_end_matches('\n')),
        }
    }
}

// === impl Bucket ===

impl Bucket {
    fn admit(&mut self, now: u64) -> Option<u64> {
        if !self.tokens.allows(LIMIT, now) {
            self.left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Hashes the field `reason`.
struct Reason(DefaultHasher);

// === impl Reason ===

impl Visit for Reason {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "reason" {
            value.hash(&mut self.0);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "reason" {
            // Hashes the text while it is formatted, without a buffer. Writing to a hasher cannot fail.
            let _ = write!(self, "{value:?}");
        }
    }
}

impl fmt::Write for Reason {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::fmt::format::{self, JsonFields};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        fn take(&self) -> Vec<String> {
            let bytes = std::mem::take(&mut *self.0.lock().unwrap());
            String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
        }
    }

    #[test]
    fn a_flood_of_one_kind_is_limited_and_does_not_hide_other_kinds() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_writer(lines.clone())
            .with_ansi(false)
            .event_format(RateLimited::new(format::format().with_target(false)))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..500 {
                let reason = if number == 400 { "rare" } else { "common" };
                tracing::info!(reason, "a connection was closed");
            }
            for _ in 0..100 {
                tracing::debug!("asked for");
            }
        });
        let lines = lines.take();
        let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        assert!((BURST as usize..=BURST as usize + 5).contains(&count("reason=\"common\"")), "{}", count("common"));
        assert_eq!(count("reason=\"rare\""), 1);
        assert_eq!(count("asked for"), 100);
    }

    #[test]
    fn the_next_line_reports_how_many_were_left_out() {
        let mut bucket = Bucket { tokens: TokenBucket::new(LIMIT, 0), left_out: 0 };
        for _ in 2..BURST {
            assert_eq!(bucket.admit(0), Some(0));
        }
        assert_eq!(
            [bucket.admit(0), bucket.admit(0), bucket.admit(0), bucket.admit(0)],
            [Some(0), Some(0), None, None]
        );
        assert_eq!(bucket.admit(1000 / u64::from(PER_SECOND)), Some(2));
        assert_eq!(bucket.admit(1000 / u64::from(PER_SECOND)), None);
    }

    #[test]
    fn a_json_line_reports_how_many_were_left_out() {
        let lines = Lines::default();
        let limited = RateLimited::new(format::format().json().flatten_event(true).with_target(false));
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .fmt_fields(JsonFields::new())
            .event_format(limited)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let end = Instant::now() + std::time::Duration::from_secs(30);
            let mut reported = false;
            while !reported && Instant::now() < end {
                tracing::warn!("again");
                reported = lines.take().iter().any(|line| {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    line["message"] == "again" && line["left_out"].as_u64().is_some_and(|count| count > 0)
                });
            }
            assert!(reported, "no line was left out, or none reported it");
        });
    }
}
