//! Rate limit for log lines, so that a client cannot flood the log.
//!
//! Owns a token bucket per kind of line. A kind is one place in the code and one `reason`; in the audit log it is also one
//! client and one namespace, so that no client can hide what others do. A client is what limits see: a network of IPv6 is
//! one. A kind may write [`BURST`] lines at once and [`PER_SECOND`] lines per second after that. Further lines are dropped,
//! and the next line of that kind reports how many: `left_out=37`. Lines at `debug` and `trace` are not limited. Lines
//! of the audit log without a reason are those of publishers, who have a key: their kind is one publisher and one
//! namespace, with a rate that is far higher ([`PUBLISHER_LIMIT`]). This file does not know where the lines go.

use super::AUDIT;
use crate::client::Client;
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
/// Lines of one publisher in the audit log: at once, and per second in the long run. Each line is at most some 1 KB,
/// and a disk takes so many.
const PUBLISHER_LIMIT: RateLimit = RateLimit::with_burst(1_000, 10_000);
/// Maximum number of kinds. Beyond it, those that could write [`BURST`] lines are forgotten. If all others are still too
/// many, all kinds of one place share a bucket.
const MAX_KINDS: usize = 1024;

/// The fields that make a kind.
const KIND_FIELDS: &[&str] = &["reason"];
/// The fields that make a kind in the audit log.
const AUDIT_KIND_FIELDS: &[&str] = &["reason", "client", "namespace", "publisher"];
/// The field that contains an address.
const CLIENT_FIELD: &str = "client";
/// The field that only lines of publishers have.
const PUBLISHER_FIELD: &str = "publisher";
/// In the place of the hash: the bucket that kinds of one place share.
const SHARED: u64 = 0;

/// Formats lines with `F`, and drops those above the rate limit.
pub(super) struct RateLimited<F> {
    format: F,
    buckets: Mutex<HashMap<Kind, Bucket>>,
    began: Instant,
}

/// A place in the code, and a hash of the fields in [`KIND_FIELDS`] or [`AUDIT_KIND_FIELDS`].
type Kind = (Identifier, u64);

/// The lines of one kind.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    limit: RateLimit,
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
    fn admit(&self, mut kind: Kind, limit: RateLimit) -> Option<u64> {
        let now = self.began.elapsed().as_millis() as u64;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_KINDS && !buckets.contains_key(&kind) {
            let forgotten: Vec<_> = buckets.extract_if(|_, bucket| bucket.is_full(now)).collect();
            for ((place, _), bucket) in forgotten.into_iter().filter(|(_, bucket)| bucket.left_out > 0) {
                shared(&mut buckets, place, bucket.limit, now).left_out += bucket.left_out;
            }
            if buckets.len() >= MAX_KINDS {
                kind.1 = SHARED;
            }
        }
        buckets.entry(kind).or_insert(Bucket::new(limit, now)).admit(now)
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
        let is_audit = metadata.target() == AUDIT;
        let fields = if is_audit { AUDIT_KIND_FIELDS } else { KIND_FIELDS };
        if *metadata.level() >= Level::DEBUG {
            return self.format.format_event(ctx, writer, event);
        }
        let mut kind = KindFields { hasher: DefaultHasher::new(), fields, client: None, has_publisher: false };
        event.record(&mut kind);
        let limit = if is_audit && kind.has_publisher { PUBLISHER_LIMIT } else { LIMIT };
        let Some(left_out) = self.admit((metadata.callsite(), kind.finish()), limit) else { return Ok(()) };
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

/// The bucket that the kinds of a place share.
fn shared(buckets: &mut HashMap<Kind, Bucket>, place: Identifier, limit: RateLimit, now: u64) -> &mut Bucket {
    buckets.entry((place, SHARED)).or_insert(Bucket::new(limit, now))
}

// === impl Bucket ===

impl Bucket {
    fn new(limit: RateLimit, now: u64) -> Self {
        Self { limit, tokens: TokenBucket::new(limit, now), left_out: 0 }
    }

    fn is_full(&self, now: u64) -> bool {
        self.tokens.is_full(self.limit, now)
    }

    fn admit(&mut self, now: u64) -> Option<u64> {
        if !self.tokens.allows(self.limit, now) {
            self.left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Hashes the fields that make a kind.
struct KindFields {
    hasher: DefaultHasher,
    fields: &'static [&'static str],
    client: Option<Client>,
    has_publisher: bool,
}

// === impl KindFields ===

impl KindFields {
    /// The hash. What a publisher does has one kind, from wherever it publishes.
    fn finish(mut self) -> u64 {
        if let Some(client) = self.client.filter(|_| !self.has_publisher) {
            client.hash(&mut self.hasher);
        }
        self.hasher.finish()
    }

    /// Whether the field belongs to the kind.
    fn counts(&mut self, field: &Field) -> bool {
        self.has_publisher |= field.name() == PUBLISHER_FIELD;
        self.fields.contains(&field.name())
    }
}

impl Visit for KindFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.counts(field) {
            value.hash(&mut self.hasher);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !self.counts(field) {
            return;
        }
        if field.name() == CLIENT_FIELD
            && let Ok(address) = format!("{value:?}").parse()
        {
            self.client = Some(Client::of(address));
            return;
        }
        // Hashes the text while it is formatted, without a buffer. Writing to a hasher cannot fail.
        let _ = write!(self, "{value:?}");
    }
}

impl fmt::Write for KindFields {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.hasher.write(text.as_bytes());
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

    /// The lines that are written while `events` runs.
    fn logged(events: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_writer(lines.clone())
            .with_ansi(false)
            .event_format(RateLimited::new(format::format().with_target(false)))
            .finish();
        tracing::subscriber::with_default(subscriber, events);
        lines.take()
    }

    #[test]
    fn a_flood_of_one_kind_is_limited_and_does_not_hide_other_kinds() {
        let lines = logged(|| {
            for number in 0..500 {
                let reason = if number == 400 { "rare" } else { "common" };
                tracing::info!(reason, "a connection was closed");
            }
            for _ in 0..100 {
                tracing::debug!("asked for");
            }
        });
        let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        assert!((BURST as usize..=BURST as usize + 5).contains(&count("reason=\"common\"")), "{}", count("common"));
        assert_eq!(count("reason=\"rare\""), 1);
        assert_eq!(count("asked for"), 100);
    }

    /// Rejected keys of many clients, one of which floods, and what a publisher does.
    #[test]
    fn a_client_cannot_flood_the_audit_log_or_hide_what_others_do() {
        let rejected = |client: u32| {
            tracing::info!(target: AUDIT, namespace = "/a", %client, reason = "wrong key", "audit: key rejected");
        };
        let lines = logged(|| {
            for number in 0..3_000 {
                rejected(7);
                if number % 300 == 0 {
                    rejected(100 + number);
                }
                if number % 10 == 0 {
                    tracing::info!(target: AUDIT, publisher = "key a", room = "r", "audit: published");
                }
            }
        });
        let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        assert!((BURST as usize..=BURST as usize + 5).contains(&count("client=7 ")), "{}", count("client=7 "));
        assert_eq!(count("key rejected") - count("client=7 "), 10, "one of each other client");
        assert_eq!(count("audit: published"), 300);
    }

    /// Weakness 24: a client used each address of its network for the lines of one address.
    #[test]
    fn a_network_of_ipv6_is_one_client_in_the_audit_log() {
        let rejected = |client: &str| {
            let client: std::net::IpAddr = client.parse().unwrap();
            tracing::info!(target: AUDIT, namespace = "/a", %client, reason = "wrong key", "audit: key rejected");
        };
        let lines = logged(|| {
            for host in 0..2 * MAX_KINDS {
                rejected(&format!("2001:db8:0:1::{host:x}"));
            }
            (5..8).for_each(|host| rejected(&format!("203.0.113.{host}")));
            rejected("2001:db8:0:2::1");
        });
        let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        let flood = count("2001:db8:0:1:");
        assert!((BURST as usize..=BURST as usize + 5).contains(&flood), "{flood}");
        assert_eq!([count("client=203.0.113."), count("client=2001:db8:0:2:")], [3, 1]);
    }

    #[test]
    fn a_publisher_cannot_flood_the_audit_log_or_hide_what_others_publish() {
        let published = |publisher: &str| {
            let client = std::net::IpAddr::from([127, 0, 0, 1]);
            tracing::info!(target: AUDIT, namespace = "/a", %client, publisher, room = "r", "audit: published");
        };
        let began = Instant::now();
        let lines = logged(|| {
            for number in 0..30_000 {
                published("key flood");
                if number % 1_000 == 0 {
                    published("key other");
                }
            }
        });
        let refilled = began.elapsed().as_millis() as usize + 1;
        let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        let flood = count("key flood");
        assert!((10_000..=10_000 + refilled).contains(&flood), "{flood} after {refilled} ms");
        assert_eq!(count("key other"), 30);
    }

    #[test]
    fn more_kinds_than_the_limit_lose_no_count() {
        let limited = RateLimited::new(());
        let place = tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            tracing::info_span!("place").metadata().unwrap().callsite()
        });
        let kinds = (1..=10 * MAX_KINDS as u64).map(|client| (place.clone(), client));
        let written = kinds.filter_map(|kind| limited.admit(kind, LIMIT)).map(|left_out| left_out + 1).sum::<u64>();
        let buckets = limited.buckets.lock().unwrap();
        let left_out: u64 = buckets.values().map(|bucket| bucket.left_out).sum();
        assert!(buckets.len() <= MAX_KINDS + 1, "{}", buckets.len());
        assert_eq!(written + left_out, 10 * MAX_KINDS as u64);
    }

    #[test]
    fn the_next_line_reports_how_many_were_left_out() {
        let mut bucket = Bucket::new(LIMIT, 0);
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
