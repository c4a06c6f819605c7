//! A log that cannot be flooded.
//!
//! Lines of one kind, that is of one place in the code and one `reason`, may come [`BURST`] at a time and then
//! [`PER_SECOND`]. The others are left out, and the next that is written says how many: `left_out=37`. Whoever asks
//! for `debug` or `trace` asks for everything, and gets it.

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

/// Lines of one kind that may come at once.
const BURST: u32 = 50;
/// Lines of one kind a second, in the long run.
const PER_SECOND: u32 = 5;
/// Kinds that are told apart; beyond it reasons are not. The code has far fewer.
const KINDS: usize = 1024;

/// Writes lines as `F` does, but for those that are too many.
pub(super) struct Bounded<F> {
    format: F,
    kinds: Mutex<HashMap<Kind, Kept>>,
    began: Instant,
}

/// Where in the code, and a hash of the reason.
type Kind = (Identifier, u64);

/// What is kept per kind.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// Lines that may come now.
    tokens: u32,
    /// When the last token was earned. Milliseconds.
    earned: u64,
    /// Lines left out since the last that was written.
    left_out: u64,
}

// === impl Bounded ===

impl<F> Bounded<F> {
    pub(super) fn new(format: F) -> Self {
        Self { format, kinds: Mutex::new(HashMap::new()), began: Instant::now() }
    }

    /// Whether a line of that kind may be written: `Some` with the number of those left out before it.
    fn admit(&self, mut kind: Kind) -> Option<u64> {
        let now = self.began.elapsed().as_millis() as u64;
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
            kind.1 = 0;
        }
        kinds.entry(kind).or_insert(Kept { tokens: BURST, earned: now, left_out: 0 }).admit(now)
    }
}

impl<S, N, F> FormatEvent<S, N> for Bounded<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        if *metadata.level() >= Level::DEBUG {
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

// === impl Kept ===

impl Kept {
    fn admit(&mut self, now: u64) -> Option<u64> {
        let earned = now.saturating_sub(self.earned) * u64::from(PER_SECOND) / 1000;
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(BURST);
            self.earned = now;
        }
        if self.tokens == 0 {
            self.left_out += 1;
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Takes the hash of the field `reason`.
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
            // Hashes the text as it is written, without keeping it. Writing cannot fail.
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
    fn a_flood_of_one_kind_is_cut_and_hides_no_other() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_writer(lines.clone())
            .with_ansi(false)
            .event_format(Bounded::new(format::format().with_target(false)))
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
    fn the_next_line_says_how_many_were_left_out() {
        let mut kept = Kept { tokens: 2, earned: 0, left_out: 0 };
        assert_eq!([kept.admit(0), kept.admit(0), kept.admit(0), kept.admit(0)], [Some(0), Some(0), None, None]);
        assert_eq!(kept.admit(1000 / u64::from(PER_SECOND)), Some(2));
        assert_eq!(kept.admit(1000 / u64::from(PER_SECOND)), None);
    }

    #[test]
    fn what_was_left_out_is_part_of_a_json_line() {
        let lines = Lines::default();
        let bounded = Bounded::new(format::format().json().flatten_event(true).with_target(false));
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .fmt_fields(JsonFields::new())
            .event_format(bounded)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let end = Instant::now() + std::time::Duration::from_secs(30);
            let mut told = false;
            while !told && Instant::now() < end {
                tracing::warn!("again");
                told = lines.take().iter().any(|line| {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    line["message"] == "again" && line["left_out"].as_u64().is_some_and(|count| count > 0)
                });
            }
            assert!(told, "nothing was left out, or nobody was told");
        });
    }
}
