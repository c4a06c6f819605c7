//! The log lines about refused origins: which one, and how to allow it, at most once a minute for each.
//!
//! A page that is refused retries, and the text of the header is an attacker's choice. So it is shortened and printable,
//! and a bounded number of origins is remembered. Beyond it, lines without a name report the others. This file decides
//! what to log; it neither writes nor reads a clock.

use axum::http::HeaderValue;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The interval between two lines about one origin.
const INTERVAL: Duration = Duration::from_secs(60);
/// The maximum number of origins that are remembered, and so of lines with a name per minute.
const MAX_ORIGINS: usize = 50;
/// The maximum length of an origin in the log. A host has at most 253 characters. Bytes.
const MAX_LEN: usize = 300;

/// The origins about which there was a line.
#[derive(Debug, Default)]
pub(super) struct RefusedOrigins {
    known: HashMap<Box<str>, Line>,
    /// All origins that are not remembered.
    others: Option<Line>,
}

/// A line that was written.
#[derive(Debug)]
struct Line {
    at: Instant,
    /// Refusals since then.
    repeated: u64,
}

/// A line to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The origin, printable and shortened. `None`: one of too many.
    pub(super) origin: Option<Box<str>>,
    /// Refusals since the last line about it, without this one.
    pub(super) repeated: u64,
}

// === impl RefusedOrigins ===

impl RefusedOrigins {
    /// Counts a refusal. Returns the line to write, if it is time for one.
    pub(super) fn refuse(&mut self, origin: Option<&HeaderValue>, now: Instant) -> Option<Report> {
        let origin = printable(origin);
        if let Some(line) = self.known.get_mut(&origin) {
            return line.repeat(now).map(|repeated| Report { origin: Some(origin), repeated });
        }
        if self.known.len() >= MAX_ORIGINS {
            self.known.retain(|_, line| !line.is_due(now));
        }
        if self.known.len() < MAX_ORIGINS {
            self.known.insert(origin.clone(), Line { at: now, repeated: 0 });
            return Some(Report { origin: Some(origin), repeated: 0 });
        }
        let others = self.others.get_or_insert(Line { at: now.checked_sub(INTERVAL).unwrap_or(now), repeated: 0 });
        others.repeat(now).map(|repeated| Report { origin: None, repeated })
    }
}

// === impl Line ===

impl Line {
    fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.at) >= INTERVAL
    }

    /// Counts a refusal. Returns the number of those since the last line if a new one is due.
    fn repeat(&mut self, now: Instant) -> Option<u64> {
        if !self.is_due(now) {
            self.repeated += 1;
            return None;
        }
        self.at = now;
        Some(std::mem::take(&mut self.repeated))
    }
}

/// The origin as it is logged. A page can make a browser send a request without one, by an image or a link.
fn printable(origin: Option<&HeaderValue>) -> Box<str> {
    let Some(origin) = origin else { return "none (a request from another site without the header Origin)".into() };
    let bytes = origin.as_bytes();
    let shown = &bytes[..bytes.len().min(MAX_LEN)];
    let text: String =
        shown.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }).collect();
    if bytes.len() > MAX_LEN { format!("{text}…").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(refused: &mut RefusedOrigins, origin: &str, now: Instant) -> Option<(Option<String>, u64)> {
        let report = refused.refuse(Some(&HeaderValue::from_str(origin).unwrap()), now)?;
        Some((report.origin.map(String::from), report.repeated))
    }

    fn named(origin: &str, repeated: u64) -> Option<(Option<String>, u64)> {
        Some((Some(origin.to_owned()), repeated))
    }

    #[test]
    fn each_origin_has_one_line_a_minute_which_counts_the_refusals_in_between() {
        let (mut refused, now) = (RefusedOrigins::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(refuse(&mut refused, "https://a.example", now), named("https://a.example", 0));
        for second in 1..60 {
            assert_eq!(refuse(&mut refused, "https://a.example", after(second)), None);
        }
        assert_eq!(refuse(&mut refused, "https://b.example", after(30)), named("https://b.example", 0));
        assert_eq!(refuse(&mut refused, "https://a.example", after(60)), named("https://a.example", 59));
        assert_eq!(refuse(&mut refused, "https://a.example", after(61)), None);
    }

    #[test]
    fn made_up_origins_take_bounded_memory_and_lines() {
        let (mut refused, now) = (RefusedOrigins::default(), Instant::now());
        let mut lines = 0;
        for number in 0..100_000_u64 {
            let at = now + Duration::from_millis(number);
            lines += usize::from(refuse(&mut refused, &format!("https://{number}.example"), at).is_some());
            assert!(refused.known.len() <= MAX_ORIGINS);
        }
        // In 100 s: twice all that are remembered, and a line for the others each minute.
        assert!((MAX_ORIGINS + 1..=2 * MAX_ORIGINS + 2).contains(&lines), "{lines}");
        let full = now + Duration::from_secs(100);
        assert_eq!(refuse(&mut refused, "https://one-more.example", full), None);
        let later = refuse(&mut refused, "https://one-more.example", full + 2 * INTERVAL);
        assert_eq!(later, named("https://one-more.example", 0), "there is room again");
    }

    #[test]
    fn text_of_the_header_is_printable_and_shortened() {
        let mut refused = RefusedOrigins::default();
        let mut line = |bytes: &[u8]| {
            let report = refused.refuse(Some(&HeaderValue::from_bytes(bytes).unwrap()), Instant::now());
            report.unwrap().origin.unwrap()
        };
        assert_eq!(&*line(b"https://\xc3\xa9.example\tx y"), "https://??.example?x?y");
        assert_eq!(line(&[b'a'; 10_000]).len(), MAX_LEN + "…".len());
        let absent = refused.refuse(None, Instant::now()).unwrap().origin.unwrap();
        assert!(absent.starts_with("none"), "{absent}");
    }
}
