//! The texts of numbers, durations and sizes.
//!
//! A number is written in one way only: `0` or digits that do not begin with `0`. YAML readers disagree about `010`,
//! `0x10`, `1_000`, `1:30` and `+8`, so none of them is accepted.

use std::net::Ipv6Addr;
use std::time::Duration;

/// The longest duration: ten years. In milliseconds it is far from the end of 64 bits, also when added to a time.
const MAX_DURATION: Duration = Duration::from_secs(3_650 * 86_400);

/// Reads a whole number.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_decimal { text.parse().ok() } else { None }
}

/// Reads a duration of at most ten years: `500ms`, `30s`, `5m`, `1h`, `2d`, or plain seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let (whole, _fraction) = number.split_once('.').unwrap_or((number, ""));
    parse_number(whole)?;
    let duration = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
    (duration <= MAX_DURATION).then_some(duration)
}

/// Reads a size in bytes: `64KB`, `1MB`, or plain bytes. One KB is 1,024 bytes.
pub(super) fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text);
    let unit = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" => 1 << 10,
        "M" | "MB" => 1 << 20,
        "G" | "GB" => 1 << 30,
        _ => return None,
    };
    usize::try_from(parse_number(number)?).ok()?.checked_mul(unit)
}

/// Reads a date in UTC: a time like `2026-12-31T12:00:00Z`, or a day, which means its last millisecond. Milliseconds since
/// the Unix epoch.
pub(super) fn parse_date(text: &str) -> Option<u64> {
    const DAY_MS: u64 = 86_400_000;
    let digits = |range: std::ops::Range<usize>| {
        let part = text.get(range)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u64>().ok())?
    };
    let has = |index: usize, byte: u8| text.as_bytes().get(index) == Some(&byte);
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if !(has(4, b'-') && has(7, b'-') && year >= 1970 && (1..=length).contains(&day)) {
        return None;
    }
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let before: u64 = lengths.iter().take(month as usize - 1).sum();
    let days = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969) + before + day - 1;
    if text.len() == 10 {
        return Some((days + 1) * DAY_MS - 1);
    }
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    let is_time = has(10, b'T') && has(13, b':') && has(16, b':') && has(19, b'Z') && text.len() == 20;
    (is_time && hour < 24 && minute < 60 && second < 60)
        .then(|| days * DAY_MS + (hour * 3600 + minute * 60 + second) * 1000)
}

/// Whether a text is the name of a host or its address, without a port, a user or a scheme.
pub(super) fn is_host(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(text);
    let is_address = || bare.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    let is_name = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    !bare.is_empty() && (bare.chars().all(is_name) || is_address())
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_day_or_a_time_in_utc() {
        const DAY: u64 = 86_400_000;
        for (text, expected) in [
            ("1970-01-01", Some(DAY - 1)),
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000)),
            ("2026-12-31", Some(1_798_761_600_000 - 1)),
            ("2026-12-31T23:59:59Z", Some(1_798_761_600_000 - 1000)),
            ("2027-03-01T00:00:00Z", Some(1_803_859_200_000)),
            ("2028-03-01T00:00:00Z", Some(1_835_481_600_000)),
            ("2100-02-28", Some(4_107_542_400_000 - 1)),
            ("9999-12-31", Some(253_402_300_800_000 - 1)),
        ] {
            assert_eq!(parse_date(text), expected, "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-12",
            "2026-12-32",
            "2026-00-01",
            "2026-13-01",
            "2026-02-29",
            "2100-02-29",
            "1969-12-31",
            "26-12-31",
            "2026/12/31",
            "2026-12-31 ",
            "2026-12-31T",
            "2026-12-31T24:00:00Z",
            "2026-12-31T00:60:00Z",
            "2026-12-31T00:00:00",
            "2026-12-31T00:00:00+01:00",
            "+026-12-31",
            "２０２６-12-31",
            "2026-12-31T00:00:00Zx",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn host_has_no_other_parts() {
        for text in ["redis", "r_1.example.com", "127.0.0.1", "::1", "[::1]", "fe80::1%eth0", "bücher.example"] {
            assert!(is_host(text), "{text}");
        }
        for text in [
            "",
            "[]",
            "h:1",
            "user:word",
            "redis://:word@h",
            "me@h",
            "h/0",
            "h?x",
            "h#x",
            "a b",
            "$HOST",
            "a\u{1b}",
        ] {
            assert!(!is_host(text), "{text}");
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("500ms", 0.5), ("30s", 30.0), ("5m", 300.0), ("1.5h", 5400.0), ("20", 20.0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in [
            "",
            "s",
            "5 weeks",
            "-1s",
            "1e9h",
            "5m3",
            "05m",
            ".5s",
            "1.2.3s",
            "1_000s",
            "5\tm",
            "3651d",
            "99999999999999d",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("64KB", 65_536), ("1 MB", 1_048_576), ("200", 200)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "KB", "1.5MB", "99999999999999999999", "64KiX", "064KB", "0x10"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_written_in_one_way() {
        for (text, number) in [("0", 0), ("8080", 8080)] {
            assert_eq!(parse_number(text), Some(number), "{text}");
        }
        for text in ["", "00", "010", "0x1F", "0o17", "1_000", "+8", "-8", "1e3", "1.0", "12:30", "٣", " 8"] {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }
}
